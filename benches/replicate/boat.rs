//! Three Boat nodes in one process.

use std::sync::Arc;
use std::time::Duration;

use benches::{Caller, NODES, Result, call};
use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::log::files::MemoryFiles;
use boat_core::transport::local::LocalNetwork;
use boat_core::{Call, CallOutcome, MemberList, Node, NodeId, Predictor, PredictorError, StateKind};
use bytes::Bytes;

use crate::BODY;

/// Answers each request with nothing.
struct Count(u64);

impl Predictor for Count {
    fn state_kind(&self) -> StateKind {
        StateKind::Replay
    }

    fn is_quick(&self) -> bool {
        true
    }

    async fn reset(&mut self) -> std::result::Result<(), PredictorError> {
        self.0 = 0;
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> std::result::Result<(), PredictorError> {
        self.0 += calls.len() as u64;
        outcomes.extend(calls.iter().map(|_| CallOutcome::Output(Bytes::new())));
        Ok(())
    }
}

/// Asks a node.
struct Asks(Node);

impl Caller for Asks {
    async fn ask(&self) -> std::result::Result<(), String> {
        let answer = self.0.predict(Bytes::from_static(BODY)).await;
        answer.map(drop).map_err(|error| error.to_string())
    }
}

/// Starts nodes, lets so many callers ask the leader, and gives the answers per second.
pub(crate) async fn run(callers: usize, turn: Duration) -> Result<f64> {
    let network = LocalNetwork::new();
    let directory = tempfile::tempdir()?;
    let members = MemberList::new((0..NODES).map(|node| (NodeId(node), format!("local:{node}"))))?;
    let mut nodes = Vec::new();
    for node in 0..NODES {
        let limits = Limits { proposals_max: 2 * callers.max(2_048), ..Limits::default() };
        let node = Node::builder(node)
            .config(NodeConfig::<NoBackend> { limits, ..NodeConfig::default() })
            // Only its lock lies there.
            .data_dir(directory.path().join(node.to_string()))
            .members(members.clone())
            .transport(network.transport())
            .files(Arc::new(MemoryFiles::new()))
            .start_predictor(Count(0))
            .await?;
        nodes.push(node);
    }
    for node in &nodes {
        node.ready().await?;
    }
    let leader = nodes.iter().find(|node| node.status().is_leader).ok_or("no node leads")?;
    let per_second = call((0..callers).map(|_| Asks(leader.clone())), turn).await?;
    for node in &nodes {
        node.shutdown().await?;
    }
    Ok(per_second)
}
