//! All routes but `/predict`, and every wrong way to ask.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::put;
use boat_core::WipeError;
use boat_core::http::HttpOptions;
use tokio::time::timeout;

use crate::Frontend;
use crate::client::{BOUND, bare, post, predict};

fn with_control() -> HttpOptions {
    HttpOptions { allow_control: true, ..HttpOptions::default() }
}

#[tokio::test]
async fn the_greeting_and_the_status_are_as_they_were() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let greeting = client.ask(bare("GET", "/")).await;
    assert_eq!((greeting.status, greeting.text()), (200, "Hello from Boat API"));
    client.ask(predict("{}")).await;
    let status = client.ask(bare("GET", "/status?verbose")).await;
    assert_eq!((status.status, status.header("content-type")), (200, Some("application/json")));
    let status = status.json();
    assert_eq!(
        (&status["is_leader"], &status["position"], &status["node"]),
        (&true.into(), &1.into(), &2.into())
    );
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for path in ["/", "/status", "/livez", "/readyz"] {
        let got = client.ask(bare("GET", path)).await;
        client.send(bare("HEAD", path)).await;
        let head = client.reply_to_head().await;
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, got.header("content-length")),
            "{path}"
        );
        assert_eq!(head.header("content-type"), got.header("content-type"));
    }
    client.send(bare("HEAD", "/metrics")).await;
    assert_eq!(client.reply_to_head().await.status, 200);
    // Had a body followed a head, this answer could not be read.
    assert_eq!(client.ask(bare("GET", "/")).await.status, 200);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let frontend = Frontend::start(with_control()).await;
    let mut client = frontend.client().await;
    for (path, allowed) in [
        ("/", "GET,HEAD"),
        ("/status", "GET,HEAD"),
        ("/livez", "GET,HEAD"),
        ("/readyz", "GET,HEAD"),
        ("/metrics", "GET,HEAD"),
        ("/predict", "POST"),
        ("/control", "POST"),
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if allowed.split(',').any(|known| known == method) {
                continue;
            }
            let reply = client.ask(bare(method, path)).await;
            assert_eq!(reply.problem(405, "method_not_allowed")["retry"], "never", "{method} {path}");
            assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
        }
    }
    for path in ["/predict", "/control"] {
        client.send(bare("HEAD", path)).await;
        assert_eq!(client.reply_to_head().await.status, 405);
    }
    frontend.still_serves().await;
}

#[tokio::test]
async fn an_unknown_path_is_not_found_by_any_method() {
    let frontend = Frontend::start(with_control()).await;
    let mut client = frontend.client().await;
    for path in ["/predict/", "/Predict", "//", "/nothing", "/%00", "/..", "/status/../predict", "/?", "*"] {
        for method in ["GET", "POST", "PUT", "BREW"] {
            let reply = client.ask(bare(method, path)).await;
            match (path, method) {
                ("/?", "GET") => assert_eq!(reply.status, 200),
                ("/?", _) => assert_eq!(reply.status, 405),
                // Only OPTIONS may ask for `*`; hyper may refuse the rest itself.
                ("*", _) => assert!([400, 404].contains(&reply.status), "{reply:?}"),
                _ => {
                    reply.problem(404, "not_found");
                }
            }
            if reply.header("connection") == Some("close") {
                client = frontend.client().await;
            }
        }
    }
    assert_eq!(client.ask(bare("OPTIONS", "*")).await.status, 404);
    let connect = frontend.client().await.ask(bare("CONNECT", "boat:80")).await;
    assert!((400..500).contains(&connect.status), "{connect:?}");
    frontend.still_serves().await;
}

#[tokio::test]
async fn probes_follow_the_node() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    assert_eq!(client.ask(bare("GET", "/readyz")).await.status, 200);
    assert_eq!(client.ask(bare("GET", "/livez")).await.status, 200);
    frontend.double.set_ready(false);
    frontend.double.set_live(false);
    let ready = client.ask(bare("GET", "/readyz")).await;
    let problem = ready.problem(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("founding"), "{problem}");
    assert_eq!(ready.header("retry-after"), Some("1"));
    client.ask(bare("GET", "/livez")).await.problem(503, "not_live");
}

