//! Nodes in one process, their model, and what tests wait for.

use std::time::Duration;

use boat_core::config::NodeConfig;
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, MemberList, Model, Node, NodeId, RequestKind};
use serde::{Deserialize, Serialize};

/// How long anything may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A query at which the model panics.
pub(crate) const BAD_QUERY: u64 = 666;

/// Adds up what it is asked: every answer depends on every request so far. Feedback counts tenfold.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sum {
    sum: u64,
}

impl Model for Sum {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, context: &Context, request: u64) -> u64 {
        let factor = if context.kind() == RequestKind::Predict { 1 } else { 10 };
        self.sum += factor * request;
        self.sum
    }

    fn query(&self, _: &Context, request: u64) -> Option<u64> {
        assert_ne!(request, BAD_QUERY);
        Some(self.sum + request)
    }
}

pub(crate) type SumNode = Node<Json<u64, u64>>;

pub(crate) struct Cluster {
    pub(crate) network: LocalNetwork,
    pub(crate) config: NodeConfig,
    directory: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn new(nodes: u16) -> Self {
        let members = (0..nodes).map(|node| (NodeId(node), format!("local:{node}")));
        let members = MemberList::new(members).unwrap();
        Cluster {
            network: LocalNetwork::new(),
            config: NodeConfig { members, ..NodeConfig::default() },
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn start(&self, node: u16) -> SumNode {
        let config =
            NodeConfig { data_dir: self.directory.path().join(node.to_string()), ..self.config.clone() };
        let builder = Node::builder(node).config(config).transport(self.network.transport());
        builder.start(Sum::default()).await.unwrap()
    }

    pub(crate) async fn start_all(&self) -> Vec<SumNode> {
        let mut nodes = Vec::new();
        for (node, _) in self.config.members.iter() {
            nodes.push(self.start(node.0).await);
        }
        for node in &nodes {
            within(node.ready()).await.unwrap();
        }
        nodes
    }
}

/// Cuts a node off from all others, or ends that.
pub(crate) fn isolate(cluster: &Cluster, node: NodeId, cut: bool) {
    let peers = cluster.config.members.iter().map(|(peer, _)| peer).filter(|peer| *peer != node);
    for peer in peers {
        for (from, to) in [(node, peer), (peer, node)] {
            match cut {
                true => cluster.network.cut(from, to),
                false => cluster.network.heal(from, to),
            }
        }
    }
}

/// Waits for something, but not for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// Waits until this holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
