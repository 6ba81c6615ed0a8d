//! Snapshots in whole nodes: restarts, followers that were away, disks that were lost, and retries across all of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::inspect::{StoppedDirectory, Verdict};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, MemberList, Model, Node, NodeEvent, NodeId, PredictError};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(30);
/// Small, so that a few requests are past it.
const SNAPSHOT_LOG_BYTES: u64 = 64 << 10;
/// A request of which few make a snapshot due, and some a segment.
const LONG: usize = 20_000;
/// A request that crashes every model.
const UNBEARABLE: &str = "unbearable";

/// Every answer depends on every request so far.
#[derive(Default, Serialize, Deserialize)]
struct Chain {
    state: u64,
    lengths: Vec<u32>,
}

impl Model for Chain {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: String) -> u64 {
        assert!(request != UNBEARABLE, "cannot bear it");
        self.lengths.push(request.len() as u32);
        for byte in request.bytes().take(40).chain(context.position().to_le_bytes()) {
            self.state = (self.state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.state ^ self.lengths.len() as u64
    }
}

type ChainNode = Node<Json<String, u64>>;

struct Cluster {
    network: LocalNetwork,
    directory: tempfile::TempDir,
    members: MemberList,
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let members = (0..nodes).map(|node| (NodeId(node), format!("local:{node}")));
        Cluster {
            network: LocalNetwork::new(),
            directory: tempfile::tempdir().unwrap(),
            members: MemberList::new(members).unwrap(),
        }
    }

    fn path(&self, node: u16) -> PathBuf {
        self.directory.path().join(node.to_string())
    }

