//! Nodes in one process, over the in-process transport and real files: what somebody who embeds Boat sees.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, MemberList, Model, Node, NodeId, Phase, PredictError};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(20);

/// Every answer depends on every request so far.
#[derive(Default, Serialize, Deserialize)]
struct Chain {
    state: u64,
}

impl Model for Chain {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: String) -> u64 {
        for byte in request.bytes().chain(context.position().to_le_bytes()) {
            self.state = (self.state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.state
    }
}

type ChainNode = Node<Json<String, u64>>;

struct Cluster {
    network: LocalNetwork,
    directory: tempfile::TempDir,
    members: MemberList,
    limits: Limits,
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let members = (0..nodes).map(|node| (NodeId(node), format!("local:{node}")));
        Cluster {
            network: LocalNetwork::new(),
            directory: tempfile::tempdir().unwrap(),
            members: MemberList::new(members).unwrap(),
            limits: Limits::default(),
        }
    }

    async fn start(&self, node: u16) -> ChainNode {
        let config = NodeConfig::<NoBackend> { limits: self.limits.clone(), ..NodeConfig::default() };
        Node::builder(node)
            .config(config)
            .data_dir(self.directory.path().join(node.to_string()))
            .members(self.members.clone())
            .transport(self.network.transport())
            .start(Chain::default())
            .await
            .unwrap()
    }

    async fn start_all(&self) -> Vec<ChainNode> {
        let mut nodes = Vec::new();
        for (node, _) in self.members.iter() {
            nodes.push(self.start(node.0).await);
        }
        for node in &nodes {
            ready(node).await;
        }
        nodes
    }
}

async fn ready(node: &ChainNode) {
    let ready = tokio::time::timeout(PATIENCE, node.ready()).await;
    ready.unwrap_or_else(|_| panic!("not ready: {:?}", node.status())).unwrap();
}

