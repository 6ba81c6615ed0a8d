//! A node without anything: it has to find its cluster before it can start a replica.

use boat_core::apply::SessionLimits;
use boat_core::founding::{Founding, FoundingOutput};
use boat_core::proof::Whereabouts;
use boat_core::replica::Input;
use boat_core::transport::{Introduction, PeerMessage};
use boat_core::{ClusterId, Genesis, MemberList, NodeId};

use super::cluster::Cluster;
use super::links::Letter;

/// What names would be drawn from; scenarios number incarnations instead.
const SEED: u64 = 5;

pub(crate) struct Seeker {
    founding: Founding,
    /// Where it dials the others, if that matters in this scenario.
    pub(crate) whereabouts: Option<Whereabouts>,
}

impl Cluster {
    /// The node loses its disk, and knows no more than the list of those that founded its cluster. Whoever runs dials it.
    pub(crate) fn lose(&mut self, node: NodeId) {
        self.begin_anew(node, false);
    }

    /// An empty node looks for its cluster. `joins`: it knows that there is one, and never founds another.
    pub(crate) fn begin_anew(&mut self, node: NodeId, joins: bool) {
        self.end(node);
        *self.incarnations.entry(node).or_insert(1) += 1;
        let list = self.list_of(node);
        let whereabouts = self.dials.then(|| Whereabouts::new(node, &list));
        let founding = Founding::new(node, self.member(node).birth, list, SessionLimits::default(), SEED);
        self.seekers.insert(node, Seeker { founding: founding.joining(joins), whereabouts });
        self.connect_with(node);
    }

    pub(crate) fn tick_seeker(&mut self, node: NodeId) {
        for peer in self.peers_of(node) {
            let connected = self.is_connected(node, peer);
            let whereabouts = &mut self.seekers.get_mut(&node).unwrap().whereabouts;
            whereabouts.iter_mut().for_each(|known| known.set_connected(peer, connected));
        }
        let (seeker, mut outputs) = (self.seekers.get_mut(&node).unwrap(), Vec::new());
        seeker.whereabouts.iter_mut().for_each(Whereabouts::tick);
        seeker.founding.tick(&mut outputs);
        self.seek(node, outputs);
        self.run();
    }

    /// What a node that looks for its place in the cluster hears.
    pub(crate) fn found_out(&mut self, node: NodeId, input: Input) {
        let Input::Peer { from, message, .. } = input else { return };
        if self.askers.contains_key(&node) {
            return self.asker_hears(node, from, &message);
        }
        let (seeker, mut outputs) = (self.seekers.get_mut(&node).unwrap(), Vec::new());
        seeker.whereabouts.iter_mut().for_each(|known| known.hear(from, &message));
        match message {
            PeerMessage::Join(_) => seeker.founding.hear_of(from),
            PeerMessage::Introduction(said) => seeker.founding.on_introduction(from, &said, &mut outputs),
            _ => {}
        }
        self.seek(node, outputs);
    }

    fn seek(&mut self, node: NodeId, outputs: Vec<FoundingOutput>) {
        for output in outputs {
            match output {
                FoundingOutput::Send(to, message) => {
                    self.send(Letter { from: self.member(node).raft_id, to, message });
                }
                FoundingOutput::Adopt(..) => {
                    self.trace.line(format!("{node} finds the cluster"));
                    self.seekers.remove(&node);
                    self.start_empty(node);
                }
            }
        }
    }

    /// Somebody looks for the cluster, and asks a node that is in it.
    pub(crate) fn answer_introduction(&mut self, node: NodeId, to: NodeId, asked: &Introduction) {
        if !asked.asks {
            return;
        }
        let own = self.nodes.get_mut(&node).unwrap();
        if let (Some(known), Some(address)) = (&mut own.addresses, asked.members.address(to)) {
            let urgent = own.replica.membership().incarnation(to).is_none();
            known.hear(to, address.to_owned(), urgent);
        }
        let own = &self.nodes[&node];
        let members = own.replica.membership().members.values();
        let members = members.map(|member| (member.raft_id.node(), member.address.clone()));
        let genesis = Genesis {
            cluster: ClusterId(1),
            former: Vec::new(),
            members: self.founders.members.values().cloned().collect(),
            limits: SessionLimits::default(),
        };
        let answer = Introduction {
            birth: own.own.birth,
            // While a place is handed over it stands there twice.
            members: MemberList::new(members).unwrap_or_else(|_| self.list_of(node)),
            genesis: Some(genesis),
            asks: false,
        };
        let from = own.own.raft_id;
        self.send(Letter { from, to, message: PeerMessage::Introduction(Box::new(answer)) });
    }
}
