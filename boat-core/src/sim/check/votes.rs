//! Promise S9, votes: across crashes, an incarnation never votes for two candidates in one term, and one whose directory went
//! back in time votes for nobody any more.

use std::collections::{BTreeMap, BTreeSet};

use super::super::context::Checked;
use super::require;
use crate::RaftId;
use crate::transport::{ConsensusKind, ConsensusMessage};

/// Who voted for whom, from what left the nodes.
#[derive(Debug, Default)]
pub(super) struct Votes {
    cast: BTreeMap<(RaftId, u64), RaftId>,
    /// Those with a directory that went back in time.
    forgetful: BTreeSet<RaftId>,
}

impl Votes {
    /// An incarnation's directory went back in time.
    pub(super) fn went_back(&mut self, id: RaftId) {
        self.forgetful.insert(id);
    }

    pub(super) fn sent(&mut self, message: &ConsensusMessage) -> Checked {
        let candidate = match message.kind {
            ConsensusKind::RequestVote => message.from,
            ConsensusKind::RequestVoteResponse if !message.reject => message.to,
            _ => return Ok(()),
        };
        let voter = message.from;
        require(!self.forgetful.contains(&voter), "S9 memory", || {
            format!(
                "{voter} votes for {candidate} in term {} from a directory that went back in time",
                message.term
            )
        })?;
        let first = *self.cast.entry((voter, message.term)).or_insert(candidate);
        require(first == candidate, "S9 votes", || {
            format!("{voter} voted for {first} and for {candidate} in term {}", message.term)
        })
    }
}

/// Whether a message tells of its sender's own term; those about pre-votes speak of one that may never be.
pub(super) fn is_in_own_term(message: &ConsensusMessage) -> bool {
    !matches!(message.kind, ConsensusKind::RequestPreVote | ConsensusKind::RequestPreVoteResponse)
}
