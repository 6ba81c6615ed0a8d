//! Who is who: nodes, their incarnations, and the cluster they belong to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A node's number in the configuration, counted from 0. It stays the same when the node loses its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim().parse().map(NodeId)
    }
}

impl From<u16> for NodeId {
    fn from(number: u16) -> Self {
        NodeId(number)
    }
}

/// One incarnation of a node as Raft knows it: the node's number in the upper 16 bits, 48 random bits, never all zero,
/// below. A node that lost its disk gets a new one, so that votes it has forgotten can never be given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RaftId(pub u64);

impl RaftId {
    const INCARNATION_BITS: u32 = 48;

    /// The identity of one incarnation of `node`. `random` gives the lower 48 bits; an all-zero draw becomes 1.
    pub fn new(node: NodeId, random: u64) -> Self {
        let incarnation = (random & ((1 << Self::INCARNATION_BITS) - 1)).max(1);
        RaftId((u64::from(node.0) << Self::INCARNATION_BITS) | incarnation)
    }

    /// The node this is an incarnation of.
    pub fn node(self) -> NodeId {
        NodeId((self.0 >> Self::INCARNATION_BITS) as u16)
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:012x}", self.node(), self.0 & ((1 << Self::INCARNATION_BITS) - 1))
    }
}

/// The cluster's random name, drawn once at its founding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The random name of one data directory, drawn when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Birth(pub u128);

impl fmt::Display for Birth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raft_id_keeps_its_node_and_is_never_zero_below() {
        for node in [0, 1, 7, u16::MAX] {
            for random in [0, 1, u64::MAX, 0xffff_0000_0000_0000] {
                let id = RaftId::new(NodeId(node), random);
                assert_eq!(id.node(), NodeId(node));
                assert_ne!(id.0 & 0xffff_ffff_ffff, 0);
            }
        }
    }
}
