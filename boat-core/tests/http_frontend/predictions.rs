//! `POST /predict`: what goes in and comes out.

use std::time::Duration;

use boat_core::PredictError;
use boat_core::http::HttpOptions;

use crate::Frontend;
use crate::client::{post, predict};
use crate::double::{CHECKED_OUT, output};

#[tokio::test]
async fn the_model_gets_the_clients_bytes_and_the_client_the_models() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let body = "{ \"input\" :\t\"H\u{e9}llo\",\n \"x\": 1e400 }";
    let reply = frontend.client().await.ask(predict(body)).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, &output(body.as_bytes())[..]));
    assert_eq!(frontend.double.applied(), [body]);
    for (name, value) in [
        ("content-type", "application/json"),
        ("boat-position", "1"),
        ("boat-term", "7"),
        ("boat-node", "2"),
        ("idempotency-key", "own-1"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    assert_eq!(reply.header("boat-replayed"), None);
}

#[tokio::test]
async fn a_key_makes_a_retry_harmless() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let first = client.ask(post("/predict", "Idempotency-Key: user-7/42\r\n", "{\"input\":1}")).await;
    assert_eq!((first.header("boat-replayed"), first.header("idempotency-key")), (None, Some("user-7/42")));
    let again = client.ask(post("/predict", "Idempotency-Key: \"user-7/42\"\r\n", "{\"input\":1}")).await;
    assert_eq!((again.status, again.header("boat-replayed")), (200, Some("true")));
    assert_eq!(again.header("idempotency-key"), Some("\"user-7/42\""));
    assert_eq!((&first.body, first.header("boat-position")), (&again.body, again.header("boat-position")));
    let other = client.ask(post("/predict", "Idempotency-Key: user-7/42\r\n", "{\"input\":2}")).await;
    assert_eq!(other.problem(422, "key_reused")["position"], 1);
    assert_eq!(other.header("boat-position"), Some("1"));
    assert_eq!(frontend.double.applied().len(), 1);
}

#[tokio::test]
async fn callers_with_different_tokens_do_not_meet() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for (token, replayed) in [("", None), ("a", None), ("b", None), ("a", Some("true")), ("", Some("true"))] {
        let authorization =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let headers = format!("Idempotency-Key: k\r\n{authorization}");
        let reply = client.ask(post("/predict", &headers, "{}")).await;
        assert_eq!((reply.status, reply.header("boat-replayed")), (200, replayed), "{token}");
    }
}

#[tokio::test]
async fn a_bad_key_is_refused() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let long = "k".repeat(256);
    for headers in [
        "Idempotency-Key:\r\n".to_owned(),
        "Idempotency-Key: \"open\r\n".to_owned(),
        "Idempotency-Key: caf\u{e9}\r\n".to_owned(),
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\n".to_owned(),
        format!("Idempotency-Key: {long}\r\n"),
    ] {
        let reply = client.ask(post("/predict", &headers, "{}")).await;
        let problem = reply.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().starts_with("Idempotency-Key: "), "{problem}");
    }
    let longest = format!("Idempotency-Key: {}\r\n", "k".repeat(255));
    assert_eq!(client.ask(post("/predict", &longest, "{}")).await.status, 200);
}

#[tokio::test]
async fn a_client_may_say_how_long_it_waits() {
    let options =
        HttpOptions { request_timeout_ms: 1_500, request_timeout_ms_max: 5_000, ..HttpOptions::default() };
    let frontend = Frontend::start(options).await;
    let mut client = frontend.client().await;
    for (headers, within_ms, applied) in [
        ("", 1_500, None),
        ("Prefer: wait=3\r\n", 3_000, Some("wait=3")),
        ("Prefer: handling=strict\r\nPrefer: depth-noroot, wait=2\r\n", 2_000, Some("wait=2")),
        ("Prefer: wait=100\r\n", 5_000, Some("wait=5")),
        ("Prefer: wait=soon\r\n", 1_500, None),
    ] {
        let reply = client.ask(post("/predict", headers, "{}")).await;
        assert_eq!((reply.status, reply.header("preference-applied")), (200, applied), "{headers}");
        assert_eq!(frontend.double.last_within(), Duration::from_millis(within_ms), "{headers}");
    }
}

