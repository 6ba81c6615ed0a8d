//! Peers that pass the handshake and then misbehave: they need the crate's own bytes.

use std::sync::Arc;
use std::time::Duration;

use boat_core::transport::{
    ForwardRefusal, ForwardRefused, Hello, PeerEvent, PeerInbox, PeerLinks, PeerMessage, Reception, Refusal,
    Transport,
};
use boat_core::{Birth, NodeId};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::connection::Connection;
use crate::gather::Gather;
use crate::wire::Outgoing;
use crate::{TcpTransport, frame};

const WITHIN: Duration = Duration::from_secs(20);
const LIMIT: usize = 1 << 20;

struct Anybody(NodeId);

impl Reception for Anybody {
    fn hello(&self) -> Hello {
        Hello { node: self.0, cluster: None, raft_id: None, birth: Birth(1), boot: 1, nonce: 1, log: None }
    }

    fn judge(&self, _peer: &Hello) -> Result<(), Refusal> {
        Ok(())
    }
}

struct Inbox(UnboundedSender<PeerEvent>);

impl PeerInbox for Inbox {
    fn deliver(&self, event: PeerEvent) {
        self.0.send(event).unwrap();
    }
}

/// Starts node 1. Returns its address too, and what it hears.
async fn start() -> (Arc<dyn PeerLinks>, String, UnboundedReceiver<PeerEvent>) {
    let transport = TcpTransport::bind("127.0.0.1:0").await.unwrap();
    let address = transport.local_address().to_string();
    let (sender, events) = unbounded_channel();
    let links = transport.start(Arc::new(Anybody(NodeId(1))), Arc::new(Inbox(sender))).unwrap();
    (links, address, events)
}

async fn heard(events: &mut UnboundedReceiver<PeerEvent>) -> PeerEvent {
    timeout(WITHIN, events.recv()).await.unwrap().unwrap()
}

fn framed(body: &[u8]) -> Bytes {
    let mut out = Gather::default();
    frame::encode(&mut out, body, Vec::new(), LIMIT).unwrap();
    out.seal();
    out.copy_to_bytes(out.remaining())
}

fn message() -> (PeerMessage, Bytes) {
    let message =
        PeerMessage::ForwardRefused(ForwardRefused { ticket: 4, reason: ForwardRefusal::Overloaded });
    let mut head = Vec::new();
    Outgoing::from(message.clone()).write_head(&mut head).unwrap();
    (message, framed(&head))
}

#[tokio::test]
async fn a_peer_that_sends_no_message_is_closed_after_what_it_sent_before() {
    let (_links, address, mut events) = start().await;
    let (sent, good) = message();
    let mut flipped = good.to_vec();
    flipped[9] ^= 1;
    let huge = [0xff; 8].to_vec();
    for bad in [framed(b"\x01\0\0\0\xff").to_vec(), framed(b"").to_vec(), flipped, huge] {
        let mut connection = Connection::new(TcpStream::connect(&address).await.unwrap());
        connection.dial(NodeId(1), &Anybody(NodeId(2)), WITHIN).await.unwrap();
        let mut stream = connection.into_stream();
        stream.write_all(&good).await.unwrap();
        stream.write_all(&bad).await.unwrap();
        match heard(&mut events).await {
            PeerEvent::Message { from: NodeId(2), message, .. } => assert_eq!(message, sent),
            other => panic!("unexpected {other:?}"),
        }
        let mut rest = Vec::new();
        let closed = timeout(WITHIN, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection stays open");
        assert_eq!(rest, b"");
    }
    assert!(events.try_recv().is_err(), "nothing else was delivered");
}

#[tokio::test]
async fn an_acceptor_that_speaks_is_left() {
    let (links, _address, mut events) = start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    links.set_peers(vec![(NodeId(2), listener.local_addr().unwrap().to_string())]);
    let mut connection = Connection::new(listener.accept().await.unwrap().0);
    connection.welcome(&Anybody(NodeId(2)), WITHIN).await.unwrap();
    assert!(matches!(heard(&mut events).await, PeerEvent::Connected(_)));

    let mut stream = connection.into_stream();
    stream.write_all(b"x").await.unwrap();
    let lost = heard(&mut events).await;
    assert!(matches!(lost, PeerEvent::Disconnected { node: NodeId(2), refused: false }));
    let redial = timeout(WITHIN, listener.accept()).await.unwrap();
    assert!(redial.is_ok(), "it dials again at once");
}
