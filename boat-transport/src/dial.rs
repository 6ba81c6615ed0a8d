//! The task that keeps one peer connected and writes to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::Hello;
use log::{debug, info, warn};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Connection;
use crate::epoch::EpochEnd;
use crate::handshake::HandshakeError;
use crate::link_state::{Ended, LinkState};
use crate::links::Shared;
use crate::outbox::Outbox;
use crate::socket;
use crate::write::write_gathered;

/// Dials one peer, again and again, and writes what is sent to it.
pub(crate) struct Dialer {
    shared: Arc<Shared>,
    node: NodeId,
    address: String,
    outbox: Arc<Outbox>,
    redial: Arc<Notify>,
    state: LinkState,
}

impl Dialer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        (node, address): (NodeId, String),
        outbox: Arc<Outbox>,
        redial: Arc<Notify>,
    ) -> Self {
        let state = LinkState::new(node, &shared.options);
        Dialer { shared, node, address, outbox, redial, state }
    }

    /// Runs until the link is `removed` or the transport shuts down.
    pub(crate) async fn run(mut self, mut removed: oneshot::Receiver<()>) {
        let mut epoch = self.shared.epochs.current();
        let mut delay = Duration::ZERO;
        loop {
            let ended = tokio::select! {
                biased;
                _ = &mut removed => Ended::Closed,
                end = epoch.end() => match end {
                    EpochEnd::Renewed => Ended::Renewed,
                    EpochEnd::Shut => Ended::Closed,
                },
                ended = self.live(delay) => ended,
            };
            if matches!(ended, Ended::Unreachable { .. } | Ended::Unwelcome { .. }) {
                // What waited for a connection that failed would be stale by the next: Raft repeats what still matters.
                self.shared.counters.dials_failed.add(1);
                self.shared.counters.messages_dropped.add(self.outbox.clear());
            }
            let next = self.state.ended(ended, rand::random());
            if let Some(event) = next.event {
                self.shared.inbox.deliver(event);
            }
            match next.delay {
                Some(next) => delay = next,
                None => return,
            }
        }
    }

    /// One connection, from the wait before it to its end.
    async fn live(&mut self, delay: Duration) -> Ended {
        if !delay.is_zero() {
            tokio::select! {
                () = sleep(delay) => (),
                () = self.redial.notified() => (),
            }
        }
        let stream = match self.connect().await {
            Ok(stream) => stream,
            Err(error) => {
                debug!("node {} at {} cannot be reached: {error}", self.node, self.address);
                return Ended::Unreachable { refused: error.kind() == io::ErrorKind::ConnectionRefused };
            }
        };
        let mut connection = Connection::new(stream);
        let reception = &*self.shared.reception;
        let within = self.shared.options.handshake_timeout;
        match connection.dial(self.node, reception, within).await {
            Ok(hello) => self.serve(connection.into_stream(), hello).await,
            Err(error) => self.unwelcome(&error),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let options = &self.shared.options;
        let connecting = TcpStream::connect(&self.address);
        let stream = timeout(options.connect_timeout, connecting).await.map_err(io::Error::from)??;
        socket::tune(&stream, options.silence_timeout)?;
        Ok(stream)
    }

    fn unwelcome(&self, error: &HandshakeError) -> Ended {
        let refusal = error.refusal_of_us();
        if refusal.is_some() || matches!(error, HandshakeError::RefusedHere(_)) {
            warn!("node {} at {}: {error}", self.node, self.address);
        } else {
            debug!("handshake with node {} at {}: {error}", self.node, self.address);
        }
        Ended::Unwelcome { refusal }
    }

    /// Writes to an accepted connection until it ends.
    async fn serve(&mut self, stream: TcpStream, hello: Hello) -> Ended {
        info!("connected to node {} at {}", self.node, self.address);
        self.shared.inbox.deliver(self.state.connected(hello));
        let since = Instant::now();
        let stream = Arc::new(stream);
        let end = tokio::select! {
            biased;
            end = until_closed(&stream) => end,
            Err(error) = write_gathered(&stream, self.node, &self.outbox, &self.shared) => error,
        };
        info!("lost the connection to node {} at {}: {end}", self.node, self.address);
        Ended::Lost { lived: since.elapsed() }
    }
}

/// Waits for the end of a connection on which the peer has nothing to say.
async fn until_closed(stream: &TcpStream) -> io::Error {
    loop {
        if let Err(error) = stream.readable().await {
            return error;
        }
        match stream.try_read(&mut [0]) {
            Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed it"),
            Ok(_) => {
                return io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the peer sent bytes where it only receives",
                );
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return error,
        }
    }
}
