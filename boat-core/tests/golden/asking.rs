//! A node whose directory lost what it had acknowledged: it asks whether the others can do without it (design D13).

use boat_core::proof::Asking;
use boat_core::transport::{Join, PeerMessage};
use boat_core::{Member, NodeId};

use super::cluster::Cluster;
use super::links::Letter;

/// Between what the tickets of two starts begin with; other starts draw theirs.
const DRAWN_APART: u64 = 2_000;

impl Cluster {
    /// The process ends, and the next one finds that its directory lost what it had acknowledged: it asks the others.
    pub(crate) fn damage(&mut self, node: NodeId) {
        self.stop(node, true);
        self.damages += 1;
        let Member { raft_id, birth, address } = self.member(node);
        let own = Join { raft_id, birth, address };
        let asking = Asking::new(own, self.list_of(node), self.damages * DRAWN_APART);
        self.askers.insert(node, asking);
        self.connect_with(node);
    }

    pub(crate) fn tick_asker(&mut self, node: NodeId) {
        for peer in self.peers_of(node) {
            let connected = self.is_connected(node, peer);
            self.askers.get_mut(&node).unwrap().set_connected(peer, connected);
        }
        let from = self.member(node).raft_id;
        for (to, message) in self.askers.get_mut(&node).unwrap().tick() {
            self.send(Letter { from, to, message });
        }
        self.run();
    }

    /// What a node that asks hears.
    pub(crate) fn asker_hears(&mut self, node: NodeId, from: NodeId, message: &PeerMessage) {
        let asking = self.askers.get_mut(&node).unwrap();
        asking.hear(from, message);
        if asking.may_begin_anew() {
            self.askers.remove(&node);
            self.trace.line(format!("{node} sets its directory aside, and begins anew"));
            self.begin_anew(node, true);
        }
    }
}
