//! Membership changes: how they are written in an entry, and what they make of a membership.
//!
//! ```text
//! change | version u8 = 1 | token u128 | count u8 | count x (kind u8 | raft id u64) | count u8 | count x member |
//! member | raft id u64 | birth u128 | address_bytes u16 | address |
//! ```
//! An empty change leaves a joint one. The token is that of the operation, or zero. A step that makes a member what it is
//! already changes no vote, only its address.

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use raft::prelude::ConfChangeTransition;
use raft::{Changer, ProgressTracker};

use crate::codec::{Malformed, Reader};
use crate::membership::{put_member, read_member};
use crate::{Member, Membership, OperationToken, RaftId};

const VERSION: u8 = 1;

/// One step of a membership change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// It gets a vote.
    AddVoter = 0,
    /// It leaves.
    Remove = 1,
    /// It gets the log.
    AddLearner = 2,
}

/// A membership change, as it stands in an entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    /// The operation that it carries out, if an operator asked for it.
    pub(crate) token: Option<OperationToken>,
    pub(crate) steps: Vec<(Step, RaftId)>,
    /// Birth and address of everybody who is added, or is reached elsewhere now.
    pub(crate) members: Vec<Member>,
}

impl Change {
    pub(crate) fn encode(&self) -> Bytes {
        if self.steps.is_empty() {
            return Bytes::new();
        }
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.token.map_or(0, |token| token.0).to_le_bytes());
        out.push(self.steps.len() as u8);
        for (step, id) in &self.steps {
            out.push(*step as u8);
            out.extend_from_slice(&id.0.to_le_bytes());
        }
        out.push(self.members.len() as u8);
        self.members.iter().for_each(|member| put_member(&mut out, member));
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Change, Malformed> {
        if bytes.is_empty() {
            return Ok(Change::default());
        }
        let mut reader = Reader::new(bytes, "membership change");
        if reader.u8()? != VERSION {
            return Err(Malformed("membership change version"));
        }
        let token = Some(OperationToken(reader.u128()?)).filter(|token| token.0 != 0);
        let steps = (0..reader.u8()?).map(|_| {
            let step = match reader.u8()? {
                0 => Step::AddVoter,
                1 => Step::Remove,
                2 => Step::AddLearner,
                _ => return Err(Malformed("membership change step")),
            };
            Ok((step, RaftId(reader.u64()?)))
        });
        let steps = steps.collect::<Result<_, _>>()?;
        let members = (0..reader.u8()?).map(|_| read_member(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Change { token, steps, members })
    }

    /// Raft's form. More than one step is a joint change that ends by itself.
    pub(super) fn to_raft(&self) -> ConfChangeV2 {
        let steps = self.steps.iter().map(|(step, id)| {
            let mut single = ConfChangeSingle { node_id: id.0, ..ConfChangeSingle::default() };
            single.set_change_type(match step {
                Step::AddVoter => ConfChangeType::AddNode,
                Step::Remove => ConfChangeType::RemoveNode,
                Step::AddLearner => ConfChangeType::AddLearnerNode,
            });
            single
        });
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        change.set_changes(steps.collect::<Vec<_>>().into());
        change
    }

    /// What becomes of `before` when the change at `index` is applied to Raft's `tracker`. Nothing is changed yet.
    pub(super) fn outcome(
        &self,
        tracker: &ProgressTracker,
        before: &Membership,
        index: u64,
    ) -> raft::Result<Membership> {
        let raft = self.to_raft();
        let mut changer = Changer::new(tracker);
        let (configuration, _) = if raft.leave_joint() {
            changer.leave_joint()?
        } else if let Some(auto_leave) = raft.enter_joint() {
            changer.enter_joint(auto_leave, &raft.changes)?
        } else {
            changer.simple(&raft.changes)?
        };
        let conf_state = configuration.to_conf_state();
        let ids = |ids: &[u64]| {
            let mut ids: Vec<RaftId> = ids.iter().copied().map(RaftId).collect();
            ids.sort_unstable();
            ids
        };
        let mut after = Membership {
            index,
            voters: ids(conf_state.get_voters()),
            learners: ids(conf_state.get_learners()),
            voters_outgoing: ids(conf_state.get_voters_outgoing()),
            learners_next: ids(conf_state.get_learners_next()),
            auto_leave: conf_state.auto_leave,
            members: before.members.clone(),
            removed: before.removed.clone(),
            tokens: before.tokens.clone(),
        };
        after.members.extend(self.members.iter().map(|member| (member.raft_id, member.clone())));
        let named = |id: &RaftId| {
            after.is_voter(*id) || after.learners.contains(id) || after.learners_next.contains(id)
        };
        let (keep, gone): (Vec<RaftId>, Vec<RaftId>) = after.members.keys().copied().partition(named);
        after.members.retain(|id, _| keep.contains(id));
        after.removed.extend(gone);
        after.removed.drain(..after.removed.len().saturating_sub(Membership::REMOVED_MAX));
        after.tokens.extend(self.token);
        after.tokens.drain(..after.tokens.len().saturating_sub(Membership::TOKENS_MAX));
        Ok(after)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (step, id)) in self.steps.iter().enumerate() {
            let what = match step {
                Step::AddVoter => "a vote for",
                Step::Remove => "without",
                Step::AddLearner => "a learner",
            };
            write!(f, "{}{what} {id}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Birth, NodeId};

    #[test]
    fn a_change_reads_back_and_no_prefix_does() {
        let raft_id = RaftId::new(NodeId(2), 77);
        let member = Member { raft_id, birth: Birth(5), address: "127.0.0.1:8002".into() };
        let steps = vec![(Step::Remove, RaftId(9)), (Step::AddLearner, raft_id)];
        let change = Change { token: Some(OperationToken(3 << 80)), steps, members: vec![member] };
        let bytes = change.encode();
        assert_eq!(Change::decode(&bytes), Ok(change));
        for cut in 1..bytes.len() {
            assert!(Change::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(Change::decode(&Change::default().encode()), Ok(Change::default()));
    }
}
