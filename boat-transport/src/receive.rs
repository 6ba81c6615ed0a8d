//! Receiving from one inbound connection.

use std::net::SocketAddr;
use std::sync::Arc;

use boat_core::transport::{Hello, PeerEvent, PeerMessage};
use log::{debug, info, warn};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::{Connection, ReceiveError};
use crate::handshake::HandshakeError;
use crate::links::Shared;
use crate::{socket, wire};

/// Receives from one inbound connection and delivers to the node.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Receiver {
    pub(crate) fn new(shared: Arc<Shared>, address: SocketAddr) -> Self {
        Receiver { shared, address }
    }

    /// Runs until the connection or the epoch ends. `handshaking` is given back once the handshake is over.
    pub(crate) async fn run(self, stream: TcpStream, handshaking: OwnedSemaphorePermit) {
        let mut epoch = self.shared.epochs.current();
        tokio::select! {
            biased;
            _ = epoch.end() => (),
            () = self.live(stream, handshaking) => (),
        }
    }

    async fn live(&self, stream: TcpStream, handshaking: OwnedSemaphorePermit) {
        let mut connection = Connection::new(stream);
        let welcomed = self.welcome(&mut connection).await;
        drop(handshaking);
        match welcomed {
            Ok(peer) => self.serve(connection, &peer).await,
            Err(error) => {
                self.shared.counters.inbound_closed.add(1);
                self.log_failed_handshake(&error);
            }
        }
    }

    async fn welcome(&self, connection: &mut Connection<TcpStream>) -> Result<Hello, HandshakeError> {
        let options = &self.shared.options;
        socket::tune(connection.stream(), options.silence_timeout)?;
        connection.welcome(&*self.shared.reception, options.handshake_timeout).await
    }

    async fn serve(&self, mut connection: Connection<TcpStream>, peer: &Hello) {
        let Some(mut seat) = self.shared.inbound.admit(peer.node) else {
            self.shared.counters.inbound_closed.add(1);
            warn!("closed the connection of node {} from {}: too many are open", peer.node, self.address);
            return;
        };
        info!("node {} connected from {}", peer.node, self.address);
        self.shared.redial(peer.node);
        tokio::select! {
            biased;
            () = seat.replaced() => debug!("node {} connected anew", peer.node),
            received = self.receive(&mut connection, peer) => match received {
                Ok(()) => info!("node {} closed its connection from {}", peer.node, self.address),
                Err(error) => self.log_failed(peer, &error),
            },
        }
    }

    /// Delivers message after message, until the peer closes the connection.
    async fn receive(
        &self,
        connection: &mut Connection<TcpStream>,
        peer: &Hello,
    ) -> Result<(), ReceiveError> {
        while let Some(body) = connection.read_frame(self.shared.options.frame_bytes_max).await? {
            let message = wire::decode(body)?;
            self.shared.counters.messages_received.add(1);
            if let PeerMessage::Refused(reason) = message {
                self.shared.inbox.deliver(PeerEvent::Refused { node: peer.node, reason });
                return Ok(());
            }
            let event = PeerEvent::Message { from: peer.node, from_raft_id: peer.raft_id, message };
            self.shared.inbox.deliver(event);
        }
        Ok(())
    }

    fn log_failed(&self, peer: &Hello, error: &ReceiveError) {
        if matches!(error, ReceiveError::Frame(_) | ReceiveError::Malformed(_)) {
            self.shared.counters.inbound_closed.add(1);
            warn!("closed the connection of node {} from {}: {error}", peer.node, self.address);
        } else {
            info!("lost the connection of node {} from {}: {error}", peer.node, self.address);
        }
    }

    /// Strangers may knock as often as they like: only what an operator can mend is a warning.
    fn log_failed_handshake(&self, error: &HandshakeError) {
        if error.to_answer().is_some() {
            warn!("connection from {}: {error}", self.address);
        } else {
            debug!("connection from {}: {error}", self.address);
        }
    }
}