#[tokio::test]
async fn metrics_count_what_was_answered() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    client.ask(predict("{}")).await;
    client.ask(predict("{")).await;
    client.ask(bare("GET", "/nothing")).await;
    let page = client.ask(bare("GET", "/metrics")).await;
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "boat_http_requests_total{route=\"predict\",status=\"200\"} 1",
        "boat_http_requests_total{route=\"predict\",status=\"400\"} 1",
        "boat_http_requests_total{route=\"other\",status=\"404\"} 1",
        "boat_http_predict_duration_seconds_count 2",
        "boat_http_connections 1",
        "boat_leader 1",
        "boat_position 1",
        "boat_double_total 3",
    ] {
        assert!(page.text().lines().any(|found| found == line), "{line} is not in\n{}", page.text());
    }
}

#[tokio::test]
async fn extra_routes_stand_beside_the_frontends_own() {
    let extra = Router::new().route(
        "/admin/echo",
        put(|ConnectInfo(address): ConnectInfo<SocketAddr>, body: String| async move {
            format!("{} {body}", address.ip())
        }),
    );
    let frontend = Frontend::with_routes(HttpOptions::default(), extra).await;
    let mut client = frontend.client().await;
    let reply = client.ask("PUT /admin/echo HTTP/1.1\r\nhost: boat\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!((reply.status, reply.text()), (200, "127.0.0.1 hi"));
    let reply = client.ask(bare("GET", "/admin/echo")).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("PUT"));
    client.ask(bare("GET", "/admin")).await.problem(404, "not_found");
}

#[tokio::test]
async fn control_is_not_there_unless_it_was_asked_for() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    client.ask(post("/control", "", "{\"cmd\":\"exit\"}")).await.problem(404, "not_found");
    client.ask(bare("GET", "/control")).await.problem(404, "not_found");
}

#[tokio::test]
async fn an_exit_is_answered_before_the_node_ends() {
    let frontend = Frontend::start(with_control()).await;
    let mut client = frontend.client().await;
    let reply = client.ask(post("/control", "", "{ \"cmd\": \"exit\" }")).await;
    assert_eq!((reply.status, reply.json()["cmd"].as_str()), (200, Some("exit")));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(client.until_closed().await, b"");
    drop(client);
    timeout(BOUND, frontend.double.until_wiped()).await.expect("not wiped");
}

#[tokio::test]
async fn a_node_that_is_needed_does_not_exit() {
    let frontend = Frontend::start(with_control()).await;
    let mut client = frontend.client().await;
    frontend.double.fail_wipes(Some(WipeError::WouldLoseQuorum));
    let reply = client.ask(post("/control", "", "{\"cmd\":\"exit\"}")).await;
    assert_eq!(reply.problem(409, "would_lose_quorum")["retry"], "safe");
    frontend.double.fail_wipes(Some(WipeError::NoLeader(BOUND)));
    client.ask(post("/control", "", "{\"cmd\":\"exit\"}")).await.problem(503, "no_leader");
    // Neither of them left anything behind that would end the node when its connection ends.
    drop(client);
    frontend.double.fail_wipes(None);
    let wiped = timeout(BOUND, async {
        let mut client = frontend.client().await;
        while !client.ask(bare("GET", "/metrics")).await.text().contains("boat_http_connections 1\n") {}
        tokio::select! { biased; () = frontend.double.until_wiped() => true, () = std::future::ready(()) => false }
    });
    assert!(!wiped.await.unwrap());
}

#[tokio::test]
async fn a_command_that_is_none_is_refused() {
    let frontend = Frontend::start(with_control()).await;
    for body in
        ["{\"cmd\":\"stop\"}", "{}", "[]", "\"exit\"", "{\"cmd\":1}", "{\"cmd\":\"exit\",\"x\":1}", "{", ""]
    {
        let reply = frontend.client().await.ask(post("/control", "", body)).await;
        reply.problem(400, "invalid_request");
    }
    let long = format!("{{\"cmd\":\"{}\"}}", "x".repeat(2_000));
    frontend.client().await.ask(post("/control", "", &long)).await.problem(413, "body_too_large");
    let page = post("/control", "Origin: http://evil.example\r\n", "{\"cmd\":\"exit\"}");
    frontend.client().await.ask(page).await.problem(403, "forbidden");
    let plain = "POST /control HTTP/1.1\r\nhost: b\r\ncontent-type: text/plain\r\ncontent-length: 14\r\n\r\n{\"cmd\":\"exit\"}";
    frontend.client().await.ask(plain).await.problem(415, "unsupported_media_type");
    frontend.still_serves().await;
}
