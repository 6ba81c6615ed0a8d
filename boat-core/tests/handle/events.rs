//! What a node tells of itself as it happens.

use boat_core::{NodeEvent, NodeId, Phase};

use crate::cluster::{Cluster, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_readiness_and_the_end_are_told() {
    let cluster = Cluster::new(1);
    let node = cluster.start(0).await;
    let mut events = node.events();
    within(node.ready()).await.unwrap();
    drop(node);
    let mut told = Vec::new();
    while let Some(event) = within(events.next()).await {
        told.push(event);
    }
    let leads = |event: &NodeEvent| matches!(event, NodeEvent::Leader { leader: Some(NodeId(0)), .. });
    assert!(told.iter().any(leads), "{told:?}");
    assert!(told.contains(&NodeEvent::Phase(Phase::Ready)), "{told:?}");
    assert_eq!(told.last(), Some(&NodeEvent::Stopped));
}
