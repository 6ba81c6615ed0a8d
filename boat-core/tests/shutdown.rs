//! A clean end is a quiet one: nothing that a person would have to look at is said, and somebody else leads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::time::Duration;

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, MemberList, Model, Node, NodeId};
use log::{Level, Log, Metadata, Record};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps what a person would have to look at.
struct Captured(Mutex<Vec<String>>);

static CAPTURED: Captured = Captured(Mutex::new(Vec::new()));

impl Log for Captured {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}: {}", record.level(), record.target(), record.args());
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

#[derive(Default, Serialize, Deserialize)]
struct Sum(u64);

impl Model for Sum {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, request: u64) -> u64 {
        self.0 += request;
        self.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_shutdown_is_quiet_and_leaves_a_leader() {
    log::set_logger(&CAPTURED).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let directory = tempfile::tempdir().unwrap();
    let network = LocalNetwork::new();
    let members = (0..3).map(|node| (NodeId(node), format!("local:{node}")));
    let members = MemberList::new(members).unwrap();
    let mut nodes = Vec::new();
    for node in 0..3_u16 {
        let builder = Node::builder(node).data_dir(directory.path().join(node.to_string()));
        let builder = builder.members(members.clone()).transport(network.transport());
        nodes.push(builder.start(Sum::default()).await.unwrap());
    }
    for node in &nodes {
        tokio::time::timeout(PATIENCE, node.ready()).await.unwrap().unwrap();
        node.predict(1).await.unwrap();
    }
    CAPTURED.0.lock().unwrap().clear();
    let leads = nodes.iter().position(|node| node.status().is_leader).unwrap();
    let leader = nodes.remove(leads);
    // Requests that wait through the end of a leader find the next one.
    let (ended, asked) = tokio::join!(leader.shutdown(), nodes[0].predict(1));
    ended.unwrap();
    assert_eq!(asked.unwrap().output, 4);
    drop(leader);
    assert_eq!(nodes[1].predict(1).await.unwrap().output, 5);
    for node in nodes {
        tokio::time::timeout(PATIENCE, node.shutdown()).await.unwrap().unwrap();
        tokio::time::timeout(PATIENCE, node.stopped()).await.unwrap().unwrap();
    }
    let said = CAPTURED.0.lock().unwrap();
    assert!(said.is_empty(), "{said:#?}");
}
