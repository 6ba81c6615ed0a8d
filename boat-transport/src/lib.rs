//! Boat's peers over TCP.
//!
//! A [`TcpTransport`] carries [`PeerMessage`]s between nodes. Each node dials every peer and sends on the connections it
//! dialed; it receives on those it accepted. A connection begins with a handshake in which both sides say who they are and
//! judge each other; then come checksummed frames, each of them one message of Boat's own protobuf schema. The bytes of
//! entries and requests are opaque: they are sent from where they are and received without being copied into a message.
//!
//! Nothing here waits for a peer. A slow one has a bounded queue, and what does not fit is dropped, because Raft repeats
//! what matters. A lost connection is dialed again at once, then with a growing delay.
//!
//! ```
//! use std::sync::Arc;
//!
//! use boat_core::transport::{Forward, Hello, PeerEvent, PeerInbox, PeerMessage, Reception, Refusal, Transport};
//! use boat_core::{Birth, NodeId};
//! use boat_transport::TcpTransport;
//! use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
//!
//! struct Anybody(NodeId);
//!
//! impl Reception for Anybody {
//!     fn hello(&self) -> Hello {
//!         let birth = Birth(u128::from(self.0.0));
//!         Hello { node: self.0, cluster: None, raft_id: None, birth, boot: 1, nonce: 7, log: None }
//!     }
//!
//!     fn judge(&self, _peer: &Hello) -> Result<(), Refusal> {
//!         Ok(())
//!     }
//! }
//!
//! struct Inbox(UnboundedSender<PeerEvent>);
//!
//! impl PeerInbox for Inbox {
//!     fn deliver(&self, event: PeerEvent) {
//!         let _ = self.0.send(event);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), boat_core::transport::TransportError> {
//! let (near, far) = (TcpTransport::bind("127.0.0.1:0").await?, TcpTransport::bind("127.0.0.1:0").await?);
//! let far_address = far.local_address().to_string();
//! let (near_inbox, _events) = unbounded_channel();
//! let (far_inbox, mut far_events) = unbounded_channel();
//! let near = near.start(Arc::new(Anybody(NodeId(0))), Arc::new(Inbox(near_inbox)))?;
//! let _far = far.start(Arc::new(Anybody(NodeId(1))), Arc::new(Inbox(far_inbox)))?;
//!
//! near.set_peers(vec![(NodeId(1), far_address)]);
//! let forward = PeerMessage::Forward(Forward { ticket: 1, request: "a request".into() });
//! near.send(NodeId(1), vec![forward.clone()]);
//!
//! let Some(PeerEvent::Message { from, message, .. }) = far_events.recv().await else { panic!("nothing came") };
//! assert_eq!(from, NodeId(0));
//! assert_eq!(message, forward);
//! # Ok(())
//! # }
//! ```
//!
//! [`PeerMessage`]: boat_core::transport::PeerMessage

mod accept;
mod backoff;
mod connection;
mod counters;
mod dial;
mod epoch;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gather;
mod handshake;
mod inbound;
mod link_state;
mod links;
mod options;
mod outbox;
mod receive;
mod socket;
mod tcp;
mod wire;
mod write;

pub use counters::TransportCounters;
pub use options::TransportOptions;
pub use tcp::TcpTransport;

#[cfg(test)]
mod tests;
