//! Nodes on real sockets that remember what they hear.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use boat_core::transport::{
    Forward, Hello, PeerEvent, PeerInbox, PeerLinks, PeerMessage, Reception, Refusal, Transport,
};
use boat_core::{Birth, ClusterId, NodeId, RaftId};
use boat_transport::{TcpTransport, TransportCounters, TransportOptions};
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Nothing here takes longer, on a busy machine either.
pub(crate) const WITHIN: Duration = Duration::from_secs(20);

/// The cluster that [`Host`]s accept, beside peers that know of none.
pub(crate) const CLUSTER: ClusterId = ClusterId(77);

/// A start that every host takes for that of an old directory.
pub(crate) const OLD_BOOT: u64 = 0;

/// A node's side of the handshake.
pub(crate) struct Host(Mutex<Hello>);

impl Host {
    /// A node that knows of no cluster yet.
    pub(crate) fn new(node: u16) -> Arc<Self> {
        let birth = Birth(u128::from(node));
        let node = NodeId(node);
        Arc::new(Host(Mutex::new(Hello {
            node,
            cluster: None,
            raft_id: None,
            birth,
            boot: 1,
            nonce: 3,
            log: None,
        })))
    }

    /// The node comes back with an old directory.
    pub(crate) fn grow_old(&self) {
        self.0.lock().unwrap().boot = OLD_BOOT;
    }

    /// The node joins `cluster`.
    pub(crate) fn join(&self, cluster: ClusterId) {
        let mut hello = self.0.lock().unwrap();
        hello.cluster = Some(cluster);
        hello.raft_id = Some(RaftId::new(hello.node, 9));
    }
}

impl Reception for Host {
    fn hello(&self) -> Hello {
        self.0.lock().unwrap().clone()
    }

    fn judge(&self, peer: &Hello) -> Result<(), Refusal> {
        if peer.boot == OLD_BOOT {
            return Err(Refusal::StaleDirectory);
        }
        let foreign = peer.cluster.is_some_and(|cluster| cluster != CLUSTER);
        if foreign { Err(Refusal::OtherCluster) } else { Ok(()) }
    }
}

struct Inbox(UnboundedSender<PeerEvent>);

impl PeerInbox for Inbox {
    fn deliver(&self, event: PeerEvent) {
        // A test that has seen enough does not listen any more.
        let _ = self.0.send(event);
    }
}

/// A started transport and what it delivered.
pub(crate) struct Peer {
    pub(crate) host: Arc<Host>,
    pub(crate) links: Arc<dyn PeerLinks>,
    pub(crate) address: String,
    pub(crate) counters: Arc<TransportCounters>,
    pub(crate) events: UnboundedReceiver<PeerEvent>,
}

impl Peer {
    pub(crate) async fn start(node: u16) -> Peer {
        Peer::start_with("127.0.0.1:0", Host::new(node), TransportOptions::default()).await
    }

    pub(crate) async fn start_with(address: &str, host: Arc<Host>, options: TransportOptions) -> Peer {
        let (sender, events) = unbounded_channel();
        let transport = TcpTransport::bind_with(address, options).await.unwrap();
        let (address, counters) = (transport.local_address().to_string(), transport.counters());
        let links =
            transport.start(Arc::clone(&host) as Arc<dyn Reception>, Arc::new(Inbox(sender))).unwrap();
        Peer { host, links, address, counters, events }
    }

    /// Says where node `number` is, and forgets all other peers.
    pub(crate) fn dial(&self, number: u16, address: &str) {
        self.links.set_peers(vec![(NodeId(number), address.to_owned())]);
    }

    /// The next event, whatever it is.
    pub(crate) async fn event(&mut self) -> PeerEvent {
        tokio::time::timeout(WITHIN, self.events.recv()).await.expect("no event in time").unwrap()
    }

    /// Waits for the next event that is no message, and describes it.
    pub(crate) async fn link_event(&mut self) -> String {
        loop {
            match self.event().await {
                PeerEvent::Connected(hello) => return format!("{} connected", hello.node),
                PeerEvent::Disconnected { node, refused: false } => return format!("{node} lost"),
                PeerEvent::Disconnected { node, refused: true } => return format!("{node} refused"),
                PeerEvent::Refused { node, reason } => return format!("{node} refuses: {reason}"),
                PeerEvent::Message { .. } => (),
            }
        }
    }

    /// Waits for the next forward, and returns its sender and its ticket.
    pub(crate) async fn forward(&mut self) -> (u16, u64) {
        loop {
            let event = self.event().await;
            if let PeerEvent::Message { from, message: PeerMessage::Forward(forward), .. } = event {
                return (from.0, forward.ticket);
            }
        }
    }
}

/// A message of about `bytes` bytes.
pub(crate) fn forward(ticket: u64, bytes: usize) -> PeerMessage {
    PeerMessage::Forward(Forward { ticket, request: Bytes::from(vec![ticket as u8; bytes]) })
}

/// Waits until `holds`, which nobody announces.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WITHIN, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
