//! `Prefer: respond-async` and `GET /outcomes/KEY`: asking now, looking later.

use std::time::Duration;

use boat_core::http::HttpOptions;
use boat_core::{OutcomeError, PredictError};

use crate::Frontend;
use crate::client::{Client, Reply, bare, post};
use crate::double::HELD;

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: boat\r\n{headers}\r\n")
}

/// Looks until the outcome is there, or something else than that it is not there yet.
async fn settled(client: &mut Client, location: &str, headers: &str) -> Reply {
    loop {
        let reply = client.ask(get(location, headers)).await;
        if reply.status != 202 {
            return reply;
        }
        assert_eq!(reply.header("retry-after"), Some("1"));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_takes_longer_than_it_may_is_looked_at_later() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let headers = "Prefer: respond-async\r\nIdempotency-Key: user-7/42\r\n";
    let reply = client.ask(post("/predict", headers, HELD)).await;
    assert_eq!((reply.status, reply.header("location")), (202, Some("/outcomes/user-7%2F42")), "{reply:?}");
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    assert_eq!(reply.header("idempotency-key"), Some("user-7/42"));
    assert_eq!(reply.json()["key"], "user-7/42");
    let pending = client.ask(bare("GET", "/outcomes/user-7%2F42")).await;
    assert_eq!((pending.status, pending.header("location")), (202, Some("/outcomes/user-7%2F42")));
    frontend.double.let_go(1);
    let outcome = settled(&mut client, "/outcomes/user-7%2F42", "").await;
    assert_eq!((outcome.status, outcome.header("boat-position")), (200, Some("1")), "{outcome:?}");
    assert_eq!(outcome.text(), format!("{{ \"got\" :{HELD}}}"));
    assert_eq!((outcome.header("boat-replayed"), outcome.header("boat-term")), (Some("true"), Some("7")));
    // A path may spell the slash as it is.
    assert_eq!(client.ask(bare("GET", "/outcomes/user-7/42")).await.status, 200);
    // Somebody else's key of the same name is another one.
    let other = client.ask(get("/outcomes/user-7%2F42", "Authorization: Bearer x\r\n")).await;
    other.problem(404, "not_found");
    // Forgotten by the node, remembered here as answered.
    frontend.double.fail_next_outcome(OutcomeError::NotFound);
    client.ask(bare("GET", "/outcomes/user-7%2F42")).await.problem(410, "outcome_forgotten");
}

#[tokio::test]
async fn a_request_without_a_key_is_given_one_in_the_scope_of_its_caller() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let token = "Authorization: Bearer t\r\n";
    let headers = format!("Prefer: respond-async\r\n{token}");
    let reply = client.ask(post("/feedback", &headers, HELD)).await;
    let location = reply.header("location").unwrap().to_owned();
    assert!(reply.status == 202 && location.starts_with("/outcomes/async-"), "{reply:?}");
    client.ask(get(&location, "")).await.problem(404, "not_found");
    frontend.double.let_go(1);
    assert_eq!(settled(&mut client, &location, token).await.status, 200);
}

#[tokio::test]
async fn what_is_there_in_time_is_answered_at_once() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let reply = client.ask(post("/predict", "Prefer: respond-async\r\n", "1")).await;
    assert_eq!((reply.status, reply.header("boat-position")), (200, Some("1")), "{reply:?}");
    frontend.double.fail_next(PredictError::KeyTableFull);
    let reply = client.ask(post("/predict", "Prefer: respond-async\r\n", "1")).await;
    reply.problem(503, "key_table_full");
    let waits = client.send(post("/predict", "Prefer: respond-async, wait=60\r\n", HELD));
    waits.await;
    frontend.double.until_waiting(1).await;
    frontend.double.let_go(1);
    assert_eq!(client.reply().await.status, 200);
}

#[tokio::test]
async fn a_request_that_failed_later_says_how() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let headers = "Prefer: respond-async\r\nIdempotency-Key: k\r\n";
    assert_eq!(client.ask(post("/predict", headers, HELD)).await.status, 202);
    frontend.double.fail_next(PredictError::NoLeader(Duration::from_secs(2)));
    frontend.double.let_go(1);
    settled(&mut client, "/outcomes/k", "").await.problem(503, "no_leader");
}

#[tokio::test]
async fn every_error_has_its_code_and_status() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for (error, status, code) in [
        (OutcomeError::NotFound, 404, "not_found"),
        (OutcomeError::Forgotten, 410, "outcome_forgotten"),
        (OutcomeError::Rejected { position: 3, reason: "odd".into() }, 422, "rejected"),
        (OutcomeError::NoLeader(Duration::from_secs(1)), 503, "no_leader"),
        (OutcomeError::Behind { position: 1 }, 503, "behind"),
        (OutcomeError::Overloaded { waiting: 1, waiting_max: 1 }, 503, "overloaded"),
        (OutcomeError::Stopped, 503, "shutting_down"),
    ] {
        frontend.double.fail_next_outcome(error);
        client.ask(bare("GET", "/outcomes/k")).await.problem(status, code);
    }
    let long = format!("/outcomes/{}", "k".repeat(256));
    client.ask(bare("GET", &long)).await.problem(400, "invalid_request");
    client.ask(bare("GET", "/outcomes/%C3%A9")).await.problem(400, "invalid_request");
}
