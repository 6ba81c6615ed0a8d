//! A node that is full says so at once, over real sockets, while its model does not move (promise L4).
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::http::{HttpOptions, serve};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Model, ModelPredictor, Node};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// What is promised.
const ANSWERED_WITHIN: Duration = Duration::from_millis(50);
/// How often it is tried. The median counts: the machine may have other things to do.
const TRIES: usize = 21;
/// How many requests the node takes.
const ROOM: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the model may move.
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Answers nothing before the gate is open.
#[derive(Serialize, Deserialize)]
struct Blocked;

impl Model for Blocked {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, request: u64) -> u64 {
        let closed = GATE.0.lock().unwrap();
        drop(GATE.1.wait_timeout_while(closed, PATIENCE, |is_open| !*is_open).unwrap());
        request
    }
}

struct Client(TcpStream);

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Client {
        Client(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, number: u64) {
        let body = number.to_string();
        let length = body.len();
        let request = format!(
            "POST /predict HTTP/1.1\r\nhost: b\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn reply(&mut self) -> String {
        let mut reply = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut reply)).await.expect("no answer in time").unwrap();
        String::from_utf8(reply).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_says_so_within_50_ms() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { proposals_max: ROOM, ..Limits::default() };
    let config = NodeConfig::<NoBackend> { limits, ..NodeConfig::default() };
    let builder = Node::builder(0).config(config).data_dir(directory.path());
    let builder = builder.members("0=local:0".parse().unwrap()).transport(LocalNetwork::new().transport());
    let node = builder.start_predictor(ModelPredictor::new(Blocked).unwrap()).await.unwrap();
    timeout(PATIENCE, node.ready()).await.expect("not ready in time").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = HttpOptions::default().check().unwrap();
    let server = serve(listener, node.clone(), options, axum::Router::new()).unwrap();

    let mut waiting = Vec::new();
    for number in 0..ROOM as u64 {
        let mut client = Client::connect(server.local_address()).await;
        client.send(number).await;
        waiting.push(client);
    }
    let full_by = Instant::now() + PATIENCE;
    while node.status().waiting < ROOM {
        assert!(Instant::now() < full_by, "it does not fill up: {:?}", node.status());
        tokio::task::yield_now().await;
    }

    let mut took = Vec::new();
    for _ in 0..TRIES {
        let begun = Instant::now();
        let mut client = Client::connect(server.local_address()).await;
        client.send(99).await;
        let reply = client.reply().await;
        took.push(begun.elapsed());
        assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("\"code\":\"overloaded\""), "{reply}");
        assert!(reply.to_lowercase().contains("\r\nretry-after: "), "{reply}");
    }
    took.sort();
    assert!(took.get(TRIES / 2).is_some_and(|median| *median < ANSWERED_WITHIN), "{took:?}");

    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    for mut client in waiting {
        let reply = client.reply().await;
        assert!(reply.starts_with("HTTP/1.1 200"), "what was taken is answered: {reply}");
    }
}