/// Waits until all nodes have applied `position` and agree on the digest.
async fn agree(nodes: &[ChainNode], position: u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let statuses: Vec<_> = nodes.iter().map(Node::status).collect();
        if statuses.iter().all(|status| status.position == position) {
            assert!(statuses.iter().all(|status| status.digest == statuses[0].digest), "{statuses:?}");
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "no agreement on {position}: {statuses:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_answer_on_each_and_agree() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let mut positions = Vec::new();
    for round in 0..5 {
        for node in &nodes {
            let answer = node.predict(format!("round {round}")).await.unwrap();
            positions.push(answer.position);
        }
    }
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "{positions:?}");
    agree(&nodes, *positions.last().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_has_one_position_whichever_node_is_asked() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let first = nodes[0].predict("a".into()).key("user-7/42").await.unwrap();
    assert!(!first.replayed);
    agree(&nodes, first.position).await;
    for node in &nodes {
        let retry = node.predict("a".into()).key("user-7/42").await.unwrap();
        assert_eq!((retry.position, retry.output, retry.replayed), (first.position, first.output, true));
        let other = node.predict("b".into()).key("user-7/42").await;
        assert_eq!(other, Err(PredictError::KeyReused { position: first.position }));
    }
    let unnamed = nodes[1].predict("c".into()).await.unwrap();
    agree(&nodes, unnamed.position).await;
    let retry = nodes[2].predict("c".into()).key(unnamed.key.clone()).await.unwrap();
    assert_eq!((retry.position, retry.replayed), (unnamed.position, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_applied_is_replayed_after_all_stopped() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let mut last = 0;
    for n in 0..50 {
        last = nodes[n % 3].predict(n.to_string()).await.unwrap().position;
    }
    agree(&nodes, last).await;
    let digest = nodes[0].status().digest;
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
    drop(nodes);
    let nodes = cluster.start_all().await;
    agree(&nodes, last).await;
    assert_eq!(nodes[2].status().digest, digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_comes_back_as_a_new_incarnation() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_all().await;
    let mut last = nodes[0].predict("before".into()).await.unwrap().position;
    nodes[1].prepare_wipe().await.unwrap();
    nodes.remove(1).shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.directory.path().join("1")).unwrap();
    for n in 0..20 {
        last = nodes[n % 2].predict(n.to_string()).await.unwrap().position;
    }
    let reborn = cluster.start(1).await;
    ready(&reborn).await;
    nodes.push(reborn);
    agree(&nodes, last).await;
    let voters =
        |node: &ChainNode| node.status().members.iter().filter(|member| member.role == "voter").count();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while nodes.iter().any(|node| voters(node) != 3) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", nodes[0].status());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_for_others_says_for_whom_and_answers_at_once() {
    let cluster = Cluster::new(3);
    let node = cluster.start(0).await;
    let error = node.predict("a".into()).within(PATIENCE).await.unwrap_err();
    assert!(matches!(error, PredictError::NoLeader(waited) if waited < PATIENCE), "{error:?}");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let waiting_for = vec![NodeId(1), NodeId(2)];
    while node.status().phase != (Phase::Founding { waiting_for: waiting_for.clone() }) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", node.status());
        tokio::task::yield_now().await;
    }
    node.shutdown().await.unwrap();
    let error = node.predict("a".into()).await;
    assert_eq!(error, Err(PredictError::Stopped));
}

#[tokio::test]
async fn a_directory_serves_one_process_and_one_node() {
    let cluster = Cluster::new(1);
    let node = cluster.start(0).await;
    let again = Node::builder(0)
        .data_dir(cluster.directory.path().join("0"))
        .members(cluster.members.clone())
        .transport(LocalNetwork::new().transport())
        .start(Chain::default())
        .await;
    assert!(matches!(again, Err(boat_core::Error::DirectoryInUse(_))), "{again:?}");
    node.shutdown().await.unwrap();
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_kept_aside_and_the_node_joins_anew() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_all().await;
    let mut last = 0;
    for n in 0..30 {
        last = nodes[n % 3].predict(n.to_string()).await.unwrap().position;
    }
    agree(&nodes, last).await;
    nodes.remove(1).shutdown().await.unwrap();
    let directory = cluster.directory.path().join("1");
    let files = std::fs::read_dir(directory.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let find = |bytes: &[u8]| bytes.windows(4).position(|part| part == b"\"17\"");
    let found = files.filter_map(|path| find(&std::fs::read(&path).unwrap()).map(|place| (path, place)));
    let (segment, place) = found.last().expect("request 17 is in the log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[place + 1] ^= 0x40;
    std::fs::write(&segment, bytes).unwrap();
    let again = cluster.start(1).await;
    ready(&again).await;
    nodes.push(again);
    last = nodes[0].predict("after".into()).await.unwrap().position;
    agree(&nodes, last).await;
    assert!(directory.join("aside-0/log").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_sealed_segment_is_found_by_the_replay_and_kept_aside() {
    const SMALL: usize = 16 << 10;
    let limits = Limits {
        request_bytes_max: SMALL,
        command_bytes_max: SMALL,
        segment_bytes: 2 * SMALL,
        ..Limits::default()
    };
    let cluster = Cluster { limits, ..Cluster::new(3) };
    let mut nodes = cluster.start_all().await;
    let mut last = 0;
    for n in 0..30 {
        let long = format!("{n} {}", "x".repeat(SMALL / 4));
        last = nodes[n % 3].predict(long).await.unwrap().position;
    }
    agree(&nodes, last).await;
    nodes.remove(1).shutdown().await.unwrap();
    let directory = cluster.directory.path().join("1");
    let first = directory.join("log/0000000000000001.segment");
    assert!(directory.join("log/0000000000000002.segment").exists());
    let mut bytes = std::fs::read(&first).unwrap();
    let place = bytes.windows(8).position(|part| part == b"xxxxxxxx").unwrap();
    bytes[place] ^= 0x40;
    std::fs::write(&first, bytes).unwrap();
    // Opening reads the last segment only, so the damage is met while the node serves.
    let ended = tokio::time::timeout(PATIENCE, cluster.start(1).await.stopped()).await.unwrap();
    assert!(matches!(ended, Err(boat_core::Error::Damaged(_))), "{ended:?}");
    let again = cluster.start(1).await;
    ready(&again).await;
    nodes.push(again);
    last = nodes[0].predict("after".into()).await.unwrap().position;
    agree(&nodes, last).await;
    assert!(directory.join("aside-0/log").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_restored_from_a_backup_is_refused_then_kept_aside() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_all().await;
    let mut last = nodes[0].predict("before".into()).await.unwrap().position;
    agree(&nodes, last).await;
    let directory = cluster.directory.path().join("1");
    nodes.remove(1).shutdown().await.unwrap();
    let backup = cluster.directory.path().join("backup");
    copy_directory(&directory, &backup);
    // Many starts ago: it must not take as many to be let in again.
    for _ in 0..3 {
        let node = cluster.start(1).await;
        ready(&node).await;
        node.shutdown().await.unwrap();
    }
    let node = cluster.start(1).await;
    ready(&node).await;
    nodes.push(node);
    for n in 0..20 {
        last = nodes[n % 3].predict(n.to_string()).await.unwrap().position;
    }
    agree(&nodes, last).await;
    nodes.pop().unwrap().shutdown().await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    copy_directory(&backup, &directory);
    let restored = cluster.start(1).await;
    let ended = tokio::time::timeout(PATIENCE, restored.stopped()).await.unwrap();
    assert!(matches!(ended, Err(boat_core::Error::StaleDirectory(_))), "{ended:?}");
    drop(restored);
    // The next start asks the others, and joins anew.
    let again = cluster.start(1).await;
    ready(&again).await;
    assert!(directory.join("aside-0/log").exists());
    nodes.push(again);
    last = nodes[0].predict("after".into()).await.unwrap().position;
    agree(&nodes, last).await;
}
