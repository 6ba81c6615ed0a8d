//! Taking in incarnations that lost their disk's contents, promoting them once they have caught up, and finding members
//! that are reached elsewhere (design D13).

use super::change::{Change, Step};
use super::{Output, Replica};
use crate::membership::is_address;
use crate::transport::{Join, Members, PeerMessage};
use crate::{Member, Membership, NodeId, RaftId};

/// How often an incarnation outside the membership asks to be taken in, in ticks.
pub(super) const JOIN_AGAIN_TICKS: u64 = 10;
/// How often a member whose place is known says where it is, in ticks: who hears it may know an address of old.
const GREET_TICKS: u64 = 10 * JOIN_AGAIN_TICKS;
/// For how long an incarnation that asked is remembered, in ticks: one that still lives asks again before.
const JOIN_REMEMBERED_TICKS: u64 = 3 * JOIN_AGAIN_TICKS;
/// How many incarnations that asked are remembered.
const JOINERS_MAX: usize = 64;

/// An incarnation that asked to be taken in.
#[derive(Debug)]
pub(super) struct Joiner {
    pub(super) member: Member,
    asked_tick: u64,
}

impl Replica {
    /// Says who this is: to be taken in, to be found at another address, or to hear from somebody who leads.
    pub(super) fn ask_to_join(&mut self, outputs: &mut Vec<Output>) {
        if !self.tick.is_multiple_of(JOIN_AGAIN_TICKS) {
            return;
        }
        let known = self.membership.members.get(&self.config.own.raft_id);
        let settled = known.is_some_and(|known| known.address == self.config.own.address);
        if settled && self.leader().is_some() && !self.tick.is_multiple_of(GREET_TICKS) {
            return;
        }
        for to in self.connected.iter().copied() {
            outputs.push(Output::Send { to, message: self.join_message() });
        }
    }

    pub(super) fn on_join(
        &mut self,
        from: NodeId,
        from_raft_id: Option<RaftId>,
        join: Join,
        outputs: &mut Vec<Output>,
    ) {
        let Join { raft_id, birth, address } = join;
        if from_raft_id != Some(raft_id) || raft_id.node() != from || !is_address(&address) {
            return;
        }
        let known = self.membership.members.get(&raft_id);
        if known.is_none() {
            self.tell_outsider(from, raft_id, outputs);
        }
        if known.is_none_or(|known| known.address != address) {
            // Its place may be held by another incarnation, which must not be cut off.
            let urgent = known.is_some() || self.membership.incarnation(from).is_none();
            outputs.push(Output::Reach { node: from, address: address.clone(), urgent });
        }
        if known.is_some_and(|known| known.address != address) {
            self.tell_members(from, outputs);
        }
        let asked_tick = self.tick;
        let leads = self.is_leader() && !self.membership.removed.contains(&raft_id);
        if leads && (self.joiners.len() < JOINERS_MAX || self.joiners.contains_key(&raft_id)) {
            self.joiners.insert(raft_id, Joiner { member: Member { raft_id, birth, address }, asked_tick });
        }
    }

    /// Tells a member that has moved where the others are. It may never have heard of one that was taken in while it was away: they
    /// would not find each other, and if that one leads, the new address would never come to stand in the log.
    fn tell_members(&self, to: NodeId, outputs: &mut Vec<Output>) {
        let Membership { index, members, .. } = &self.membership;
        let members =
            members.values().map(|member| (member.raft_id.node(), member.address.clone())).collect();
        let message = PeerMessage::Members(Box::new(Members { index: *index, members }));
        outputs.push(Output::Send { to, message });
    }

    /// A member says where the others are.
    pub(super) fn on_members(&self, said: Members, outputs: &mut Vec<Output>) {
        // Who says so may lag behind, and what this node heard since from those that moved must not be forgotten for it.
        if said.index <= self.membership.index {
            return;
        }
        let members = said.members.into_iter().take(Membership::MEMBERS_MAX);
        for (node, address) in members.filter(|(_, address)| is_address(address)) {
            outputs.push(Output::Reach { node, address, urgent: false });
        }
    }

