//! Nodes that are no members of a cluster, and look for one or ask to be let go: without their threads.

use std::time::Duration;

use crate::transport::{Join, PeerMessage};
use crate::{MemberList, NodeId, driver};

/// How long a scenario's tick is, where that matters.
const TICK: Duration = Duration::from_millis(20);

/// Where a node that looks for its cluster dials the others.
#[derive(Debug)]
pub struct Whereabouts(driver::Whereabouts);

impl Whereabouts {
    /// That of a node with this list.
    pub fn new(own: NodeId, configured: &MemberList) -> Self {
        let mut whereabouts = driver::Whereabouts::new(driver::Addresses::new(own, configured));
        whereabouts.addresses.changed();
        Whereabouts(whereabouts)
    }

    /// A node says something, perhaps where it is, or where others are.
    pub fn hear(&mut self, from: NodeId, message: &PeerMessage) {
        self.0.hear(from, message);
        self.0.addresses.changed();
    }

    /// A node is connected, or is not any more.
    pub fn set_connected(&mut self, node: NodeId, connected: bool) {
        self.0.set_connected(node, connected);
    }

    /// One tick has passed.
    pub fn tick(&mut self) {
        self.0.tick();
        self.0.addresses.changed();
    }

    /// Where a node is dialed now.
    pub fn dialed(&self, node: NodeId) -> Option<&str> {
        self.0.addresses.dialed(node)
    }
}

/// A node whose directory lost what it had acknowledged, and which asks whether it may begin anew.
#[derive(Debug)]
pub struct Asking(driver::Asking);

impl Asking {
    /// One that stands in the directory as `own`, and has this list. `drawn` differs from start to start.
    pub fn new(own: Join, members: MemberList, drawn: u64) -> Self {
        Asking(driver::Asking::new(own, members, TICK, drawn))
    }

    /// One tick has passed: what to say, and to whom.
    pub fn tick(&mut self) -> Vec<(NodeId, PeerMessage)> {
        let questions = self.0.tick().into_iter();
        questions.flat_map(|(to, said)| said.into_iter().map(move |said| (to, said))).collect()
    }

    /// A node says something.
    pub fn hear(&mut self, from: NodeId, message: &PeerMessage) {
        self.0.hear(from, message);
    }

    /// A node is connected, or is not any more.
    pub fn set_connected(&mut self, node: NodeId, connected: bool) {
        self.0.set_connected(node, connected);
    }

    /// Where a node is dialed now.
    pub fn dialed(&self, node: NodeId) -> Option<&str> {
        self.0.dialed(node)
    }

    /// Whether the leader says that the others hold everything.
    pub fn may_begin_anew(&self) -> bool {
        self.0.may_begin_anew()
    }
}
