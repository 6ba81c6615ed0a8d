//! Election safety (Raft, figure 3): at most one leader in a term, and nobody else speaks as if it were that.

use std::collections::BTreeMap;

use super::super::context::Checked;
use super::require;
use crate::RaftId;
use crate::transport::{ConsensusKind, PeerMessage};

const SAFETY: &str = "election safety";

/// Who led when.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeMap<u64, RaftId>);

impl Leaders {
    /// True: nobody was known to lead in this term before.
    pub(super) fn observe(&mut self, leader: RaftId, term: u64) -> Checked<bool> {
        let known = self.0.insert(term, leader);
        require(known.is_none_or(|known| known == leader), SAFETY, || {
            format!("{known:?} and {leader} both lead in term {term}")
        })?;
        Ok(known.is_none())
    }

    /// An incarnation says this. Whoever hears what only a leader says takes its sender for the leader of that term.
    pub(super) fn sent(&self, id: RaftId, message: &PeerMessage) -> Checked {
        let term = match message {
            PeerMessage::SnapshotOffer(offer) => offer.term,
            PeerMessage::Consensus(message) => match message.kind {
                ConsensusKind::Append | ConsensusKind::Heartbeat | ConsensusKind::TimeoutNow => message.term,
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let leader = self.0.get(&term);
        require(leader == Some(&id), SAFETY, || {
            format!("{id} speaks as the leader of term {term}, which {leader:?} is")
        })
    }
}