#[tokio::test]
async fn bad_json_is_refused_with_its_place() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for (body, line, column) in
        [("{\"input\":}", 1, 10), ("{\n  input: 1}", 2, 3), ("[1,2", 1, 4), ("{} {}", 1, 4)]
    {
        let problem = client.ask(predict(body)).await.problem(400, "invalid_request");
        assert_eq!(
            (&problem["line"], &problem["column"]),
            (&line.into(), &column.into()),
            "{body}: {problem}"
        );
        assert_eq!(problem["retry"], "never");
    }
    for headers in ["content-length: 0\r\n", "", "transfer-encoding: chunked\r\n"] {
        let end = if headers.starts_with('t') { "0\r\n\r\n" } else { "" };
        let reply = client.ask(format!("POST /predict HTTP/1.1\r\nhost: boat\r\n{headers}\r\n{end}")).await;
        let problem = reply.problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains("empty"), "{problem}");
    }
    let mut binary = b"POST /predict HTTP/1.1\r\nhost: boat\r\ncontent-length: 256\r\n\r\n".to_vec();
    binary.extend(0..=255);
    client.ask(&binary).await.problem(400, "invalid_request");
    assert_eq!(frontend.double.applied().len(), 0);
    frontend.still_serves().await;
}

#[tokio::test]
async fn the_predictors_check_is_told_to_the_client() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let reply = frontend.client().await.ask(predict(&format!("{{\"input\":{CHECKED_OUT}}}"))).await;
    assert_eq!(reply.problem(400, "invalid_request")["detail"], "`input` must be good");
    assert_eq!(frontend.double.applied().len(), 0);
}

#[tokio::test]
async fn only_plain_json_is_taken() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let with = |headers: &str| {
        format!("POST /predict HTTP/1.1\r\nhost: boat\r\ncontent-length: 2\r\n{headers}\r\n{{}}")
    };
    for headers in
        ["", "content-type: application/json; charset=UTF-8\r\n", "content-type: Application/Json\r\n"]
    {
        assert_eq!(client.ask(with(headers)).await.status, 200, "{headers}");
    }
    for headers in [
        "content-type: text/plain\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-type: application/json; charset=latin-1\r\n",
        "content-type: \u{e9}\r\n",
        "content-encoding: gzip\r\n",
    ] {
        client.ask(with(headers)).await.problem(415, "unsupported_media_type");
    }
}

#[tokio::test]
async fn every_error_has_its_code() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let waited = Duration::from_secs(2);
    let rejected = PredictError::Rejected { position: 9, reason: "too odd".into() };
    let unknown = PredictError::Unknown { waited, key: "own-9".into() };
    for (error, status, code, retry, retry_after) in [
        (PredictError::Invalid("no".into()), 400, "invalid_request", "never", None),
        (PredictError::TooLarge { bytes: 2, bytes_max: 1 }, 413, "body_too_large", "never", None),
        (
            PredictError::Overloaded { waiting: 1, waiting_max: 1, what: "requests" },
            503,
            "overloaded",
            "safe",
            Some("1"),
        ),
        (PredictError::NoLeader(waited), 503, "no_leader", "safe", Some("1")),
        (PredictError::KeyTableFull, 503, "key_table_full", "safe", Some("30")),
        (PredictError::DiskFull, 507, "disk_full", "safe", Some("30")),
        (PredictError::SessionExpired { session: 3 }, 410, "session_expired", "never", None),
        (PredictError::OutcomeForgotten, 410, "outcome_forgotten", "never", None),
        (rejected, 422, "rejected", "never", None),
        (PredictError::Stopped, 503, "shutting_down", "safe", Some("1")),
        (unknown, 504, "unknown", "same_key", None),
    ] {
        frontend.double.fail_next(error.clone());
        let reply = client.ask(predict("{}")).await;
        assert_eq!(reply.problem(status, code)["retry"], retry);
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
        let (position, key) = (reply.header("boat-position"), reply.header("idempotency-key"));
        assert_eq!(position, (code == "rejected").then_some("9"));
        assert_eq!(key, error.may_be_applied().then_some("own-9"));
    }
}

#[tokio::test]
async fn an_unknown_outcome_names_the_key_as_it_was_sent() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    frontend.double.fail_next(PredictError::Unknown { waited: Duration::from_secs(1), key: "a b".into() });
    let reply = frontend.client().await.ask(post("/predict", "Idempotency-Key: \"a b\"\r\n", "{}")).await;
    assert_eq!(reply.problem(504, "unknown")["key"], "a b");
    assert_eq!(reply.header("idempotency-key"), Some("\"a b\""));
}
