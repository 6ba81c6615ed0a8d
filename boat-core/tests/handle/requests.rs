//! Requests of every kind stand in one order, and are applied once.

use std::sync::{Condvar, Mutex};
use std::task::Poll;

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, MemberList, Model, Node, NodeId, PredictError};
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, PATIENCE, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feedback_and_configuration_take_their_places_among_predictions_once() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let first = within(nodes[0].predict(1).into_future()).await.unwrap();
    let told = within(nodes[1].feedback(2).key("told").into_future()).await.unwrap();
    let change = within(nodes[2].configure("3").key("change").into_future()).await.unwrap();
    let last = within(nodes[0].predict(4).into_future()).await.unwrap();
    assert_eq!((first.output, told.output, change.output.as_ref(), last.output), (1, 21, &b"51"[..], 55));
    assert!(first.position < told.position && told.position < change.position);
    assert!(change.position < last.position);
    let again = within(nodes[2].feedback(2).key("told").into_future()).await.unwrap();
    assert_eq!((again.position, again.output, again.replayed), (told.position, 21, true));
    // The same bytes as another kind of request are another request.
    let other = within(nodes[2].predict(2).key("told").into_future()).await;
    assert_eq!(other, Err(PredictError::KeyReused { position: told.position }));
    until(|| nodes.iter().all(|node| node.status().position == last.position)).await;
    assert!(nodes.iter().all(|node| node.status().digest == nodes[0].status().digest));
}

/// For each node whether its model has to wait.
static GATES: [(Mutex<bool>, Condvar); 3] = [const { (Mutex::new(false), Condvar::new()) }; 3];

fn set_closed(node: usize, is_closed: bool) {
    *GATES[node].0.lock().unwrap() = is_closed;
    GATES[node].1.notify_all();
}

/// Counts what it is asked, while its node's gate is open.
#[derive(Serialize, Deserialize)]
struct Gated {
    node: usize,
    count: u64,
}

impl Model for Gated {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, _: u64) -> u64 {
        let (closed, changed) = &GATES[self.node];
        let closed = closed.lock().unwrap();
        drop(changed.wait_timeout_while(closed, PATIENCE, |is_closed| *is_closed).unwrap());
        self.count += 1;
        self.count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_through_a_node_that_is_behind_gets_the_first_answer_when_that_node_has_it() {
    let (network, directory) = (LocalNetwork::new(), tempfile::tempdir().unwrap());
    let members = MemberList::new((0..3).map(|node| (NodeId(node), format!("local:{node}")))).unwrap();
    let mut nodes = Vec::new();
    for node in 0..3 {
        let builder = Node::builder(node).data_dir(directory.path().join(node.to_string()));
        let builder = builder.members(members.clone()).transport(network.transport());
        nodes.push(builder.start(Gated { node: node.into(), count: 0 }).await.unwrap());
    }
    for node in &nodes {
        within(node.ready()).await.unwrap();
    }
    let leader = || nodes.iter().find(|node| node.status().is_leader);
    until(|| leader().is_some()).await;
    let leader = leader().unwrap();
    let (number, behind) = nodes.iter().enumerate().find(|(_, node)| node.id() != leader.id()).unwrap();
    set_closed(number, true);
    let first = within(leader.predict(1).key("k").into_future()).await.unwrap();
    assert!(!first.replayed);
    assert!(behind.status().position < first.position);

    let mut retry = std::pin::pin!(behind.predict(1).key("k").into_future());
    assert!(std::future::poll_fn(|context| Poll::Ready(retry.as_mut().poll(context).is_pending())).await);
    set_closed(number, false);
    let retry = within(retry).await.unwrap();
    // It came before this node had applied the request, and is answered with it.
    assert_eq!((retry.output, retry.position, retry.replayed), (first.output, first.position, false));
    for node in &nodes {
        until(|| node.status().position >= first.position).await;
        let again = within(node.predict(1).key("k").into_future()).await.unwrap();
        assert_eq!((again.output, again.position, again.replayed), (first.output, first.position, true));
    }
    let next = within(behind.predict(1).into_future()).await.unwrap();
    assert_eq!(next.output, 2, "each was applied once");
}
