//! A node behind `tower`: readiness is room.

use std::future::poll_fn;
use std::task::Poll;

use boat_core::config::Limits;
use boat_core::{NodeRequest, NodeService, PredictError};
use tower_service::Service;

use crate::cluster::{Cluster, SumNode, within};

type Sums = NodeService<boat_core::Json<u64, u64>>;

async fn ready(service: &mut Sums) -> Result<(), PredictError> {
    within(poll_fn(|context| Service::<NodeRequest<u64>>::poll_ready(service, context))).await
}

/// Whether it is ready now, without waiting.
async fn is_ready(service: &mut Sums) -> bool {
    poll_fn(|context| {
        let ready = Service::<NodeRequest<u64>>::poll_ready(service, context);
        Poll::Ready(matches!(ready, Poll::Ready(Ok(()))))
    })
    .await
}

async fn nodes_with_room_for(proposals_max: usize) -> (Cluster, Vec<SumNode>) {
    let mut cluster = Cluster::new(1);
    cluster.config.limits = Limits { proposals_max, ..Limits::default() };
    let nodes = cluster.start_all().await;
    (cluster, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_ready_while_there_is_room() {
    let (_cluster, nodes) = nodes_with_room_for(1).await;
    let mut first = nodes[0].service();
    let mut second = first.clone();
    ready(&mut first).await.unwrap();
    assert!(!is_ready(&mut second).await);
    let asked = first.call(NodeRequest::new(3).key("k"));
    assert!(!is_ready(&mut second).await, "the request is under way");
    assert_eq!(within(asked).await.unwrap().output, 3);
    ready(&mut second).await.unwrap();
    let again = within(second.call(NodeRequest::new(3).key("k"))).await.unwrap();
    assert_eq!((again.output, again.replayed), (3, true));
    ready(&mut first).await.unwrap();
    assert!(!is_ready(&mut second).await);
    drop(first);
    ready(&mut second).await.unwrap();
    within(nodes[0].shutdown()).await.unwrap();
    assert_eq!(ready(&mut second).await, Err(PredictError::Stopped));
}
