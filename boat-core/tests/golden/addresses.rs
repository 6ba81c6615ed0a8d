//! Where nodes dial each other, for scenarios in which they move.

use boat_core::proof::Addresses;
use boat_core::replica::Input;
use boat_core::{MemberList, NodeId};

use super::cluster::Cluster;

impl Cluster {
    /// From now on nodes reach only whom they dial where it is.
    pub(crate) fn all_dial(&mut self) {
        self.dials = true;
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.begin_to_dial(node));
    }

    /// A process knows what its list and its log say.
    pub(crate) fn begin_to_dial(&mut self, node: NodeId) {
        let members = self.founders.members.keys().map(|id| id.node()).filter(|listed| *listed != node);
        let listed = members.map(|listed| (listed, format!("host-{listed}:1")));
        let own = (node, self.member(node).address);
        let list = MemberList::new(listed.chain([own])).unwrap();
        let started = self.nodes.get_mut(&node).unwrap();
        let mut addresses = Addresses::new(node, &list);
        addresses.set_membership(started.replica.membership());
        started.addresses = Some(addresses);
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.connect(node));
    }

    /// Whether what a node says to another comes to where that is.
    pub(crate) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let dialed = self.nodes.get(&from).and_then(|node| node.addresses.as_ref());
        dialed.is_none_or(|known| known.dialed(to) == Some(self.member(to).address.as_str()))
    }

    /// Time passes for a node that dials the others.
    pub(crate) fn dial(&mut self, node: NodeId) {
        let Some(own) = self.nodes.get_mut(&node).filter(|own| own.addresses.is_some()) else { return };
        let connected = own.replica.connected().clone();
        own.addresses.iter_mut().for_each(|known| known.tick(&connected));
        self.connect(node);
    }

    /// What a node dials it is connected with, if somebody is there.
    fn connect(&mut self, node: NodeId) {
        let peers: Vec<NodeId> = self.disks.keys().copied().filter(|peer| *peer != node).collect();
        for peer in peers {
            let there = self.nodes.contains_key(&peer) && self.reaches(node, peer);
            let Some(own) = self.nodes.get(&node) else { return };
            match (there, own.replica.connected().contains(&peer)) {
                (true, false) => self.input(node, Input::Connected(peer)),
                (false, true) => self.input(node, Input::Disconnected { node: peer, refused: false }),
                (true, true) | (false, false) => {}
            }
        }
    }
}
