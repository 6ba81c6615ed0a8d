//! Reads that leave the log alone: what they see, on whom, and what they say when they cannot.

use std::time::Duration;

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Model, Node, NodeId, QueryAnswer, QueryError, Read};
use serde::{Deserialize, Serialize};

use crate::cluster::{BAD_QUERY, Cluster, SumNode, isolate, until, within};

/// How long a query may take that is not going to be answered.
const BRIEFLY: Duration = Duration::from_millis(300);

async fn query(node: &SumNode, read: Read) -> Result<QueryAnswer<u64>, QueryError> {
    within(node.query(0, read).into_future()).await
}

fn leader(nodes: &[SumNode]) -> usize {
    nodes.iter().position(|node| node.status().is_leader).expect("somebody leads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_answers_with_everything_that_was_answered_before() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    for n in 1..=10 {
        let told = within(nodes[n % 3].predict(n as u64).into_future()).await.unwrap();
        for node in &nodes {
            let seen = query(node, Read::Linearizable).await.unwrap();
            assert_eq!(seen, QueryAnswer::new(told.output, told.position, false));
        }
        let seen = query(&nodes[(n + 1) % 3], Read::Local { at_least: told.position }).await.unwrap();
        assert_eq!(seen, QueryAnswer::new(told.output, told.position, true));
    }
    let positions = nodes.iter().map(|node| node.status().position);
    // Queries took no place: there are the ten predictions, and the openings of three frontends' sessions.
    assert!(positions.max().unwrap() <= 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_says_so_and_shows_what_it_has_only_when_that_is_asked() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let old = within(nodes[0].predict(1).into_future()).await.unwrap();
    until(|| nodes.iter().all(|node| node.status().position >= old.position)).await;
    let lonely = (leader(&nodes) + 1) % 3;
    isolate(&cluster, NodeId(lonely as u16), true);
    let others: Vec<&SumNode> = (0..3).filter(|node| *node != lonely).map(|node| &nodes[node]).collect();
    let new = within(others[0].predict(2).into_future()).await.unwrap();
    let node = &nodes[lonely];
    let refused = within(node.query(0, Read::Linearizable).within(BRIEFLY).into_future()).await;
    assert_eq!(refused, Err(QueryError::NoLeader(BRIEFLY)));
    let seen = query(node, Read::Local { at_least: old.position }).await.unwrap();
    assert!(seen.stale && seen.position < new.position && seen.output == 1, "{seen:?}");
    let at_least = Read::Local { at_least: new.position };
    let behind = within(node.query(0, at_least).within(BRIEFLY).into_future()).await;
    assert_eq!(behind, Err(QueryError::Behind { waited: BRIEFLY, position: seen.position }));
    isolate(&cluster, NodeId(lonely as u16), false);
    within(node.reached(new.position)).await.unwrap();
    assert_eq!(query(node, at_least).await.unwrap().output, 3);
    assert_eq!(query(node, Read::Linearizable).await.unwrap().output, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_deposed_and_does_not_know_it_answers_nothing_old() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    within(nodes[0].predict(1).into_future()).await.unwrap();
    let deposed = leader(&nodes);
    isolate(&cluster, NodeId(deposed as u16), true);
    let others: Vec<&SumNode> = (0..3).filter(|node| *node != deposed).map(|node| &nodes[node]).collect();
    until(|| others.iter().any(|node| node.status().is_leader)).await;
    within(others[0].predict(2).into_future()).await.unwrap();
    for _ in 0..5 {
        let refused = nodes[deposed].query(0, Read::Linearizable).within(BRIEFLY / 5);
        let refused = within(refused.into_future()).await;
        assert!(matches!(refused, Err(QueryError::NoLeader(_))), "{refused:?}");
    }
    isolate(&cluster, NodeId(deposed as u16), false);
    assert_eq!(query(&nodes[deposed], Read::Linearizable).await.unwrap().output, 3);
}

/// A model whose predictions change it, and that says nothing of queries.
#[derive(Default, Serialize, Deserialize)]
struct Counter(u64);

impl Model for Counter {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, request: u64) -> u64 {
        self.0 += request;
        self.0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_cannot_be_answered_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let builder = Node::builder(0).data_dir(directory.path()).members("0=local:0".parse().unwrap());
    let node = builder.transport(LocalNetwork::new().transport()).start(Counter::default()).await.unwrap();
    within(node.ready()).await.unwrap();
    let unsupported = within(node.query(1, Read::Linearizable).into_future()).await;
    assert_eq!(unsupported, Err(QueryError::Unsupported));
    let bytes = node.raw();
    let invalid = within(bytes.query("\"text\"".into(), Read::default()).into_future()).await;
    assert!(matches!(invalid, Err(QueryError::Invalid(_))), "{invalid:?}");
    within(node.shutdown()).await.unwrap();
    let stopped = within(node.query(1, Read::Local { at_least: 0 }).into_future()).await;
    assert_eq!(stopped, Err(QueryError::Stopped));
    assert_eq!(within(node.reached(1)).await, Err(QueryError::Stopped));

    let cluster = Cluster::new(1);
    let node = &cluster.start_all().await[0];
    let panicked = within(node.query(BAD_QUERY, Read::Linearizable).into_future()).await;
    assert!(matches!(panicked, Err(QueryError::Rejected { .. })), "{panicked:?}");
    assert_eq!(query(node, Read::Linearizable).await.unwrap().output, 0);
}
