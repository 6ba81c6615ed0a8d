//! Node ids, Raft ids, and the 128-bit names of clusters and directories.

use boat_core::digest::Digest;
use boat_core::{Birth, ClusterId, NodeId, RaftId};
use bytes::Bytes;

use super::Malformed;

/// The bits of a Raft id that tell incarnations apart; the node's number stands above them.
const INCARNATION_BITS: u32 = 48;

pub(super) fn node_id(number: u32) -> Result<NodeId, Malformed> {
    u16::try_from(number).map(NodeId).map_err(|_| Malformed("node id"))
}

pub(super) fn raft_id(number: u64) -> Result<RaftId, Malformed> {
    let incarnation = number & ((1 << INCARNATION_BITS) - 1);
    if incarnation == 0 { Err(Malformed("Raft id")) } else { Ok(RaftId(number)) }
}

pub(super) fn cluster_id(bytes: &Bytes) -> Result<ClusterId, Malformed> {
    bytes_to_u128(bytes).map(ClusterId).ok_or(Malformed("cluster id"))
}

pub(super) fn birth(bytes: &Bytes) -> Result<Birth, Malformed> {
    bytes_to_u128(bytes).map(Birth).ok_or(Malformed("birth"))
}

pub(super) fn u128_to_bytes(number: u128) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

pub(super) fn digest(bytes: &Bytes) -> Result<Digest, Malformed> {
    bytes_to_u128(bytes).map(Digest).ok_or(Malformed("digest"))
}

pub(super) fn bytes_to_u128(bytes: &Bytes) -> Option<u128> {
    bytes.as_ref().try_into().ok().map(u128::from_be_bytes)
}
