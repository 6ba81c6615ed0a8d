//! Requests of every kind stand in one order, and are applied once.

use boat_core::PredictError;

use crate::cluster::{Cluster, until, within};

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
