//! Accepting connections from peers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::epoch::EpochEnd;
use crate::links::Shared;
use crate::receive::Receiver;

/// How long to wait after a failed accept, which usually means that the process has no file descriptor left.
const ACCEPT_DELAY_MIN: Duration = Duration::from_millis(10);

/// The longest wait after many failed accepts.
const ACCEPT_DELAY_MAX: Duration = Duration::from_secs(1);

/// Accepts connections until the transport shuts down; each is then received from in a task of its own.
pub(crate) async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    let mut epoch = shared.epochs.current();
    let handshakes = Arc::new(Semaphore::new(shared.options.handshakes_max));
    let mut backoff = Backoff::new(ACCEPT_DELAY_MIN, ACCEPT_DELAY_MAX);
    loop {
        let (stream, address) = tokio::select! {
            biased;
            end = epoch.end() => match end {
                EpochEnd::Renewed => continue,
                EpochEnd::Shut => return,
            },
            accepted = accept(&listener, &mut backoff) => accepted,
        };
        if let Ok(handshaking) = Arc::clone(&handshakes).try_acquire_owned() {
            let receiver = Receiver::new(Arc::clone(&shared), address);
            tokio::spawn(receiver.run(stream, handshaking));
        } else {
            shared.counters.inbound_closed.add(1);
            debug!("closed a connection from {address}: too many are in their handshake");
        }
    }
}

async fn accept(listener: &TcpListener, backoff: &mut Backoff) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                backoff.reset();
                return accepted;
            }
            Err(error) => {
                warn!("cannot accept a connection from a peer: {error}");
                sleep(backoff.next(rand::random())).await;
            }
        }
    }
}
