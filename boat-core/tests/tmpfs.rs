//! Nodes on small real file systems that fill up and are given space again (design D10): nothing acknowledged is lost, and
//! nothing is started again. File systems are mounted for this, which only root may; elsewhere the tests say that they are
//! skipped.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it is skipped"
)]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Alarm, Answer, Context, Json, MemberList, Model, Node, NodeId, PredictError};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const NODES: u16 = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// How large each node's file system is.
const MIB: u32 = 64;
/// How many clients ask at the same time, and how long their requests are.
const CLIENTS: usize = 4;
const REQUEST_BYTES: usize = 24 << 10;
/// How long a client waits before it asks once more.
const WITHIN: Duration = Duration::from_millis(200);
/// How long to rest before looking again for what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Every answer depends on every request so far.
#[derive(Default, Serialize, Deserialize)]
struct Chain(u64);

impl Model for Chain {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: String) -> u64 {
        for byte in request.bytes().take(32).chain(context.position().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.0
    }
}

/// A key, and what was answered to it.
type Answered = (String, Answer<u64>);
type ChainNode = Node<Json<String, u64>>;

/// A file system of a few MiB, unmounted when it is dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir_all(&path).unwrap();
        let options = format!("size={MIB}m,mode=700");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "boat-test"]).arg(&path).output();
        mount.is_ok_and(|output| output.status.success()).then_some(SmallDisk { path })
    }

    /// Fills what is left, to the last byte.
    fn fill(&self) {
        let mut filler = File::create(self.path.join("filler")).unwrap();
        for block in [1 << 16, 1 << 12, 1] {
            while filler.write(&vec![7; block]).is_ok_and(|written| written > 0) {}
        }
    }

    /// Gives that space back.
    fn empty(&self) {
        std::fs::remove_file(self.path.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node whose test failed may still hold it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).output();
    }
}

struct Cluster {
    nodes: Vec<ChainNode>,
    disks: Vec<SmallDisk>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    async fn start(free_bytes_min: u64) -> Option<Cluster> {
        let directory = tempfile::tempdir().unwrap();
        let disk = |node: u16| SmallDisk::mount(directory.path().join(node.to_string()));
        let Some(disks) = (0..NODES).map(disk).collect::<Option<Vec<_>>>() else {
            eprintln!("SKIPPED: this user may not mount a tmpfs, so no disk can be filled");
            return None;
        };
        let network = LocalNetwork::new();
        let members =
            MemberList::new((0..NODES).map(|node| (NodeId(node), format!("local:{node}")))).unwrap();
        let limits = Limits {
            free_bytes_min,
            request_bytes_max: 64 << 10,
            command_bytes_max: 64 << 10,
            proposal_bytes_max: 1 << 20,
            segment_bytes: 1 << 20,
            ..Limits::default()
        };
        let mut nodes = Vec::new();
        for (node, disk) in (0..NODES).zip(&disks) {
            let config = NodeConfig::<NoBackend> { limits: limits.clone(), ..NodeConfig::default() };
            let node = Node::builder(node)
                .config(config)
                .data_dir(disk.path.join("data"))
                .members(members.clone())
                .transport(network.transport());
            nodes.push(node.start(Chain::default()).await.unwrap());
        }
        for node in &nodes {
            timeout(PATIENCE, node.ready()).await.expect("it is ready").unwrap();
        }
        Some(Cluster { nodes, disks, _directory: directory })
    }

    fn leader(&self) -> Option<usize> {
        self.nodes.iter().position(|node| node.status().is_leader)
    }

    /// Waits until all nodes have applied the same, at this position or behind it.
    async fn agree(&self, position: u64) {
        wait("all agree", || {
            let statuses: Vec<_> = self.nodes.iter().map(Node::status).collect();
            let first = (statuses[0].position, &statuses[0].digest);
            first.0 >= position && statuses.iter().all(|status| (status.position, &status.digest) == first)
        })
        .await;
    }
}

async fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !there() {
        assert!(asked.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Clients that ask one request after the other, each until it is answered, on one node after the other.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<Vec<Answered>>>,
}

impl Clients {
    fn start(nodes: &[ChainNode]) -> Clients {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |number| tokio::spawn(ask(number, nodes.to_vec(), stop.clone(), answered.clone()));
        let tasks = (0..CLIENTS).map(client).collect();
        Clients { stop, answered, tasks }
    }

    async fn expect_more(&self, more: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        wait("answers", || self.answered.load(Ordering::Relaxed) >= enough).await;
    }

    /// Lets each client get its last answer.
    async fn stop(self) -> Vec<Answered> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(timeout(PATIENCE, task).await.expect("the last answer").unwrap());
        }
        all
    }
}

fn request(key: &str) -> String {
    format!("{key:-<REQUEST_BYTES$}")
}

async fn ask(
    client: usize,
    nodes: Vec<ChainNode>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Vec<Answered> {
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("{client}/{}", all.len());
        for place in client + all.len().. {
            let node = &nodes[place % nodes.len()];
            match node.predict(request(&key)).key(&*key).within(WITHIN).await {
                Ok(answer) => {
                    all.push((key, answer));
                    answered.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(PredictError::DiskFull | PredictError::Unknown { .. } | PredictError::NoLeader(_)) => {
                    sleep(LOOK_AGAIN).await;
                }
                Err(other) => panic!("{key}: {other}"),
            }
        }
    }
    all
}

/// Fills disks, empties them, and checks that everything acknowledged stands on every node.
async fn fill_and_empty(free_bytes_min: u64, which: impl Fn(&Cluster) -> Vec<usize>, serves: bool) {
    let Some(cluster) = Cluster::start(free_bytes_min).await else { return };
    let clients = Clients::start(&cluster.nodes);
    clients.expect_more(20).await;
    let full = which(&cluster);
    full.iter().for_each(|node| cluster.disks[*node].fill());
    if free_bytes_min > 0 {
        for node in &full {
            let node = &cluster.nodes[*node];
            wait("the alarm", || node.status().alarms.contains(&Alarm::DiskFull)).await;
            let refused = node.predict(request("refused")).key("refused").await;
            assert_eq!(refused, Err(PredictError::DiskFull));
        }
    }
    if serves {
        clients.expect_more(120).await;
    } else {
        // Whatever was allocated ahead is used up, or the reserve holds: nobody is answered any more.
        let mut before = usize::MAX;
        wait("nobody is answered", || {
            let now = clients.answered.load(Ordering::Relaxed);
            std::mem::replace(&mut before, now) == now && no_space(&cluster.disks[full[0]].path)
        })
        .await;
        sleep(2 * WITHIN).await;
    }
    full.iter().for_each(|node| cluster.disks[*node].empty());
    clients.expect_more(50).await;
    let all = clients.stop().await;
    let last = all.iter().map(|(_, answer)| answer.position).max().unwrap();
    cluster.agree(last).await;
    for node in &cluster.nodes {
        wait("the alarm is taken back", || node.status().alarms.is_empty()).await;
        assert!(node.is_running(), "{:?}", node.status());
        for (key, first) in &all {
            let again = node.predict(request(key)).key(&**key).await.unwrap();
            assert_eq!((again.output, again.position, again.replayed), (first.output, first.position, true));
        }
    }
    for node in &cluster.nodes {
        node.shutdown().await.unwrap();
    }
}

fn no_space(directory: &Path) -> bool {
    let probe = directory.join("probe");
    let full = std::fs::write(&probe, [7; 4096]).is_err();
    let _ = std::fs::remove_file(probe);
    full
}

const RESERVE: u64 = 8 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_below_its_reserve_hands_over_and_goes_on_with_more_space() {
    fill_and_empty(RESERVE, |cluster| cluster.leader().into_iter().collect(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_below_their_reserve_refuse_and_go_on_with_more_space() {
    fill_and_empty(RESERVE, |_| vec![0, 1, 2], false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_on_a_full_disk_holds_nobody_up_and_catches_up() {
    let follower = |cluster: &Cluster| vec![(cluster.leader().unwrap_or(0) + 1) % usize::from(NODES)];
    fill_and_empty(0, follower, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disks_without_a_reserve_hold_answers_back_until_there_is_space() {
    fill_and_empty(0, |_| vec![0, 1, 2], false).await;
}