    async fn start(&self, node: u16) -> ChainNode {
        let limits = Limits {
            snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
            segment_bytes: 128 << 10,
            request_bytes_max: 32 << 10,
            command_bytes_max: 32 << 10,
            free_bytes_min: 0,
            ..Limits::default()
        };
        Node::builder(node)
            .config(NodeConfig::<NoBackend> { limits, ..NodeConfig::default() })
            .data_dir(self.path(node))
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

    fn files(&self, node: u16, kind: &str) -> Vec<String> {
        let names = std::fs::read_dir(self.path(node).join(kind)).into_iter().flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn ready(node: &ChainNode) {
    let ready = tokio::time::timeout(PATIENCE, node.ready()).await;
    ready.unwrap_or_else(|_| panic!("not ready: {:?}", node.status())).unwrap();
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come to be");
        tokio::task::yield_now().await;
    }
}

/// Waits until all nodes have applied `position` and agree on the digest.
async fn agree(nodes: &[&ChainNode], position: u64) {
    until("agreement", || nodes.iter().all(|node| node.status().position == position)).await;
    let digests: Vec<String> = nodes.iter().map(|node| node.status().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

/// Predicts until every one of `nodes` has cut its log: its first segment is gone. The last position.
async fn predict_until_cut(cluster: &Cluster, nodes: &[&ChainNode]) -> u64 {
    for n in 0..400 {
        let last = nodes[n % nodes.len()].predict("x".repeat(LONG)).await.unwrap().position;
        let is_cut = |node: &&ChainNode| {
            !cluster.files(node.id().0, "log").contains(&"0000000000000001.segment".to_owned())
        };
        if nodes.iter().all(is_cut) {
            return last;
        }
    }
    panic!("no log was cut: {:?}", cluster.files(0, "log"));
}

/// What is said of a directory whose log was cut: positions go on from the oldest snapshot.
fn look_at_cut_directory(path: &Path, last: u64) {
    let stopped = StoppedDirectory::open(path).unwrap();
    let inspection = stopped.inspect(true, |_| {}).unwrap();
    assert_eq!((inspection.snapshots.len(), &inspection.problems), (2, &vec![]));
    let log = inspection.log.as_ref().unwrap();
    let oldest = &inspection.snapshots[1];
    assert_eq!((log.first_index, log.last_position), (oldest.index + 1, Some(last)));
    assert!(inspection.to_string().contains(&oldest.file), "{inspection}");
    let verification = stopped.verify(|_| {}).unwrap();
    assert_eq!((&verification.verdict, verification.snapshots), (&Verdict::Sound, 2), "{verification}");
    let requests: Vec<_> = stopped.requests(1..=u64::MAX, |_| {}).unwrap().map(Result::unwrap).collect();
    let positions: Vec<u64> = requests.iter().map(|request| request.position).collect();
    assert_eq!(positions, (oldest.position + 1..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_from_its_snapshot_and_knows_its_clients_still() {
    let cluster = Cluster::new(1);
    let node = cluster.start_all().await.remove(0);
    let first = node.predict("first".into()).key("user-7/42").await.unwrap();
    let mut events = node.events();
    let last = predict_until_cut(&cluster, &[&node]).await;
    let status = node.status();
    let snapshot = status.snapshot.expect("one was taken");
    let (position, bytes) = (snapshot.position, snapshot.bytes);
    let expected = NodeEvent::Snapshot { position, bytes, received: false };
    while tokio::time::timeout(PATIENCE, events.next()).await.unwrap().expect("it is told") != expected {}
    assert!(snapshot.position > first.position && snapshot.bytes > 0, "{snapshot:?}");
    assert_eq!(cluster.files(0, "snapshots").len(), 2);
    node.shutdown().await.unwrap();
    look_at_cut_directory(&cluster.path(0), last);
    for damaged in [false, true] {
        if damaged {
            let newest = cluster.files(0, "snapshots").pop().unwrap();
            let path = cluster.path(0).join("snapshots").join(newest);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            let verdict = StoppedDirectory::open(&cluster.path(0)).unwrap().verify(|_| {}).unwrap().verdict;
            assert!(matches!(&verdict, Verdict::Corrupt { file, .. } if *file == path), "{verdict:?}");
        }
        let node = cluster.start(0).await;
        ready(&node).await;
        assert_eq!((node.status().position, node.status().digest), (last, status.digest.clone()));
        let retry = node.predict("first".into()).key("user-7/42").await.unwrap();
        assert_eq!((retry.output, retry.position, retry.replayed), (first.output, first.position, true));
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_and_a_wiped_node_get_snapshots() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let [zero, one, two] = &nodes[..] else { panic!("three nodes") };
    let first = zero.predict("first".into()).key("user-7/42").await.unwrap();
    agree(&[zero, one, two], first.position).await;
    two.shutdown().await.unwrap();
    predict_until_cut(&cluster, &[zero, one]).await;
    // It comes back with a log that ends before the others' logs begin.
    let two = &cluster.start(2).await;
    let mut events = two.events();
    ready(two).await;
    let received = |event: Option<NodeEvent>| {
        matches!(event.expect("it is told"), NodeEvent::Snapshot { received: true, .. })
    };
    while !received(tokio::time::timeout(PATIENCE, events.next()).await.unwrap()) {}
    let last = zero.predict("between".into()).await.unwrap().position;
    agree(&[zero, one, two], last).await;
    let retry = two.predict("first".into()).key("user-7/42").await.unwrap();
    assert_eq!((retry.output, retry.position, retry.replayed), (first.output, first.position, true));
    assert!(!cluster.files(2, "snapshots").is_empty());
    // And with none at all, as a new incarnation that no snapshot knows yet.
    one.prepare_wipe().await.unwrap();
    one.shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.path(1)).unwrap();
    let one = &cluster.start(1).await;
    ready(one).await;
    let last = one.predict("after".into()).await.unwrap().position;
    agree(&[zero, one, two], last).await;
    let retry = one.predict("first".into()).key("user-7/42").await.unwrap();
    assert_eq!((retry.output, retry.position, retry.replayed), (first.output, first.position, true));
    let voters = || zero.status().members.iter().filter(|member| member.role == "voter").count();
    until("a vote for the new incarnation", || voters() == 3).await;
    // What came as a snapshot is what the next start begins with.
    one.shutdown().await.unwrap();
    let one = &cluster.start(1).await;
    ready(one).await;
    agree(&[zero, one, two], last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_comes_back_while_the_others_hold_a_request() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let [zero, one, two] = &nodes[..] else { panic!("three nodes") };
    predict_until_cut(&cluster, &[zero, one, two]).await;
    two.prepare_wipe().await.unwrap();
    two.shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.path(2)).unwrap();
    let asking = zero.clone();
    let asked =
        tokio::spawn(async move { asking.predict(UNBEARABLE.to_owned()).key("k").within(PATIENCE).await });
    let holds = |node: &ChainNode| !node.status().health.held_positions.is_empty();
    until("holds", || holds(zero) && holds(one)).await;
    // Neither of them can take a snapshot that knows the new incarnation, and nothing is decided without it.
    let two = &cluster.start(2).await;
    match asked.await.unwrap() {
        Err(PredictError::Quarantined { .. }) => {}
        other => panic!("{other:?}: {:?} {:?}", zero.status(), two.status()),
    }
    let last = two.predict("after".into()).within(PATIENCE).await.unwrap().position;
    agree(&[zero, one, two], last).await;
}
