//! Models that declare themselves quick, and nodes whose log never waits: turns and calls happen where requests are handed in.

use std::cell::Cell;
use std::future::{IntoFuture, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig, Timing};
use boat_core::log::files::MemoryFiles;
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, MemberList, Model, Node, NodeId, PredictError};
use serde::{Deserialize, Serialize};

use crate::cluster::{PATIENCE, until, within};

/// A request at which the model panics.
const PANICS: u64 = 666;
/// A request at which the model does not return.
const HANGS: u64 = 667;
/// Whether it returns after all, so that the test's own threads end.
static RELEASED: AtomicBool = AtomicBool::new(false);

/// Whether it was asked.
static HUNG: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// How many calls models have run on this thread.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Adds up what it is asked.
#[derive(Default, Serialize, Deserialize)]
struct Quick {
    sum: u64,
}

impl Model for Quick {
    type Request = u64;
    type Response = u64;

    fn is_quick(&self) -> bool {
        true
    }

    fn predict(&mut self, _: &Context, request: u64) -> u64 {
        assert_ne!(request, PANICS);
        CALLS.set(CALLS.get() + 1);
        HUNG.fetch_or(request == HANGS, Ordering::AcqRel);
        while request == HANGS && !RELEASED.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.sum += request;
        self.sum
    }
}

type QuickNode = Node<Json<u64, u64>>;

struct Cluster {
    network: LocalNetwork,
    members: MemberList,
    directory: tempfile::TempDir,
    config: NodeConfig<NoBackend>,
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let members = (0..nodes).map(|node| (NodeId(node), format!("local:{node}")));
        Cluster {
            network: LocalNetwork::new(),
            members: MemberList::new(members).unwrap(),
            directory: tempfile::tempdir().unwrap(),
            config: NodeConfig::default(),
        }
    }

    async fn start(&self) -> Vec<QuickNode> {
        let mut nodes = Vec::new();
        for (node, _) in self.members.iter() {
            let builder = Node::builder(node.0)
                .config(self.config.clone())
                .data_dir(self.directory.path().join(node.0.to_string()))
                .members(self.members.clone())
                .transport(self.network.transport())
                .files(Arc::new(MemoryFiles::new()));
            nodes.push(builder.start(Quick::default()).await.unwrap());
        }
        for node in &nodes {
            within(node.ready()).await.unwrap();
        }
        nodes
    }
}

async fn agree(nodes: &[QuickNode]) {
    until(|| {
        let statuses: Vec<_> = nodes.iter().map(Node::status).collect();
        let places = statuses.iter().map(|status| (status.position, &status.digest));
        places.clone().all(|place| Some(place) == places.clone().next())
    })
    .await;
}

#[tokio::test]
async fn a_lone_request_is_answered_without_a_change_of_threads() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start().await;
    let leader = nodes.iter().find(|node| node.status().is_leader).unwrap();
    let before = CALLS.get();
    for sum in 1..=200 {
        let answer = within(leader.predict(1).into_future()).await.unwrap().output;
        assert_eq!(answer, sum);
    }
    // A tick may be under way.
    let here = CALLS.get() - before;
    assert!(here > 100, "{here} of 200");
    agree(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_on_all_nodes_get_each_answer_once() {
    const CALLERS: u64 = 600;
    const EACH: u64 = 20;
    let cluster = Cluster::new(3);
    let nodes = cluster.start().await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        let node = nodes[caller as usize % nodes.len()].clone();
        callers.spawn(async move {
            let mut sums = Vec::new();
            for _ in 0..EACH {
                sums.push(within(node.predict(1).into_future()).await.unwrap().output);
            }
            sums
        });
    }
    let mut sums: Vec<u64> = within(callers.join_all()).await.into_iter().flatten().collect();
    sums.sort_unstable();
    assert!(sums.iter().copied().eq(1..=CALLERS * EACH), "each request counts once");
    agree(&nodes).await;
}

#[tokio::test]
async fn whoever_goes_away_before_its_turn_leaves_nothing_lying() {
    let mut cluster = Cluster::new(1);
    // Nobody else would look for a long time.
    cluster.config.timing = Timing { tick_ms: 1_000, heartbeat_ticks: 1, election_ticks: 2 };
    let nodes = cluster.start().await;
    within(nodes[0].predict(0).into_future()).await.unwrap();
    let position = nodes[0].status().position;
    let asked = tokio::time::Instant::now();
    {
        let mut request = std::pin::pin!(nodes[0].predict(5).into_future());
        assert!(poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await.is_pending());
    }
    until(|| nodes[0].status().position == position + 1).await;
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_quick_model_that_panics_is_rebuilt_and_its_request_quarantined() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start().await;
    within(nodes[0].predict(3).into_future()).await.unwrap();
    let outcome = within(nodes[0].predict(PANICS).into_future()).await;
    assert!(matches!(outcome, Err(PredictError::Quarantined { .. })), "{outcome:?}");
    assert_eq!(within(nodes[1].predict(4).into_future()).await.unwrap().output, 7);
    agree(&nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_quick_model_that_hangs_keeps_a_thread_but_not_the_node() {
    let mut cluster = Cluster::new(1);
    cluster.config.limits = Limits { call_ms_max: 100, ..Limits::default() };
    let nodes = cluster.start().await;
    within(nodes[0].predict(3).into_future()).await.unwrap();
    let node = nodes[0].clone();
    let hung = tokio::spawn(async move { node.predict(HANGS).await.map(drop) });
    until(|| HUNG.load(Ordering::Acquire)).await;
    // Every life of the model takes a thread with it, until the request is held and quarantined.
    let sum = tokio::time::timeout(PATIENCE, nodes[0].predict(4).into_future()).await;
    // Whatever came of it: threads that hang would keep the runtime from ending.
    RELEASED.store(true, Ordering::Release);
    assert_eq!(sum.unwrap().unwrap().output, 7);
    let hung = within(hung).await.unwrap();
    assert!(matches!(hung, Err(PredictError::Quarantined { .. })), "{hung:?}");
}
