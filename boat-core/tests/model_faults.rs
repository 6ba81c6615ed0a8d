//! Models that panic, hang, go another way or are slow, in whole nodes: what becomes of their requests and of leadership.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and a model that hangs sleeps"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boat_core::config::{Limits, NodeConfig};
use boat_core::transport::local::LocalNetwork;
use boat_core::{
    Alarm, Call, CallOutcome, Context, Events, Json, MemberList, Model, Node, NodeEvent, NodeId, Phase,
    PredictError, Predictor, PredictorError, QuarantineError, StateKind,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(40);

/// Every answer depends on every request so far. Some requests it cannot bear.
#[derive(Default, Serialize, Deserialize)]
struct Moody {
    state: u64,
    /// What makes this copy another than its peers.
    bias: u64,
}

impl Model for Moody {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: String) -> u64 {
        match request.as_str() {
            "panic" => panic!("cannot bear it"),
            "hang" => loop {
                std::thread::sleep(PATIENCE);
            },
            _ => {}
        }
        for byte in request.bytes().chain(context.position().to_le_bytes()) {
            self.state = (self.state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.state + self.bias
    }
}

struct Cluster {
    network: LocalNetwork,
    directory: tempfile::TempDir,
    members: MemberList,
}

type MoodyNode = Node<Json<String, u64>>;

impl Cluster {
    fn new(nodes: u16) -> Self {
        let members = (0..nodes).map(|node| (NodeId(node), format!("local:{node}")));
        Cluster {
            network: LocalNetwork::new(),
            directory: tempfile::tempdir().unwrap(),
            members: MemberList::new(members).unwrap(),
        }
    }

    fn config(&self, node: u16) -> NodeConfig {
        NodeConfig {
            data_dir: self.directory.path().join(node.to_string()),
            members: self.members.clone(),
            limits: Limits { call_ms_max: 500, ..Limits::default() },
            ..NodeConfig::default()
        }
    }

    async fn start(&self, node: u16, bias: u64) -> MoodyNode {
        let builder = Node::builder(node).config(self.config(node)).transport(self.network.transport());
        builder.start(Moody { state: 0, bias }).await.unwrap()
    }

    async fn start_all(&self) -> Vec<MoodyNode> {
        let mut nodes = Vec::new();
        for (node, _) in self.members.iter() {
            nodes.push(self.start(node.0, 0).await);
        }
        for node in &nodes {
            until(node, "ready", |node| node.is_ready()).await;
        }
        nodes
    }
}

/// Waits until something holds of a node.
async fn until<I: boat_core::Interface>(node: &Node<I>, what: &str, holds: impl Fn(&Node<I>) -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds(node) {
        assert!(tokio::time::Instant::now() < deadline, "not {what}: {:?}", node.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for an event.
async fn told(events: &mut Events, expected: impl Fn(&NodeEvent) -> bool) {
    let heard = tokio::time::timeout(PATIENCE, async {
        while let Some(event) = events.next().await {
            if expected(&event) {
                return true;
            }
        }
        false
    });
    assert!(heard.await.expect("it is told"), "the node stopped before");
}

async fn agree(nodes: &[MoodyNode], position: u64) {
    for node in nodes {
        until(node, "at the position", |node| node.status().position == position).await;
        assert_eq!(node.status().digest, nodes[0].status().digest);
    }
}

async fn quarantined(node: &MoodyNode, request: &str, key: &str) -> u64 {
    match node.predict(request.to_owned()).key(key).within(PATIENCE).await {
        Err(PredictError::Quarantined { position }) => position,
        other => panic!("{other:?}; {:?}", node.status()),
    }
}

/// Has the cluster put a request aside, and go on.
async fn puts_aside(request: &str) {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_all().await;
    nodes[0].predict("before".into()).await.unwrap();
    let mut events: Vec<_> = nodes.iter().map(Node::events).collect();
    let position = quarantined(&nodes[0], request, "k").await;
    for events in &mut events {
        told(events, |event| *event == NodeEvent::Quarantined { position }).await;
    }
    for node in &nodes {
        assert_eq!(quarantined(node, request, "k").await, position, "for ever, and on every node");
    }
    let after = nodes[1].predict("after".into()).within(PATIENCE).await.unwrap();
    agree(&nodes, after.position).await;
    // A replay knows of it before it begins.
    nodes.remove(2).shutdown().await.unwrap();
    let again = cluster.start(2, 0).await;
    until(&again, "ready", |node| node.is_ready()).await;
    nodes.push(again);
    agree(&nodes, after.position).await;
    assert_eq!(nodes[2].status().backend.rebuilds, 0);
    assert!(nodes[2].status().health.held_positions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_makes_the_model_panic_is_quarantined_everywhere() {
    puts_aside("panic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_makes_the_model_hang_is_quarantined_everywhere() {
    puts_aside("hang").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_be_asked_blocks_a_quarantine_and_an_operator_may_force_it() {
    let cluster = Cluster::new(3);
    let mut nodes = cluster.start_all().await;
    nodes.remove(2).shutdown().await.unwrap();
    until(&nodes[0], "led", |node| node.status().leader.is_some_and(|leader| leader.0 < 2)).await;
    let asked = nodes[0].clone();
    let asked = tokio::spawn(async move { quarantined(&asked, "panic", "k").await });
    let blocked = |node: &MoodyNode| node.status().alarms.contains(&Alarm::QuarantineBlocked);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !nodes.iter().any(blocked) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", nodes[0].status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let leader = nodes.iter().find(|node| blocked(node)).unwrap();
    assert_eq!(leader.status().health.quarantine_waits_for, [NodeId(2)]);
    let position = leader.status().health.held_positions[0];
    let elsewhere = nodes[0].quarantine(position + 1_000, PATIENCE).await;
    assert_eq!(elsewhere, Err(QuarantineError::NotHeld { position: position + 1_000 }));
    let follower = nodes.iter().find(|node| !node.status().is_leader).unwrap();
    // Given up at once its fate is open; asked for again, and again, it is decided once.
    let waited = Duration::ZERO;
    assert_eq!(follower.quarantine(position, waited).await, Err(QuarantineError::Unknown { waited }));
    for _ in 0..2 {
        follower.quarantine(position, PATIENCE).await.unwrap();
    }
    assert_eq!(asked.await.unwrap(), position);
    let back = cluster.start(2, 0).await;
    until(&back, "ready", |node| node.is_ready()).await;
    nodes.push(back);
    let after = nodes[2].predict("after".into()).within(PATIENCE).await.unwrap();
    agree(&nodes, after.position).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_goes_another_way_is_found_rebuilt_twice_and_then_answers_nothing() {
    let cluster = Cluster::new(3);
    let nodes = [cluster.start(0, 0).await, cluster.start(1, 1).await, cluster.start(2, 0).await];
    for node in &nodes {
        until(node, "ready", |node| node.is_ready()).await;
    }
    let mut events = nodes[1].events();
    nodes[0].predict("one".into()).await.unwrap();
    told(&mut events, |event| matches!(event, NodeEvent::Diverged { rebuilds: true, .. })).await;
    told(&mut events, |event| matches!(event, NodeEvent::Diverged { rebuilds: false, .. })).await;
    until(&nodes[1], "diverged", |node| node.status().phase == Phase::Diverged).await;
    let status = nodes[1].status();
    assert_eq!(status.backend.rebuilds, 2);
    assert!(status.alarms.contains(&Alarm::Diverged), "{status:?}");
    let asked = nodes[1].predict("two".into()).within(Duration::from_millis(500)).await;
    assert!(matches!(asked, Err(PredictError::Unknown { .. } | PredictError::NoLeader(_))), "{asked:?}");
    for node in [&nodes[0], &nodes[2]] {
        node.predict("three".into()).within(PATIENCE).await.unwrap();
        assert!(!node.status().alarms.contains(&Alarm::Diverged));
    }
    until(&nodes[1], "led by another", |node| node.status().leader.is_some_and(|leader| leader.0 != 1)).await;
}

/// What a backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Unavailable,
    Slow,
}

/// An echo that counts, and does as it is told.
struct Told {
    mood: Arc<Mutex<Mood>>,
    runs: Arc<AtomicU64>,
}

impl Predictor for Told {
    fn state_kind(&self) -> StateKind {
        StateKind::Replay
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        for call in calls {
            let mood = *self.mood.lock().unwrap();
            match mood {
                Mood::Well => {}
                Mood::Unavailable => return Err(PredictorError::Unavailable("as told".to_owned())),
                Mood::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
            }
            self.runs.fetch_add(1, Ordering::Relaxed);
            outcomes.push(CallOutcome::Output(call.body.clone()));
        }
        Ok(())
    }
}

/// Has the leader's backend do this, and waits until another node leads.
async fn hands_over(mood: Mood) {
    let cluster = Cluster::new(3);
    let mut nodes = Vec::new();
    let mut moods = Vec::new();
    for node in 0..3 {
        let mood = Arc::new(Mutex::new(Mood::Well));
        moods.push(mood.clone());
        let mut config = cluster.config(node);
        config.limits.call_ms_max = 20_000;
        let builder = Node::builder(node).config(config).transport(cluster.network.transport());
        nodes.push(builder.start_predictor(Told { mood, runs: Arc::default() }).await.unwrap());
    }
    for node in &nodes {
        until(node, "ready", |node| node.is_ready()).await;
    }
    nodes[0].predict("1".into()).within(PATIENCE).await.unwrap();
    let leader = nodes[0].status().leader.unwrap();
    *moods[usize::from(leader.0)].lock().unwrap() = mood;
    let other = &nodes[usize::from((leader.0 + 1) % 3)];
    for n in 0..20 {
        other.predict(n.to_string().into()).within(PATIENCE).await.unwrap();
    }
    until(other, "led by another", |node| node.status().leader.is_some_and(|now| now != leader)).await;
    *moods[usize::from(leader.0)].lock().unwrap() = Mood::Well;
    let last = other.predict("2".into()).within(PATIENCE).await.unwrap();
    for node in &nodes {
        until(node, "at the position", |node| node.status().position == last.position).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_backend_is_unavailable_hands_over() {
    hands_over(Mood::Unavailable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_backend_is_slow_hands_over() {
    hands_over(Mood::Slow).await;
}
