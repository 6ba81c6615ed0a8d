//! `POST /query`: what a client may ask to see, and what it is told that it saw.

use std::time::Duration;

use boat_core::http::HttpOptions;
use boat_core::{QueryError, Read};

use crate::Frontend;
use crate::client::{bare, post, predict};
use crate::double::output;

#[tokio::test]
async fn a_query_says_what_it_saw_and_leaves_no_trace() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    client.ask(predict("{}")).await;
    let body = "{\"input\": 3}";
    let reply = client.ask(post("/query", "", body)).await;
    assert_eq!((reply.status, reply.body.as_slice()), (200, output(body.as_bytes()).as_ref()));
    assert_eq!((reply.header("boat-position"), reply.header("boat-node")), (Some("1"), Some("2")));
    assert_eq!((reply.header("boat-read"), reply.header("boat-stale")), (Some("linearizable"), None));
    assert_eq!(frontend.double.last_read(), Read::Linearizable);
    let headers = "Boat-Read: local\r\nBoat-At-Least: 7\r\nPrefer: wait=3\r\n";
    let reply = client.ask(post("/query", headers, body)).await;
    assert_eq!((reply.header("boat-read"), reply.header("boat-stale")), (Some("local"), Some("true")));
    assert_eq!(frontend.double.last_read(), Read::Local { at_least: 7 });
    assert_eq!(frontend.double.last_within(), Duration::from_secs(3));
    assert_eq!(frontend.double.applied().len(), 1);
}

#[tokio::test]
async fn a_query_that_is_wrong_is_refused() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for headers in ["Boat-Read: any\r\n", "Boat-At-Least: 7\r\n", "Boat-Read: local\r\nBoat-At-Least: -7\r\n"]
    {
        client.ask(post("/query", headers, "{}")).await.problem(400, "invalid_request");
    }
    client.ask(post("/query", "", "{")).await.problem(400, "invalid_request");
    let reply = client.ask(bare("GET", "/query")).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("POST"));
}

#[tokio::test]
async fn every_error_has_its_code_and_status() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let waited = Duration::from_secs(2);
    for (error, status, code, retry) in [
        (QueryError::Invalid("no".into()), 400, "invalid_request", "never"),
        (QueryError::TooLarge { bytes: 2, bytes_max: 1 }, 413, "body_too_large", "never"),
        (QueryError::Unsupported, 501, "query_unsupported", "never"),
        (QueryError::Overloaded { waiting: 1, waiting_max: 1 }, 503, "overloaded", "safe"),
        (QueryError::NoLeader(waited), 503, "no_leader", "safe"),
        (QueryError::Behind { waited, position: 4 }, 503, "behind", "safe"),
        (QueryError::Unavailable("gone".into()), 503, "backend_unavailable", "safe"),
        (QueryError::Rejected { position: 4, reason: "odd".into() }, 422, "rejected", "never"),
        (QueryError::Stopped, 503, "shutting_down", "safe"),
    ] {
        frontend.double.fail_next_query(error);
        let reply = client.ask(post("/query", "", "{}")).await;
        assert_eq!(reply.problem(status, code)["retry"], retry);
        assert_eq!(reply.header("retry-after").is_some(), retry == "safe", "{reply:?}");
    }
}
