//! One node as a whole program: what a `main` needs besides its flags.

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::config::{Checked, NodeConfig};
use crate::supervisor::StopSignals;
use crate::transport::Transport;
use crate::{Error, Node, Predictor, http};

/// How long a program that ends waits for its clients to go elsewhere: each is told with its next answer.
const LEAVING_MAX: Duration = Duration::from_millis(250);

/// Runs a node with its HTTP frontend until ctrl-C, SIGTERM, or until it cannot go on; then stops both cleanly. `routes`
/// makes what is served beside the frontend's own routes, given the node; `|_| Router::new()` for none. A second signal ends the wait for a clean stop.
///
/// # Errors
/// Why the node could not start, or not go on. [`Error::exit_status`] says what to end the process with.
pub async fn run_node<B: Clone>(
    config: Checked<NodeConfig<B>>,
    transport: impl Transport,
    predictor: impl Predictor,
    routes: impl FnOnce(&Node) -> Router,
) -> Result<(), Error> {
    let stopping = |error: std::io::Error| Error::Internal(format!("no signals: {error}"));
    let mut signals = StopSignals::listen().map_err(stopping)?;
    let address = config.http_address;
    let taken = |error: std::io::Error| Error::Listen { purpose: "HTTP", address, reason: error.to_string() };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let options = config.http_options();
    let node = Node::builder(config.node_id)
        .config(config.into_inner())
        .transport(transport)
        .start_predictor(predictor)
        .await?;
    let routes = routes(&node);
    let server = http::serve(listener, node.clone(), options, routes).map_err(taken)?;
    log::info!("node {}: serving HTTP on http://{}", node.id(), server.local_address());
    tokio::select! {
        ended = node.stopped() => {
            drop(server);
            return ended;
        }
        signal = signals.next() => log::info!("node {}: {signal}, stopping", node.id()),
    }
    let stop = async {
        // Whoever asks meanwhile is answered through the next leader.
        node.hand_over();
        server.leave(LEAVING_MAX).await;
        let ended = node.shutdown().await;
        server.shutdown().await;
        ended
    };
    tokio::select! {
        ended = stop => ended,
        _ = signals.next() => Ok(()),
    }
}
