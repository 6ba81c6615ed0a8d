//! Queries a second, asked of one node or of all three.
//!
//! A query leaves the log alone, and each node answers from its own model, so that more nodes answer more. The model takes a
//! millisecond for each query without using a core, as one behind a socket does: three nodes on one machine have no more cores than
//! one.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::sync::Arc;
use std::time::Duration;

use benches::{Caller, Figure, Goal, NODES, Result, Size, call, machine};
use boat_core::config::{NoBackend, NodeConfig};
use boat_core::log::files::MemoryFiles;
use boat_core::transport::local::LocalNetwork;
use boat_core::{
    Call, CallOutcome, MemberList, Node, NodeId, Predictor, PredictorError, Query, QueryOutcome,
};
use boat_core::{Read, StateKind};
use bytes::Bytes;

const ROUNDS: usize = 3;
/// How many ask each node that is asked.
const CALLERS: usize = 16;
/// How long the model takes for a query.
const TAKES: Duration = Duration::from_millis(1);
/// How many times as many queries three nodes answer as one, at least.
const GROWTH_MIN: f64 = 2.5;

/// Waits for each query.
struct Slow;

impl Predictor for Slow {
    fn state_kind(&self) -> StateKind {
        StateKind::Replay
    }

    async fn reset(&mut self) -> std::result::Result<(), PredictorError> {
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> std::result::Result<(), PredictorError> {
        outcomes.extend(calls.iter().map(|_| CallOutcome::Output(Bytes::new())));
        Ok(())
    }

    async fn query(&mut self, _: &Query) -> std::result::Result<QueryOutcome, PredictorError> {
        // A timer of tokio's would round up to the next millisecond.
        std::thread::sleep(TAKES);
        Ok(QueryOutcome::Output(Bytes::new()))
    }
}

fn main() -> Result<()> {
    let size = Size::asked_for();
    println!(
        "query, on {}; {ROUNDS} rounds in turns, {CALLERS} callers a node, {TAKES:?} a query",
        machine()
    );
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(size))
}

async fn measure(size: Size) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let nodes = start(directory.path()).await?;
    let leads = nodes.iter().position(|node| node.status().is_leader).ok_or("no node leads")?;
    let follower = (leads + 1) % nodes.len();
    let asked = [
        ("the leader", vec![leads]),
        ("a follower", vec![follower]),
        ("all three", (0..nodes.len()).collect()),
    ];
    let turn = Duration::from_millis(size.pick(20, 1_000, 5_000));
    let mut goals = Vec::new();
    for (read, name) in [(Read::Local { at_least: 0 }, "local"), (Read::Linearizable, "linearizable")] {
        let mut samples = [const { Vec::new() }; 3];
        for _ in 0..size.pick(1, ROUNDS, ROUNDS) {
            for ((_, places), samples) in asked.iter().zip(&mut samples) {
                let asked = places.iter().filter_map(|place| nodes.get(*place));
                let callers = asked.flat_map(|node| std::iter::repeat_n(node, CALLERS));
                samples.push(call(callers.map(|node| Asks(node.clone(), read)), turn).await?);
            }
        }
        let figures = samples.map(Figure::new);
        println!("\n{name} queries/s");
        for ((who, _), figure) in asked.iter().zip(&figures) {
            println!("{who:>12} {figure:>24.0}");
        }
        let [one, _, all] = figures.map(|figure| figure.median());
        goals.push(Goal::at_least(format!("{name}_queries_over_nodes"), all / one.max(1.0), GROWTH_MIN));
    }
    for node in &nodes {
        node.shutdown().await?;
    }
    Goal::print(&goals, size);
    Ok(())
}

async fn start(directory: &std::path::Path) -> Result<Vec<Node>> {
    let network = LocalNetwork::new();
    let members = MemberList::new((0..NODES).map(|node| (NodeId(node), format!("local:{node}"))))?;
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let node = Node::builder(node)
            .config(NodeConfig::<NoBackend>::default())
            .data_dir(directory.join(node.to_string()))
            .members(members.clone())
            .transport(network.transport())
            .files(Arc::new(MemoryFiles::new()))
            .start_predictor(Slow)
            .await?;
        nodes.push(node);
    }
    for node in &nodes {
        node.ready().await?;
    }
    Ok(nodes)
}

/// Asks a node.
struct Asks(Node, Read);

impl Caller for Asks {
    async fn ask(&self) -> std::result::Result<(), String> {
        let answer = self.0.query(Bytes::new(), self.1).await;
        answer.map(drop).map_err(|error| error.to_string())
    }
}
