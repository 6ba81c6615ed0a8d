//! Changes of the membership with whole nodes in one process: under load, with crashes, and over lost disks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boat_core::transport::local::LocalNetwork;
use boat_core::{
    Context, Error, Json, MemberList, MembershipError, MembershipRefusal, Model, Node, NodeId, Phase,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(30);

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
    founders: u16,
}

fn address(node: u16) -> String {
    format!("local:{node}")
}

impl Cluster {
    fn new(founders: u16) -> Self {
        Cluster { network: LocalNetwork::new(), directory: tempfile::tempdir().unwrap(), founders }
    }

    fn path(&self, node: u16) -> std::path::PathBuf {
        self.directory.path().join(node.to_string())
    }

    /// Starts a founder, or a node that waits to be added.
    async fn start(&self, node: u16) -> ChainNode {
        let joins = node >= self.founders;
        let listed = (0..self.founders).chain(Some(node).filter(|_| joins));
        let members = MemberList::new(listed.map(|node| (NodeId(node), address(node)))).unwrap();
        let builder = Node::builder(node).data_dir(self.path(node)).members(members).join(joins);
        builder.transport(self.network.transport()).start(Chain::default()).await.unwrap()
    }

    async fn start_founders(&self) -> Vec<ChainNode> {
        let mut nodes = Vec::new();
        for node in 0..self.founders {
            nodes.push(self.start(node).await);
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

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::task::yield_now().await;
    }
}

/// Waits until all nodes have applied what the first has, and agree.
async fn agree(nodes: &[&ChainNode]) {
    until("all agree", || {
        let first = nodes[0].status();
        nodes
            .iter()
            .map(|node| node.status())
            .all(|status| (status.position, &status.digest) == (first.position, &first.digest))
    })
    .await;
}

fn voters(node: &ChainNode) -> Vec<u16> {
    let members = node.members();
    members.iter().filter(|member| member.role == "voter").map(|member| member.node.0).collect()
}

fn leader(nodes: &[ChainNode]) -> usize {
    nodes.iter().position(|node| node.status().is_leader).expect("one leads")
}

/// Asks one node after the other, all the time, until it is told to stop; every answer must come.
fn load(nodes: &[ChainNode], stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (nodes, stop) = (nodes.to_vec(), stop.clone());
    tokio::spawn(async move {
        let mut answered = 0;
        while !stop.load(Ordering::Relaxed) {
            let key = format!("load/{answered}");
            let deadline = Instant::now() + PATIENCE;
            // A node may be gone: the next one is asked, with the same key.
            for node in nodes.iter().cycle().skip(answered) {
                let asked = node.predict(answered.to_string()).key(key.clone());
                if asked.within(Duration::from_secs(2)).await.is_ok() {
                    break;
                }
                assert!(Instant::now() < deadline, "request {answered} has no answer");
            }
            answered += 1;
        }
        answered
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_grow_to_five_and_shrink_under_load() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_founders().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = load(&nodes[..1], &stop);
    for id in [3, 4] {
        nodes.push(cluster.start(id).await);
        nodes[1].add(id, address(id)).await.unwrap();
        nodes[2].promote(id).await.unwrap();
    }
    for node in &nodes {
        ready(node).await;
    }
    let again = nodes[0].add(4, address(4)).await;
    assert_eq!(again, Ok(()), "it is a member at this address already");
    let elsewhere = nodes[0].add(4, "elsewhere:4").await.unwrap_err();
    assert!(matches!(
        elsewhere,
        MembershipError::Refused { refusal: MembershipRefusal::AlreadyMember { .. }, .. }
    ));
    assert_eq!(voters(&nodes[0]).len(), 5);
    for id in [4_u16, 1] {
        // The leader itself, when it is its turn, hands over first.
        nodes[usize::from(id)].transfer_leader(id).await.unwrap();
        nodes[0].remove(id).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, nodes[usize::from(id)].stopped()).await.unwrap();
        let ended = ended.unwrap_err();
        assert!(matches!(ended, Error::Removed(_)) && ended.exit_status() == 77, "{ended}");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(clients.await.unwrap() > 0);
    until("three are left", || voters(&nodes[0]) == [0, 2, 3]).await;
    agree(&[&nodes[0], &nodes[2], &nodes[3]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_that_comes_back_waits_until_it_is_added() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_founders().await;
    nodes[0].predict("before".into()).await.unwrap();
    let away = nodes.remove(2);
    away.shutdown().await.unwrap();
    drop(away);
    nodes[0].remove(2).await.unwrap();
    let term = nodes[0].status().term;
    // It knows nothing of its removal, and hears of it from the others.
    let back = cluster.start(2).await;
    let ended = tokio::time::timeout(PATIENCE, back.stopped()).await.unwrap();
    assert!(matches!(ended, Err(Error::Removed(_))), "{ended:?}");
    drop(back);
    let back = cluster.start(2).await;
    until("it is told", || back.status().phase == (Phase::NotAdded { place_held_at: None })).await;
    assert!(cluster.path(2).join("aside-0/log").exists());
    assert_eq!((nodes[0].status().term, voters(&nodes[0])), (term, vec![0, 1]));
    nodes[1].add(2, address(2)).await.unwrap();
    nodes[1].promote(2).await.unwrap();
    ready(&back).await;
    nodes.push(back);
    let last = nodes[2].predict("after".into()).await.unwrap();
    assert_eq!(last.position, nodes[2].status().position);
    agree(&nodes.iter().collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_change_while_nodes_crash_and_the_rest_is_refused() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_founders().await;
    let crashed = (leader(&nodes) + 1) % 3;
    let id = nodes[crashed].id();
    // Dropping a node without a shutdown is its crash: nothing is handed over.
    drop(nodes.remove(crashed));
    let lead = leader(&nodes);
    let refused = nodes[lead].remove(nodes[1 - lead].id()).await.unwrap_err();
    assert!(
        matches!(refused, MembershipError::Refused { refusal: MembershipRefusal::WouldLoseQuorum, .. }),
        "{refused}"
    );
    assert!(!refused.may_be_applied());
    nodes.push(cluster.start(3).await);
    nodes[0].add(3, address(3)).await.unwrap();
    nodes[0].promote(3).await.unwrap();
    nodes[0].remove(id).await.unwrap();
    nodes[0].predict("after".into()).await.unwrap();
    agree(&nodes.iter().collect::<Vec<_>>()).await;
    let nobody = nodes[0].add(6, address(6)).within(Duration::from_secs(1)).await.unwrap_err();
    assert!(
        matches!(nobody, MembershipError::Refused { refusal: MembershipRefusal::NotThere, .. }),
        "{nobody}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_operation_twice_is_done_once() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_founders().await;
    nodes.push(cluster.start(3).await);
    let (first, second) = tokio::join!(
        nodes[0].add(3, address(3)).key("grow").into_future(),
        nodes[1].add(3, address(3)).key("grow").into_future(),
    );
    assert_eq!((first, second), (Ok(()), Ok(())));
    nodes[0].promote(3).await.unwrap();
    nodes[0].remove(3).await.unwrap();
    nodes[1].add(3, address(3)).key("grow").await.unwrap();
    assert_eq!(voters(&nodes[0]).len(), 3, "it was done already, and is not done again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_cluster_is_recovered_and_what_was_lost_never_comes_back() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_founders().await;
    let kept = nodes[0].predict("kept".into()).key("k").await.unwrap();
    agree(&nodes.iter().collect::<Vec<_>>()).await;
    let former = nodes[0].status().cluster.unwrap();
    let in_use = boat_core::recover(&cluster.path(0), NodeId(0), "local:0").unwrap_err();
    assert!(matches!(in_use, Error::DirectoryInUse(_)), "{in_use}");
    for node in &nodes {
        node.shutdown().await.unwrap();
    }
    drop(nodes);
    std::fs::remove_dir_all(cluster.path(1)).unwrap();
    let recovery = boat_core::recover(&cluster.path(0), NodeId(0), "local:0").unwrap();
    assert_eq!(recovery.former.to_string(), former);
    assert_eq!(recovery.removed, [NodeId(1), NodeId(2)]);
    let alone = cluster.start(0).await;
    ready(&alone).await;
    assert_eq!(alone.status().cluster, Some(recovery.cluster.to_string()));
    let again = alone.predict("kept".into()).key("k").await.unwrap();
    assert_eq!((again.position, again.output, again.replayed), (kept.position, kept.output, true));
    // One comes back with its disk after all: it is of the former cluster, and ends.
    let late = cluster.start(2).await;
    let ended = tokio::time::timeout(PATIENCE, late.stopped()).await.unwrap();
    assert!(matches!(ended, Err(Error::StaleDirectory(_))), "{ended:?}");
    drop(late);
    std::fs::remove_dir_all(cluster.path(2)).unwrap();
    let mut nodes = vec![alone];
    for id in [1, 2] {
        nodes.push(cluster.start(id).await);
        nodes[0].add(id, address(id)).await.unwrap();
        nodes[0].promote(id).await.unwrap();
    }
    for node in &nodes {
        ready(node).await;
    }
    nodes[2].predict("after".into()).await.unwrap();
    assert_eq!(voters(&nodes[0]), [0, 1, 2]);
    agree(&nodes.iter().collect::<Vec<_>>()).await;
}
