//! The engine against Clipper's contract, row by row.

use std::net::SocketAddr;

use boat_clipper::{ApplicationConfig, Engine, EngineConfig, EngineError, HashChain, InputType, ModelKind};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{Message, ask, read, request};
use crate::patient;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn engine(config: EngineConfig) -> Engine {
    Engine::start(any_port(), config).await.unwrap()
}

async fn predict(engine: &Engine, body: &str) -> Message {
    ask(engine.address(), "POST", "/default/predict", body.as_bytes()).await.unwrap()
}

#[tokio::test]
async fn answers_are_clippers_byte_for_byte() {
    let engine = engine(patient(ModelKind::Echo)).await;
    let hello = predict(&engine, r#"{"input":"Hello"}"#).await;
    assert_eq!(hello.text(), r#"{"query_id":0,"output":"Hello","default":false}"#);
    assert_eq!(hello.head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 47\r\n\r\n");
    for (body, answer) in [
        (r#"{"input_batch":["42"]}"#, r#"{"query_id":1,"output":42,"default":false}"#),
        (r#"{"input_batch":[]}"#, r#"{"batch_predictions":[]}"#),
        (
            r#"{"input_batch":["a","1.0"]}"#,
            concat!(
                r#"{"batch_predictions":[{"query_id":2,"output":"a","default":false},"#,
                r#"{"query_id":3,"output":1.0,"default":false}]}"#
            ),
        ),
        (r#"{"input_batch":["a"],"input":"b"}"#, r#"{"query_id":4,"output":"b","default":false}"#),
        (r#" {"version":"1","input":"b", "x":[{}]} "#, r#"{"query_id":5,"output":"b","default":false}"#),
        (r#"{"input":""}"#, r#"{"query_id":6,"output":"","default":false}"#),
    ] {
        let got = predict(&engine, body).await;
        assert_eq!((got.status(), got.text()), (200, answer), "{body}");
    }
    let slash = ask(engine.address(), "POST", "/default/predict/?x=1", br#"{"input":"b"}"#).await.unwrap();
    assert_eq!(slash.text(), r#"{"query_id":7,"output":"b","default":false}"#);
}

#[tokio::test]
async fn bad_bodies_get_400_with_error_and_cause() {
    let engine = engine(patient(ModelKind::Echo)).await;
    for (body, error, cause) in [
        ("", "Json error", "EOF"),
        ("{", "Json error", "EOF"),
        (r#"{"input":"a"} b"#, "Json error", "trailing characters"),
        ("[1]", "Json error", "expected a JSON object"),
        ("null", "Json error", "expected a JSON object"),
        ("\"a\"", "Json error", "expected a JSON object"),
        ("{}", "Json error", "neither input nor input_batch"),
        (r#"{"input":1}"#, "Json error", "input: expected a string, found a number"),
        (r#"{"input_batch":"a"}"#, "Json error", "expected an array, found a string"),
        (r#"{"input_batch":["a",1]}"#, "Json error", "input_batch[1]: expected a string"),
        (r#"{"input":"a","version":1}"#, "Json error", "version: expected a string"),
        (r#"{"input":"a","version":"99"}"#, "Query processing error", "version: 99 does not exist"),
    ] {
        let got = predict(&engine, body).await;
        assert_eq!(got.status(), 400, "{body}");
        assert!(got.text().starts_with(&format!("{{\"error\":{error:?},\"cause\":\"")), "{}", got.text());
        assert!(got.text().contains(cause), "{}", got.text());
    }
    // None of them took a number.
    assert!(predict(&engine, r#"{"input":"a"}"#).await.text().contains("\"query_id\":0,"));
}

#[tokio::test]
async fn what_clipper_does_not_know_is_closed_without_a_byte() {
    let engine = engine(patient(ModelKind::Echo)).await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/default/predict"),
        ("PUT", "/default/predict"),
        ("POST", "/other/predict"),
        ("POST", "/default/forget"),
        ("POST", "/default/predict/more"),
        ("POST", "/metrics"),
        ("GET", "/metrics/"),
    ] {
        assert_eq!(ask(engine.address(), method, path, b"{}").await, None, "{method} {path}");
    }
}

#[tokio::test]
async fn each_input_type_has_its_rules() {
    for (input_type, good, output, bad) in [
        (InputType::Integers, "[1,-2]", "[1, -2]", "[1.0]"),
        (InputType::Doubles, "[1.5,1e3]", "[1.5, 1000.0]", "[1]"),
        (InputType::Floats, "[1.5]", "[1.5]", "[3.5e38]"),
        (InputType::Bytes, "\"aGk=\"", "\"aGk=\"", "\"!\""),
    ] {
        let application =
            ApplicationConfig { input_type, latency_slo_micros: 60_000_000, ..ApplicationConfig::default() };
        let engine =
            engine(EngineConfig { applications: vec![application], ..EngineConfig::default() }).await;
        let answer = format!("{{\"query_id\":0,\"output\":{output},\"default\":false}}");
        assert_eq!(predict(&engine, &format!("{{\"input\":{good}}}")).await.text(), answer);
        assert_eq!(predict(&engine, &format!("{{\"input\":{bad}}}")).await.status(), 400);
    }
}

#[tokio::test]
async fn an_application_without_a_model_answers_its_default() {
    let application =
        ApplicationConfig { model: None, default_output: "-1.0".to_owned(), ..ApplicationConfig::default() };
    let engine = engine(EngineConfig { applications: vec![application], ..EngineConfig::default() }).await;
    let answer = predict(&engine, r#"{"input":"a"}"#).await;
    let start = r#"{"query_id":0,"output":-1.0,"default":true,"default_explanation":"No connected models"#;
    assert!(answer.text().starts_with(start), "{}", answer.text());
    let metrics = ask(engine.address(), "GET", "/metrics", b"").await.unwrap();
    assert!(metrics.text().contains("\"ratio\": \"1\""));
}

#[tokio::test]
async fn feedback_is_accepted_and_ignored() {
    let engine = engine(patient(ModelKind::HashChain)).await;
    for (body, status, text) in [
        (r#"{"uid":0,"input":"a","label":1.0}"#, 200, "Feedback received? 1"),
        (r#"{"uid":7,"input":"a","label":1.0}"#, 200, "Feedback received? 0"),
        (r#"{"uid":"0","input":"a","label":1.0}"#, 400, "uid: expected an integer, found a string"),
        (r#"{"uid":0,"input":"a","label":1}"#, 400, "label: "),
        (r#"{"uid":0,"label":1.0}"#, 400, "input is missing"),
        ("", 400, "EOF"),
    ] {
        let got = ask(engine.address(), "POST", "/default/update", body.as_bytes()).await.unwrap();
        assert_eq!(got.status(), status, "{body}");
        assert!(got.text().starts_with(text), "{}", got.text());
    }
    assert!(predict(&engine, r#"{"input":"a"}"#).await.text().contains(&HashChain::default().step(b"a")));
}

#[tokio::test]
async fn metrics_have_clippers_shape() {
    let engine = engine(patient(ModelKind::Echo)).await;
    predict(&engine, r#"{"input_batch":["a","b"]}"#).await;
    let metrics = ask(engine.address(), "GET", "/metrics", b"").await.unwrap();
    assert!(metrics.text().starts_with("{\n    \"counters\": [\n        {\n"), "{}", metrics.text());
    assert!(metrics.text().ends_with("}\n"));
    let json: serde_json::Value = serde_json::from_slice(&metrics.body).unwrap();
    let categories = ["counters", "ratio_counters", "meters", "histograms"];
    let places = categories.map(|category| metrics.text().find(&format!("    \"{category}\": [")).unwrap());
    assert!(places.is_sorted(), "{}", metrics.text());
    for (index, name) in [
        "app:default:num_predictions",
        "model:echo-model:1:num_predictions",
        "internal:aggregate_num_predictions",
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(json["counters"][index][name]["count"], "2");
    }
    assert_eq!(json["ratio_counters"][0]["app:default:default_prediction_ratio"]["ratio"], "0");
}

#[tokio::test]
async fn bodies_are_limited() {
    let engine = engine(EngineConfig { body_bytes_max: 20, ..patient(ModelKind::Echo) }).await;
    assert_eq!(predict(&engine, r#"{"input":"0123456"}"#).await.status(), 200);
    assert_eq!(predict(&engine, r#"{"input":"012345678"}"#).await.status(), 413);
}

#[tokio::test]
async fn a_head_that_never_ends_and_an_idle_connection_are_cut_off() {
    let engine = engine(EngineConfig { header_timeout_ms: 50, ..patient(ModelKind::Echo) }).await;
    let mut slow = TcpStream::connect(engine.address()).await.unwrap();
    slow.write_all(b"POST /default/predict HT").await.unwrap();
    assert_eq!(read(&mut slow).await, None);
    let mut idle = TcpStream::connect(engine.address()).await.unwrap();
    assert_eq!(read(&mut idle).await, None);
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off() {
    let engine = engine(EngineConfig { body_timeout_ms: 50, ..patient(ModelKind::Echo) }).await;
    let mut slow = TcpStream::connect(engine.address()).await.unwrap();
    let whole = request("POST", "/default/predict", br#"{"input":"a"}"#);
    slow.write_all(&whole[..whole.len() - 1]).await.unwrap();
    assert_eq!(read(&mut slow).await, None);
}

#[tokio::test]
async fn connections_are_kept_and_past_the_limit_wait_for_their_turn() {
    let engine = engine(EngineConfig { connections_max: 1, ..patient(ModelKind::Echo) }).await;
    let body = request("POST", "/default/predict", br#"{"input":"a"}"#);
    let mut first = TcpStream::connect(engine.address()).await.unwrap();
    let mut second = TcpStream::connect(engine.address()).await.unwrap();
    second.write_all(&body).await.unwrap();
    for query_id in 0..3 {
        first.write_all(&body).await.unwrap();
        let answer = read(&mut first).await.unwrap();
        assert!(answer.text().starts_with(&format!("{{\"query_id\":{query_id},")), "{}", answer.text());
    }
    drop(first);
    assert!(read(&mut second).await.unwrap().text().starts_with("{\"query_id\":3,"));
}

#[tokio::test]
async fn a_restart_is_like_that_of_a_process() {
    let mut engine = engine(patient(ModelKind::HashChain)).await;
    let fresh = HashChain::default().step(b"a");
    let answer = format!("{{\"query_id\":0,\"output\":{fresh:?},\"default\":false}}");
    assert_eq!(predict(&engine, r#"{"input":"a"}"#).await.text(), answer);
    assert_ne!(predict(&engine, r#"{"input":"a"}"#).await.text(), answer);

    // Bytes that were on their way when the engine was killed must not reach the new model.
    let body = request("POST", "/default/predict", br#"{"input":"stale"}"#);
    let mut half_sent = TcpStream::connect(engine.address()).await.unwrap();
    half_sent.write_all(&body[..50]).await.unwrap();
    let mut not_accepted = TcpStream::connect(engine.address()).await.unwrap();
    not_accepted.write_all(&body).await.unwrap();
    engine.restart().await.unwrap();
    // The write may already fail.
    let _ = half_sent.write_all(&body[50..]).await;
    assert_eq!(read(&mut half_sent).await, None);
    assert_eq!(read(&mut not_accepted).await, None);

    assert_eq!(predict(&engine, r#"{"input":"a"}"#).await.text(), answer);
}

#[tokio::test]
async fn a_taken_port_is_told_and_a_shut_down_engine_gives_it_back() {
    let first = engine(patient(ModelKind::Echo)).await;
    let address = first.address();
    let second = Engine::start(address, EngineConfig::default()).await;
    assert!(matches!(&second, Err(EngineError::AddressInUse(taken)) if *taken == address), "{second:?}");
    assert!(second.unwrap_err().to_string().contains(&address.to_string()));
    let mut idle = TcpStream::connect(address).await.unwrap();
    first.shutdown().await;
    assert_eq!(read(&mut idle).await, None);
    Engine::start(address, EngineConfig::default()).await.unwrap().shutdown().await;
}
