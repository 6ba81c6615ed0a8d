//! Where a node without a running replica dials the others: the cluster that it looks for may have moved since its list was
//! written.

use std::collections::BTreeSet;

use super::{Addresses, Event};
use crate::NodeId;
use crate::transport::{PeerEvent, PeerMessage};

/// What is known of the others' addresses, and who is connected.
pub(super) struct Whereabouts {
    pub(super) addresses: Addresses,
    pub(super) connected: BTreeSet<NodeId>,
}

impl Whereabouts {
    pub(super) fn new(addresses: Addresses) -> Self {
        Whereabouts { addresses, connected: BTreeSet::new() }
    }

    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Peer(PeerEvent::Connected(hello)) => {
                self.connected.insert(hello.node);
            }
            Event::Peer(PeerEvent::Disconnected { node, .. }) => {
                self.connected.remove(node);
            }
            Event::Peer(PeerEvent::Message { from, message: PeerMessage::Join(join), .. }) => {
                self.addresses.hear(*from, join.address.clone(), true);
            }
            Event::Peer(PeerEvent::Message { message: PeerMessage::Introduction(said), .. }) => {
                self.addresses.hear_members(said);
            }
            _ => {}
        }
    }

    /// One tick has passed.
    pub(super) fn tick(&mut self) {
        self.addresses.tick(&self.connected);
    }
}
