//! A snapshot of many pieces on its way to a node that lost its disk.

use std::path::Path;
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::inspect::StoppedDirectory;
use boat_core::{Context, Json, MemberList, Model, Node, NodeId};
use boat_transport::TcpTransport;
use serde::{Deserialize, Serialize};

use crate::peer::WITHIN;

const NODES: u16 = 3;
/// How large the model's state is: more pieces than one, and more than leave in a tick.
const STATE_WORDS: usize = 1 << 20;
const REQUEST_BYTES: usize = 20_000;

/// Every answer depends on every request so far, and the state is large.
#[derive(Serialize, Deserialize)]
struct Large {
    words: Vec<u64>,
    at: usize,
}

impl Model for Large {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: String) -> u64 {
        let previous = self.words.get(self.at).copied().unwrap_or(0);
        self.at = (self.at + 4_099) % STATE_WORDS;
        let word = (previous ^ context.position()).wrapping_mul(0x9e37_79b9_7f4a_7c15) + request.len() as u64;
        if let Some(place) = self.words.get_mut(self.at) {
            *place = word;
        }
        word
    }
}

type LargeNode = Node<Json<String, u64>>;

async fn start(node: u16, directory: &Path, transport: TcpTransport, members: &MemberList) -> LargeNode {
    let limits = Limits {
        snapshot_log_bytes: 64 << 10,
        segment_bytes: 128 << 10,
        request_bytes_max: 32 << 10,
        command_bytes_max: 32 << 10,
        free_bytes_min: 0,
        ..Limits::default()
    };
    Node::builder(node)
        .config(NodeConfig::<NoBackend> { limits, ..NodeConfig::default() })
        .data_dir(directory)
        .members(members.clone())
        .transport(transport)
        .start(Large { words: vec![7; STATE_WORDS], at: 0 })
        .await
        .unwrap()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(3 * WITHIN, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come to be"));
}

fn log_is_cut(directory: &Path) -> bool {
    !directory.join("log").join("0000000000000001.segment").exists()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_disk_gets_a_large_snapshot_and_the_log_behind_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = |node: u16| directory.path().join(node.to_string());
    let mut transports = Vec::new();
    for _ in 0..NODES {
        transports.push(TcpTransport::bind("127.0.0.1:0").await.unwrap());
    }
    let addresses: Vec<String> =
        transports.iter().map(|transport| transport.local_address().to_string()).collect();
    let list = (0..NODES).map(NodeId).zip(addresses.iter().cloned());
    let members = MemberList::new(list).unwrap();
    let mut nodes = Vec::new();
    for (node, transport) in (0..NODES).zip(transports) {
        nodes.push(start(node, &path(node), transport, &members).await);
    }
    for node in &nodes {
        node.ready().await.unwrap();
    }
    while !(0..NODES).all(|node| log_is_cut(&path(node))) {
        nodes[0].predict("x".repeat(REQUEST_BYTES)).await.unwrap();
    }
    let lost = nodes.pop().unwrap();
    lost.prepare_wipe().await.unwrap();
    lost.shutdown().await.unwrap();
    let address = &addresses[2];
    std::fs::remove_dir_all(path(2)).unwrap();
    let again = start(2, &path(2), TcpTransport::bind(address).await.unwrap(), &members).await;
    again.ready().await.unwrap();
    let last = again.predict("after".into()).await.unwrap().position;
    nodes.push(again);
    let status = |node: &LargeNode| node.status();
    until("one position", || nodes.iter().all(|node| status(node).position == last)).await;
    let digests: Vec<String> = nodes.iter().map(|node| status(node).digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    let snapshot = status(&nodes[2]).snapshot.unwrap();
    assert!(snapshot.bytes > STATE_WORDS as u64, "{snapshot:?}");
    nodes.pop().unwrap().shutdown().await.unwrap();
    let inspection = StoppedDirectory::open(&path(2)).unwrap().inspect(false, |_| {}).unwrap();
    assert!(inspection.log.unwrap().first_index > 1, "its log never held what the snapshot stands in for");
}
