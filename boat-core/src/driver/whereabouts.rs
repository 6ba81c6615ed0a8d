//! Where a node without a running replica dials the others: the cluster that it looks for may have moved since its list was
//! written.

use std::collections::BTreeSet;

use super::{Addresses, Event};
use crate::NodeId;
use crate::transport::{PeerEvent, PeerMessage};

/// What is known of the others' addresses, and who is connected.
#[derive(Debug)]
pub(crate) struct Whereabouts {
    pub(crate) addresses: Addresses,
    connected: BTreeSet<NodeId>,
}

impl Whereabouts {
    pub(crate) fn new(addresses: Addresses) -> Self {
        Whereabouts { addresses, connected: BTreeSet::new() }
    }

    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Peer(PeerEvent::Connected(hello)) => self.set_connected(hello.node, true),
            Event::Peer(PeerEvent::Disconnected { node, .. }) => self.set_connected(*node, false),
            Event::Peer(PeerEvent::Message { from, message, .. }) => self.hear(*from, message),
            _ => {}
        }
    }

    /// A node is connected, or is not any more.
    pub(crate) fn set_connected(&mut self, node: NodeId, connected: bool) {
        if connected {
            self.connected.insert(node);
        } else {
            self.connected.remove(&node);
        }
    }

    /// A node says something, perhaps where it is, or where others are.
    pub(crate) fn hear(&mut self, from: NodeId, message: &PeerMessage) {
        match message {
            PeerMessage::Join(join) => self.addresses.hear(from, join.address.clone(), true),
            PeerMessage::Introduction(said) => self.addresses.hear_members(said),
            _ => {}
        }
    }

    /// One tick has passed.
    pub(crate) fn tick(&mut self) {
        self.addresses.tick(&self.connected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::SessionLimits;
    use crate::transport::{Introduction, Join};
    use crate::{Birth, ClusterId, Genesis, RaftId};

    /// Until then each known address of a node has had its turn.
    const TICKS_MAX: usize = 200;

    fn says(whereabouts: &mut Whereabouts, message: PeerMessage) {
        let from_raft_id = Some(RaftId::new(NodeId(1), 7));
        whereabouts.observe(&Event::Peer(PeerEvent::Message { from: NodeId(1), from_raft_id, message }));
    }

    fn dialed(whereabouts: &mut Whereabouts) -> Vec<String> {
        whereabouts.addresses.changed();
        let addresses =
            [1, 2].map(|node| whereabouts.addresses.dialed(NodeId(node)).unwrap_or("").to_owned());
        addresses.to_vec()
    }

    #[test]
    fn who_has_only_old_addresses_hears_from_one_node_where_all_are() {
        let list = "0=own:1,1=old:1,2=old:2".parse().unwrap();
        let mut whereabouts = Whereabouts::new(Addresses::new(NodeId(0), &list));
        assert_eq!(dialed(&mut whereabouts), ["old:1", "old:2"]);
        let (raft_id, birth) = (RaftId::new(NodeId(1), 7), Birth(1));
        says(&mut whereabouts, PeerMessage::Join(Join { raft_id, birth, address: "new:1".to_owned() }));
        assert_eq!(dialed(&mut whereabouts), ["new:1", "old:2"]);
        whereabouts.set_connected(NodeId(1), true);
        let genesis = Genesis {
            cluster: ClusterId(1),
            former: Vec::new(),
            members: Vec::new(),
            limits: SessionLimits::default(),
        };
        let members = "0=own:1,1=new:1,2=new:2".parse().unwrap();
        let said = Introduction { birth, members, genesis: Some(genesis), asks: false };
        says(&mut whereabouts, PeerMessage::Introduction(Box::new(said)));
        // The old address has its turn first, in vain.
        for _ in 0..TICKS_MAX {
            whereabouts.tick();
            if dialed(&mut whereabouts) == ["new:1", "new:2"] {
                return;
            }
        }
        panic!("node 2 is not dialed where it is: {:?}", dialed(&mut whereabouts));
    }
}
