//! What golden scenarios script beside the replica, and no part of Boat's interface: parts of the driver that own no thread.

mod asking;
mod snapshots;

use std::collections::BTreeSet;

pub use self::asking::{Asking, Whereabouts};
pub use self::snapshots::{Carried, Snapshots};
use crate::{MemberList, Membership, NodeId, driver};

/// The addresses at which one node dials its peers.
#[derive(Debug)]
pub struct Addresses(driver::Addresses);

impl Addresses {
    /// Those of a node with this list.
    pub fn new(own: NodeId, configured: &MemberList) -> Self {
        Addresses(driver::Addresses::new(own, configured))
    }

    /// The membership is this now.
    pub fn set_membership(&mut self, membership: &Membership) {
        self.0.set_membership(membership);
        self.0.changed();
    }

    /// A node may be reached here. `urgent`: dial there even if it is connected elsewhere.
    pub fn hear(&mut self, node: NodeId, address: String, urgent: bool) {
        self.0.hear(node, address, urgent);
        self.0.changed();
    }

    /// One tick has passed.
    pub fn tick(&mut self, connected: &BTreeSet<NodeId>) {
        self.0.tick(connected);
        self.0.changed();
    }

    /// Where a node is dialed now.
    pub fn dialed(&self, node: NodeId) -> Option<&str> {
        self.0.dialed(node)
    }
}
