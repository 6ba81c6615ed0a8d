//! What a snapshot is of.

use crate::codec::{Malformed, Reader};
use crate::digest::Digest;
use crate::log::membership;
use crate::quarantine::Decisions;
use crate::{ClusterId, Membership, StateKind};

/// Which file a snapshot is: two that have this in common are the same, byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SnapshotName {
    /// The last entry that it covers.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// How long the file is, in bytes.
    pub bytes: u64,
    /// The checksum of its last section, which covers everything before.
    pub checksum: u32,
}

/// What a snapshot is of: the first section of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) cluster: ClusterId,
    /// The last entry that it covers, and its term.
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) position: u64,
    pub(crate) digest: Digest,
    /// When it was taken by its node's wall clock, in milliseconds since the Unix epoch: for people.
    pub(crate) taken_ms: u64,
    pub(crate) state_kind: StateKind,
    /// The membership as of `index`.
    pub(crate) membership: Membership,
    /// What the log had decided about requests that crash models: at least up to `index`.
    pub(crate) decisions: Decisions,
}

impl About {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        let numbers = [self.index, self.term, self.position];
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        out.extend_from_slice(&self.digest.0.to_le_bytes());
        out.extend_from_slice(&self.taken_ms.to_le_bytes());
        out.push(match self.state_kind {
            StateKind::Stateless => 0,
            StateKind::Replay => 1,
            StateKind::Snapshot => 2,
        });
        let mut membership = Vec::new();
        membership::put(&mut membership, &self.membership);
        out.extend_from_slice(&(membership.len() as u32).to_le_bytes());
        out.extend_from_slice(&membership);
        self.decisions.encode(&mut out);
        out
    }

    pub(super) fn decode(payload: &[u8]) -> Result<About, Malformed> {
        let mut reader = Reader::new(payload, "what a snapshot is of");
        let cluster = ClusterId(reader.u128()?);
        let (index, term, position) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let digest = Digest(reader.u128()?);
        let taken_ms = reader.u64()?;
        let state_kind = match reader.u8()? {
            0 => StateKind::Stateless,
            1 => StateKind::Replay,
            2 => StateKind::Snapshot,
            _ => return Err(reader.malformed()),
        };
        let membership_bytes = reader.u32()? as usize;
        let membership = membership::get(reader.slice(membership_bytes)?)?;
        let decisions = Decisions::decode(reader.rest())?;
        if index == 0 || term == 0 || membership.index > index {
            return Err(Malformed("what a snapshot is of: it contradicts itself"));
        }
        Ok(About { cluster, index, term, position, digest, taken_ms, state_kind, membership, decisions })
    }
}
