//! Incarnations outside the membership: they are told so, and none that was in it ever comes back.

use super::members::JOIN_AGAIN_TICKS;
use super::{Fatal, Output, Replica};
use crate::transport::{ConsensusKind, ConsensusMessage, Outside, PeerMessage};
use crate::{Membership, NodeId, RaftId};

/// For how long an incarnation outside the membership hopes to be taken in soon after it last heard that it may be, in ticks:
/// it asks all that it is connected to, and everybody inside answers.
const HOPE_TICKS: u64 = 3 * JOIN_AGAIN_TICKS;

impl Replica {
    /// Tells an incarnation that it is not in the membership, and who is.
    pub(super) fn tell_outsider(&self, to: NodeId, raft_id: RaftId, outputs: &mut Vec<Output>) {
        if !self.is_member() {
            return;
        }
        let place = self.membership.incarnation(raft_id.node());
        let members = self.membership.members.values();
        let outside = Outside {
            raft_id,
            index: self.membership.index,
            place_held_at: place.map(|member| member.address.clone()),
            members: members.map(|member| (member.raft_id.node(), member.address.clone())).collect(),
            removed: self.voters_to_say_farewell(raft_id),
        };
        outputs.push(Output::Send { to, message: PeerMessage::Outside(Box::new(outside)) });
    }

    /// How many voters have to tell an incarnation that it was removed, if this one knows that and is one of them. While a change
    /// is half way there are two sets of them.
    fn voters_to_say_farewell(&self, raft_id: RaftId) -> Option<u16> {
        let Membership { voters, removed, .. } = &self.membership;
        let knows = removed.contains(&raft_id) && voters.contains(&self.config.own.raft_id);
        let majority = u16::try_from(voters.len() / 2 + 1).ok();
        majority.filter(|_| knows && !self.membership.is_joint())
    }

    /// Whether nothing is to be heard from an incarnation any more: it was removed. One that campaigns is told so; by PreVote
    /// it has raised no term.
    pub(super) fn ignores(&self, message: &ConsensusMessage, outputs: &mut Vec<Output>) -> bool {
        let from = message.from;
        let removed = self.membership.removed.contains(&from);
        if removed && matches!(message.kind, ConsensusKind::RequestPreVote | ConsensusKind::RequestVote) {
            self.tell_outsider(from.node(), from, outputs);
        }
        removed
    }

    /// A member says that this incarnation is not in the membership.
    ///
    /// # Errors
    /// [`Fatal::Removed`] if it once was, and enough voters say so: incarnations never come back.
    pub(super) fn on_outside(
        &mut self,
        from: Option<RaftId>,
        outside: Outside,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        let Outside { raft_id, index, place_held_at, members, removed } = outside;
        // Who says so may lag behind.
        if raft_id != self.config.own.raft_id || index < self.membership.index {
            return Ok(());
        }
        for (node, address) in members {
            // The genesis and the configured list may both be old, and who was removed has to find those that say so.
            outputs.push(Output::Reach { node, address, urgent: false });
        }
        if let (Some(needed), Some(from)) = (removed, from) {
            return self.on_farewell(from, index, needed.into(), outputs);
        }
        if self.is_member() || self.membership.removed.contains(&raft_id) {
            // Whoever does not vote does not decide that, and a voter says it once a change that is half way is over.
            return Ok(());
        }
        // A leader that had taken it for a member would go on taking its requests, and never answer them.
        self.raw.raft.leader_id = raft::INVALID_ID;
        self.hope_tick = self.tick;
        if self.outside.as_ref().is_none_or(|known| known.place_held_at != place_held_at) {
            match &place_held_at {
                Some(address) if *address == self.config.own.address => {
                    log::info!("this node asks to be taken in, in the place of its former incarnation");
                }
                Some(address) => log::warn!(
                    "this node's place is held by another, at {address}: it is taken in once it is asked to replace that one"
                ),
                None => log::warn!("this node is no member of the cluster: it is taken in once it is added"),
            }
        }
        let joins_by_itself = place_held_at.as_ref() == Some(&self.config.own.address);
        self.outside = Some(OutsideView { place_held_at, joins_by_itself });
        Ok(())
    }

    /// A voter says, as of this entry, that this incarnation was removed. Enough of them: any majority has one that knows it for
    /// good. Until then a majority that lost power, and with it what it knew of the commit, may need this one's vote.
    fn on_farewell(
        &mut self,
        from: RaftId,
        index: u64,
        needed: usize,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        self.farewells.retain(|_, known| *known >= index);
        if self.farewells.len() < Membership::MEMBERS_MAX {
            self.farewells.insert(from, index);
        }
        if self.farewells.values().filter(|known| **known == index).count() < needed {
            return Ok(());
        }
        self.end_removed(index, outputs)
    }

    /// The log says that this incarnation is no member any more. It goes on until a majority of the voters say so, too: one that
    /// does not know yet, because it lost power before that was durable there, may need this one's vote to find out.
    pub(super) fn leave_membership(&mut self, outputs: &mut Vec<Output>) {
        log::info!("this node was removed from the cluster, as of entry {}", self.membership.index);
        for to in self.connected.iter().copied() {
            outputs.push(Output::Send { to, message: self.join_message() });
        }
    }

    /// This incarnation has left the membership, and others know it.
    pub(super) fn end_removed(&mut self, index: u64, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        self.removed_at = Some(index);
        self.tick_operations(outputs);
        Err(Fatal::Removed { index })
    }

    /// Whether no leader is going to be known here, unless somebody adds this node: it is outside the membership, and was told
    /// that it has to be added, or hears nothing from anybody who is inside.
    pub(super) fn waits_in_vain(&self) -> bool {
        let hopeless = self.tick >= self.hope_tick + HOPE_TICKS;
        match self.outside() {
            _ if self.is_member() || self.leader().is_some() => false,
            Some(outside) => !outside.joins_by_itself || hopeless,
            None => hopeless,
        }
    }

    /// What this incarnation was told, while it is outside the membership.
    pub(crate) fn outside(&self) -> Option<&OutsideView> {
        self.outside.as_ref().filter(|_| !self.is_member())
    }
}

/// What an incarnation outside the membership was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutsideView {
    /// Where the incarnation is reached that holds the node's place.
    pub(crate) place_held_at: Option<String>,
    /// Whether that one is a former incarnation of this node, which it succeeds by itself.
    pub(crate) joins_by_itself: bool,
}