    /// Proposes the next membership change that is due, one at a time.
    pub(super) fn change_members(&mut self) {
        let tick = self.tick;
        self.joiners.retain(|_, joiner| tick < joiner.asked_tick + JOIN_REMEMBERED_TICKS);
        let raft = &self.raw.raft;
        let joint = !self.membership.voters_outgoing.is_empty();
        if !self.is_leader() || !raft.commit_to_current_term() || raft.has_pending_conf() {
            return;
        }
        if joint {
            // Raft leaves by itself in most cases, but not when the leader that began lost its term half way.
            self.propose_change(&Change::default());
            return;
        }
        let due = self.due_promotion().or_else(|| self.due_move()).or_else(|| self.due_succession());
        if let Some(change) = due {
            log::info!("proposing a membership change: {change}");
            self.propose_change(&change);
        }
    }

    /// Forgets who asked in the name of a node whose incarnation has changed. Whoever lives asks again; one that died
    /// since it asked must not come back as the successor of its own successor.
    pub(super) fn forget_joiners(&mut self, change: &Change) {
        self.joiners.retain(|id, _| !change.steps.iter().any(|(_, changed)| changed.node() == id.node()));
    }

    /// A learner that has everything committed gets its vote.
    fn due_promotion(&self) -> Option<Change> {
        let committed = self.commit();
        // Whatever Raft's state of it: after a snapshot it only probes, until there is something new to send. One that was told
        // that it may be wiped must not be relied on.
        let caught_up = |id: &&RaftId| {
            let progress = self.raw.raft.prs().get(id.0);
            let complete = progress.is_some_and(|progress| progress.matched >= committed);
            complete && self.hears(**id) && !self.promised.contains_key(*id)
        };
        let id = self.membership.learners.iter().find(caught_up)?;
        Some(Change { steps: vec![(Step::AddVoter, *id)], ..Change::default() })
    }

    /// A member is reached at another address than the membership says.
    fn due_move(&self) -> Option<Change> {
        let moved = |member: &&Member| {
            let known = self.membership.members.get(&member.raft_id);
            known.is_some_and(|known| known.address != member.address)
        };
        let own = std::iter::once(&self.config.own);
        let member = own.chain(self.joiners.values().map(|joiner| &joiner.member)).find(moved)?;
        let id = member.raft_id;
        // It is that already: no vote changes.
        let step = if self.membership.voters.contains(&id) { Step::AddVoter } else { Step::AddLearner };
        Some(Change { token: None, steps: vec![(step, id)], members: vec![member.clone()] })
    }

    /// An incarnation that asked succeeds the one that holds its node's place now, unless that one is still heard. Only
    /// where it is reached at the same address: two machines that both are node 1 would take turns.
    fn due_succession(&self) -> Option<Change> {
        for member in self.outside_joiners() {
            let id = member.raft_id;
            let Some(former) = self.membership.incarnation(id.node()) else {
                log::debug!("node {} is no member: it has to be added", id.node());
                continue;
            };
            let elsewhere = former.address != member.address;
            if elsewhere || self.hears(former.raft_id) || former.raft_id == self.config.own.raft_id {
                continue;
            }
            let steps = vec![(Step::Remove, former.raft_id), (Step::AddLearner, id)];
            return Some(Change { token: None, steps, members: vec![member.clone()] });
        }
        None
    }

    /// The incarnations that asked and may be taken in. One that left since it asked never comes back: what it said last may
    /// have come while it was being taken out.
    pub(super) fn outside_joiners(&self) -> impl Iterator<Item = &Member> {
        let Membership { members, removed, .. } = &self.membership;
        let asked = self.joiners.values().map(|joiner| &joiner.member);
        asked.filter(|member| !members.contains_key(&member.raft_id) && !removed.contains(&member.raft_id))
    }

    /// Whether an incarnation was heard from within an election timeout.
    pub(super) fn hears(&self, id: RaftId) -> bool {
        let heard = self.heard.get(&id);
        heard.is_some_and(|tick| self.tick < tick + self.config.election_ticks as u64)
    }
}
