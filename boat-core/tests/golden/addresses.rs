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
        let list = self.list_of(node);
        let started = self.nodes.get_mut(&node).unwrap();
        let mut addresses = Addresses::new(node, &list);
        addresses.set_membership(started.replica.membership());
        started.addresses = Some(addresses);
        self.connect_all();
    }

    /// Those that founded the cluster, where they were, and the node itself where it is.
    pub(crate) fn list_of(&self, node: NodeId) -> MemberList {
        let members = self.founders.members.keys().map(|id| id.node()).filter(|listed| *listed != node);
        let listed = members.map(|listed| (listed, format!("host-{listed}:1")));
        let own = (node, self.member(node).address);
        MemberList::new(listed.chain([own])).unwrap()
    }

    /// Whether what a node says to another comes to where that is.
    pub(crate) fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        let address = self.member(to).address;
        let is_there = |dialed: Option<&str>| dialed == Some(address.as_str());
        if let Some(asking) = self.askers.get(&from) {
            return !self.dials || is_there(asking.dialed(to));
        }
        if let Some(known) = self.seekers.get(&from).and_then(|seeker| seeker.whereabouts.as_ref()) {
            return is_there(known.dialed(to));
        }
        let dialed = self.nodes.get(&from).and_then(|node| node.addresses.as_ref());
        dialed.is_none_or(|known| is_there(known.dialed(to)))
    }

    /// Whether a node's process runs, and another one has a connection to it.
    pub(crate) fn is_connected(&self, from: NodeId, to: NodeId) -> bool {
        let runs =
            self.nodes.contains_key(&to) || self.seekers.contains_key(&to) || self.askers.contains_key(&to);
        runs && self.reaches(from, to)
    }

    pub(crate) fn peers_of(&self, node: NodeId) -> Vec<NodeId> {
        self.disks.keys().copied().filter(|peer| *peer != node).collect()
    }

    /// A node says something else of itself now: whoever dials it where it is connects anew.
    pub(crate) fn connect_with(&mut self, node: NodeId) {
        let peers: Vec<NodeId> = self.nodes.keys().copied().collect();
        for peer in peers {
            let ended = Input::Disconnected { node, refused: false };
            self.input(peer, if self.dials { ended } else { Input::Connected(node) });
        }
        if self.dials {
            self.connect_all();
        }
    }

    fn connect_all(&mut self) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        nodes.into_iter().for_each(|node| self.connect(node));
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
        for peer in self.peers_of(node) {
            let there = self.is_connected(node, peer);
            let Some(own) = self.nodes.get(&node) else { return };
            match (there, own.replica.connected().contains(&peer)) {
                (true, false) => self.input(node, Input::Connected(peer)),
                (false, true) => self.input(node, Input::Disconnected { node: peer, refused: false }),
                (true, true) | (false, false) => {}
            }
        }
    }
}
