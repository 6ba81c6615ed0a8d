//! A transport within one process: for tests, and for clusters that share a process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    Hello, PeerEvent, PeerInbox, PeerLinks, PeerMessage, Reception, Refusal, Transport, TransportError,
};
use crate::NodeId;

/// A network within one process: every [`LocalTransport`] made from it reaches every other. Links can be cut, one way each.
#[derive(Debug, Clone, Default)]
pub struct LocalNetwork(Arc<Mutex<Stations>>);

#[derive(Debug, Default)]
struct Stations {
    stations: BTreeMap<NodeId, Station>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// What came of a handshake.
enum Greeted {
    /// The peer accepted us, and we it; or it refuses us.
    Judged(Result<Hello, Refusal>),
    /// The peer accepted us, and we refuse it.
    Unwelcome(Refusal),
}

struct Station {
    reception: Arc<dyn Reception>,
    inbox: Arc<dyn PeerInbox>,
    /// Whom this station sends to, once both sides have accepted each other: the sender's hello as it was then.
    links: BTreeMap<NodeId, Hello>,
    peers: BTreeSet<NodeId>,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station")
            .field("links", &self.links)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl LocalNetwork {
    /// A network without nodes.
    pub fn new() -> Self {
        LocalNetwork::default()
    }

    /// A node's end of this network.
    pub fn transport(&self) -> LocalTransport {
        LocalTransport(self.clone())
    }

    /// Loses everything that `from` sends to `to` from now on. Neither side is told.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.lock().cut.insert((from, to));
    }

    /// Ends [`LocalNetwork::cut`].
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.lock().cut.remove(&(from, to));
    }

    fn lock(&self) -> MutexGuard<'_, Stations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stations {
    /// Connects whoever wants to be connected and is accepted. Returns what to deliver, for after the lock.
    fn connect(&mut self) -> Vec<(Arc<dyn PeerInbox>, PeerEvent)> {
        let mut events = Vec::new();
        let nodes: Vec<NodeId> = self.stations.keys().copied().collect();
        for from in &nodes {
            for to in &nodes {
                let Some((hello, answer)) = self.greet(*from, *to) else { continue };
                let answer = match answer {
                    Greeted::Judged(answer) => answer,
                    Greeted::Unwelcome(reason) => {
                        let refused = PeerEvent::Refused { node: *from, reason };
                        events.extend(self.stations.get(to).map(|station| (station.inbox.clone(), refused)));
                        continue;
                    }
                };
                if let Some(station) = self.stations.get_mut(from) {
                    let event = match answer {
                        Ok(peer) => {
                            station.links.insert(*to, hello);
                            PeerEvent::Connected(peer)
                        }
                        Err(reason) => PeerEvent::Refused { node: *to, reason },
                    };
                    events.push((station.inbox.clone(), event));
                }
            }
        }
        events
    }

    /// One handshake: our hello, and what came of it. `None` where there is nothing to do.
    fn greet(&self, from: NodeId, to: NodeId) -> Option<(Hello, Greeted)> {
        let ours = self.stations.get(&from)?;
        let theirs = self.stations.get(&to)?;
        if from == to || !ours.peers.contains(&to) || ours.links.contains_key(&to) {
            return None;
        }
        let (hello, peer) = (ours.reception.hello(), theirs.reception.hello());
        let judged = theirs.reception.judge(&hello);
        if judged.is_ok()
            && let Err(reason) = ours.reception.judge(&peer)
        {
            return Some((hello, Greeted::Unwelcome(reason)));
        }
        Some((hello, Greeted::Judged(judged.map(|()| peer))))
    }

    fn disconnect(&mut self, node: NodeId) {
        for station in self.stations.values_mut() {
            station.links.remove(&node);
        }
    }
}

fn deliver(events: Vec<(Arc<dyn PeerInbox>, PeerEvent)>) {
    for (inbox, event) in events {
        inbox.deliver(event);
    }
}

/// A node's end of a [`LocalNetwork`].
#[derive(Debug, Clone)]
pub struct LocalTransport(LocalNetwork);

impl Transport for LocalTransport {
    fn start(
        self,
        reception: Arc<dyn Reception>,
        inbox: Arc<dyn PeerInbox>,
    ) -> Result<Arc<dyn PeerLinks>, TransportError> {
        let node = reception.hello().node;
        let mut network = self.0.lock();
        if network.stations.contains_key(&node) {
            return Err(TransportError(format!("node {node} is on this network already")));
        }
        let station = Station { reception, inbox, links: BTreeMap::new(), peers: BTreeSet::new() };
        network.stations.insert(node, station);
        let events = network.connect();
        drop(network);
        deliver(events);
        Ok(Arc::new(LocalLinks { node, network: self.0 }))
    }
}

#[derive(Debug)]
struct LocalLinks {
    node: NodeId,
    network: LocalNetwork,
}

/// A message as a network would bring it: with entries of its own. Nodes that shared theirs would count references in the same place,
/// once for each request, on different cores.
fn copied(mut message: PeerMessage) -> PeerMessage {
    if let PeerMessage::Consensus(consensus) = &mut message {
        for entry in &mut consensus.entries {
            entry.data = Bytes::copy_from_slice(&entry.data);
        }
    }
    message
}

impl PeerLinks for LocalLinks {
    fn send(&self, to: NodeId, messages: Vec<PeerMessage>) {
        let network = self.network.lock();
        let Some(hello) = network.stations.get(&self.node).and_then(|station| station.links.get(&to)) else {
            return;
        };
        let from_raft_id = hello.raft_id;
        let Some(inbox) = network.stations.get(&to).map(|station| station.inbox.clone()) else { return };
        if network.cut.contains(&(self.node, to)) {
            return;
        }
        drop(network);
        for message in messages.into_iter().map(copied) {
            inbox.deliver(PeerEvent::Message { from: self.node, from_raft_id, message });
        }
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        let mut network = self.network.lock();
        if let Some(station) = network.stations.get_mut(&self.node) {
            station.peers = peers.into_iter().map(|(node, _)| node).collect();
            let peers = station.peers.clone();
            station.links.retain(|node, _| peers.contains(node));
        }
        let events = network.connect();
        drop(network);
        deliver(events);
    }

    fn renew(&self) {
        let mut network = self.network.lock();
        network.disconnect(self.node);
        if let Some(station) = network.stations.get_mut(&self.node) {
            station.links.clear();
        }
        let events = network.connect();
        drop(network);
        deliver(events);
    }

    fn shutdown(&self) {
        let mut network = self.network.lock();
        if network.stations.remove(&self.node).is_none() {
            return;
        }
        let reached = network.stations.values().filter(|station| station.links.contains_key(&self.node));
        let inboxes: Vec<_> = reached.map(|station| station.inbox.clone()).collect();
        network.disconnect(self.node);
        drop(network);
        for inbox in inboxes {
            for refused in [false, true] {
                inbox.deliver(PeerEvent::Disconnected { node: self.node, refused });
            }
        }
    }
}
