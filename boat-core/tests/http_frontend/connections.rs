//! Many requests on one connection, many connections, and the end of both.

use boat_core::http::HttpOptions;
use tokio::time::timeout;

use crate::Frontend;
use crate::client::{BOUND, Client, bare, predict};
use crate::double::{HELD, output};

fn held() -> String {
    predict(&format!("{{\"input\":{HELD}}}"))
}

#[tokio::test]
async fn a_connection_carries_one_request_after_the_other() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for number in 1..=100 {
        let body = format!("{{\"input\":{number}}}");
        let reply = client.ask(predict(&body)).await;
        assert_eq!(reply.header("boat-position"), Some(number.to_string().as_str()));
        assert_eq!(reply.body, output(body.as_bytes()));
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let bad = predict("{");
    let requests: String =
        (0..50).map(|number| predict(&number.to_string()) + &bad + &bare("GET", "/")).collect();
    client.send(requests).await;
    for number in 0..50 {
        assert_eq!(client.reply().await.body, output(number.to_string().as_bytes()));
        client.reply().await.problem(400, "invalid_request");
        assert_eq!(client.reply().await.text(), "Hello from Boat API");
    }
}

#[tokio::test]
async fn http_1_0_and_close_end_the_connection() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n"] {
        let mut client = frontend.client().await;
        assert_eq!(client.ask(request).await.status, 200);
        assert_eq!(client.until_closed().await, b"");
    }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let frontend = Frontend::start(HttpOptions { connections_max: 2, ..HttpOptions::default() }).await;
    let (mut first, mut second) = (frontend.client().await, frontend.client().await);
    assert_eq!(first.ask(bare("GET", "/")).await.status, 200);
    assert_eq!(second.ask(bare("GET", "/")).await.status, 200);
    let mut third = frontend.client().await;
    let reply = third.ask(predict("{}")).await;
    assert_eq!(reply.problem(503, "overloaded")["retry"], "safe");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(third.until_closed().await, b"");
    let page = second.ask(bare("GET", "/metrics")).await;
    assert!(page.text().contains("boat_http_connections_refused_total 1\n"), "{}", page.text());
    drop(first);
    // As soon as the server has seen that, there is room again.
    let served =
        timeout(BOUND, async { while frontend.client().await.ask(bare("GET", "/")).await.status != 200 {} });
    served.await.expect("the connection that ended still counts");
}

#[tokio::test]
async fn a_server_that_leaves_answers_each_client_once_more() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let address = frontend.server.local_address();
    let (mut asks, mut busy) = (frontend.client().await, frontend.client().await);
    assert_eq!(asks.ask(bare("GET", "/")).await.header("connection"), None);
    busy.send(held()).await;
    timeout(BOUND, frontend.double.until_waiting(1)).await.unwrap();
    let (server, double) = (frontend.server, frontend.double);
    let leaves = tokio::spawn(async move {
        server.leave(BOUND).await;
        server
    });
    timeout(BOUND, async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await.unwrap();
    // In flight when it began to leave, and new.
    double.let_go(1);
    for reply in [busy.reply().await, asks.ask(predict("7")).await] {
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    }
    assert_eq!(asks.until_closed().await, b"");
    assert_eq!(busy.until_closed().await, b"");
    let server = timeout(BOUND, leaves).await.expect("nobody is left to wait for").unwrap();
    assert_eq!(timeout(BOUND, server.shutdown()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_leaves_closes_idle_connections_in_the_end() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut idle = frontend.client().await;
    assert_eq!(idle.ask(bare("GET", "/")).await.status, 200);
    frontend.server.leave(std::time::Duration::from_millis(20)).await;
    assert_eq!(idle.until_closed().await, b"");
    assert_eq!(timeout(BOUND, frontend.server.shutdown()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_in_flight() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let address = frontend.server.local_address();
    let (mut idle, mut busy) = (frontend.client().await, frontend.client().await);
    assert_eq!(idle.ask(bare("GET", "/")).await.status, 200);
    busy.send(held()).await;
    timeout(BOUND, frontend.double.until_waiting(1)).await.unwrap();
    let double = frontend.double.clone();
    let shutdown = tokio::spawn(frontend.server.shutdown());
    assert_eq!(idle.until_closed().await, b"");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "still listens");
    double.let_go(1);
    let reply = busy.reply().await;
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(busy.until_closed().await, b"");
    drop((idle, busy));
    assert_eq!(timeout(BOUND, shutdown).await.unwrap().unwrap(), 0);
    assert_eq!(double.applied().len(), 1);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_clients_that_keep_idle_connections() {
    let frontend =
        Frontend::start(HttpOptions { shutdown_timeout_ms: 1_500, ..HttpOptions::default() }).await;
    let mut clients = [frontend.client().await, frontend.client().await];
    assert_eq!(clients[0].ask(bare("GET", "/")).await.status, 200);
    assert_eq!(clients[1].ask(predict("{")).await.status, 400);
    assert_eq!(timeout(BOUND, frontend.server.shutdown()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let frontend = Frontend::start(HttpOptions { shutdown_timeout_ms: 20, ..HttpOptions::default() }).await;
    let mut clients: [Client; 2] = [frontend.client().await, frontend.client().await];
    for client in &mut clients {
        client.send(held()).await;
    }
    timeout(BOUND, frontend.double.until_waiting(2)).await.unwrap();
    assert_eq!(timeout(BOUND, frontend.server.shutdown()).await.unwrap(), 2);
    for mut client in clients {
        assert_eq!(client.until_closed().await, b"");
    }
    assert_eq!(frontend.double.applied().len(), 0);
}

#[tokio::test]
async fn a_dropped_server_ends_at_once() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    assert_eq!(client.ask(bare("GET", "/")).await.status, 200);
    drop(frontend.server);
    assert_eq!(client.until_closed().await, b"");
}
