//! Promise S9, votes: across crashes, an incarnation never votes for two candidates in one term.

use std::collections::BTreeMap;

use super::super::context::Checked;
use super::require;
use crate::RaftId;
use crate::transport::{ConsensusKind, ConsensusMessage};

/// Who voted for whom, from what left the nodes.
#[derive(Debug, Default)]
pub(super) struct Votes(BTreeMap<(RaftId, u64), RaftId>);

impl Votes {
    pub(super) fn sent(&mut self, message: &ConsensusMessage) -> Checked {
        let candidate = match message.kind {
            ConsensusKind::RequestVote => message.from,
            ConsensusKind::RequestVoteResponse if !message.reject => message.to,
            _ => return Ok(()),
        };
        let voter = message.from;
        let first = *self.0.entry((voter, message.term)).or_insert(candidate);
        require(first == candidate, "S9 votes", || {
            format!("{voter} voted for {first} and for {candidate} in term {}", message.term)
        })
    }
}

/// Whether a message tells of its sender's own term; those about pre-votes speak of one that may never be.
pub(super) fn is_in_own_term(message: &ConsensusMessage) -> bool {
    !matches!(message.kind, ConsensusKind::RequestPreVote | ConsensusKind::RequestPreVoteResponse)
}
