//! Handing over leadership, and whether the others can do without this node's disk (design D13, `POST /control`).

use super::{Output, Replica};
use crate::transport::{Ailment, PeerMessage};
use crate::{NodeId, RaftId};

/// How often a question is asked again, in ticks.
const ASK_AGAIN_TICKS: u64 = 5;
/// For how long a no is asked again, in ticks: a voter may be one message behind for a moment, and the leader's predictor
/// some batches.
const DOUBT_TICKS: u64 = 25;

/// For how long a node that was told that it may leave counts as gone, in ticks: longer than one asks ([`Input::MayLeave`]
/// comes with 250), so that no late answer finds another node gone, too.
///
/// [`Input::MayLeave`]: super::Input::MayLeave
const PROMISED_TICKS: u64 = 300;

/// For how long a leader remembers what was committed when it was asked first, in ticks: longer than its predictor is behind
/// when it is well.
const WANTS_TICKS: u64 = 100;

/// This node wants to be wiped, and asks.
#[derive(Debug)]
pub(super) struct Leaving {
    ticket: u64,
    deadline_tick: u64,
    doubt_tick: u64,
    ask_tick: u64,
    /// The leader that was asked last, and its term. No other answer counts: the next leader does not know who was told
    /// that he may leave, and relies on whoever acknowledges what it sends.
    asked: Option<(NodeId, u64)>,
}

impl Replica {
    pub(super) fn on_may_leave(&mut self, within_ticks: u64, outputs: &mut Vec<Output>) {
        self.leave_tickets += 1;
        let ticket = self.leave_tickets;
        let deadline_tick = self.tick.saturating_add(within_ticks);
        let doubt_tick = self.tick + DOUBT_TICKS;
        self.leaving = Some(Leaving { ticket, deadline_tick, doubt_tick, ask_tick: self.tick, asked: None });
        self.tick_leaving(outputs);
    }

    pub(super) fn tick_leaving(&mut self, outputs: &mut Vec<Output>) {
        let own = self.config.own.raft_id;
        let (leader, term) = (self.leader(), self.term());
        let Some(leaving) = &mut self.leaving else { return };
        if self.tick >= leaving.deadline_tick {
            self.leaving = None;
            outputs.push(Output::MayLeave(None));
        } else if self.tick >= leaving.ask_tick {
            leaving.ask_tick = self.tick + ASK_AGAIN_TICKS;
            let ticket = leaving.ticket;
            leaving.asked = leader.map(|leader| (leader, term));
            if self.is_leader() {
                if self.can_do_without(own) {
                    // The next leader answers: it must know of nobody else who was told that he may go.
                    self.hand_over();
                } else {
                    self.on_leave_answer(own.node(), ticket, false, outputs);
                }
            } else if let Some(to) = leader {
                let message = PeerMessage::LeaveQuestion { raft_id: own, ticket };
                outputs.push(Output::Send { to, message });
            }
        }
    }

    pub(super) fn on_leave_answer(
        &mut self,
        from: NodeId,
        ticket: u64,
        allowed: bool,
        outputs: &mut Vec<Output>,
    ) {
        let (tick, of) = (self.tick, Some((from, self.term())));
        let decided = |leaving: &mut Leaving| {
            leaving.ticket == ticket && leaving.asked == of && (allowed || tick >= leaving.doubt_tick)
        };
        if self.leaving.take_if(decided).is_some() {
            outputs.push(Output::MayLeave(Some(allowed)));
        }
    }

    /// A peer asks whether the others can do without its disk.
    pub(super) fn on_leave_question(
        &mut self,
        from: NodeId,
        raft_id: RaftId,
        ticket: u64,
        outputs: &mut Vec<Output>,
    ) {
        if !self.is_leader() {
            return;
        }
        let allowed = self.has_seen_what(raft_id) && self.can_do_without(raft_id);
        if allowed {
            self.promised.insert(raft_id, self.tick + PROMISED_TICKS);
        }
        let message = PeerMessage::LeaveAnswer { ticket, allowed };
        outputs.push(Output::Send { to: from, message });
    }

    /// Whether this leader's predictor has run all that `leaver` may have answered before it asked. Of a request that crashes
    /// models nobody else may know that it ever went well (design D6): whoever knows it must not go.
    fn has_seen_what(&mut self, leaver: RaftId) -> bool {
        let asked = (self.commit(), self.tick + WANTS_TICKS);
        let (commit, _) = *self.wants_to_leave.entry(leaver).or_insert(asked);
        self.reports.own.index >= commit
    }

    /// Whether the connected voters other than `leaver`, holding everything committed, are a majority of all voters.
    /// Known to the leader only.
    pub(super) fn can_do_without(&self, leaver: RaftId) -> bool {
        // A change under way may take another one out.
        self.is_leader()
            && !self.raw.raft.has_pending_conf()
            && self.membership.has_majority(|id| id != leaver && self.is_dependable(id))
    }

    /// Whether a voter is connected, holds everything committed, and has not been told that it may leave.
    pub(super) fn is_dependable(&self, id: RaftId) -> bool {
        let progress = self.raw.raft.prs().get(id.0);
        let complete = progress.is_some_and(|progress| progress.matched >= self.commit());
        let reached =
            id == self.config.own.raft_id || (self.hears(id) && self.connected.contains(&id.node()));
        complete && reached && !self.promised.contains_key(&id)
    }

    pub(super) fn forget_promises(&mut self) {
        let (tick, leads) = (self.tick, self.is_leader());
        self.promised.retain(|_, until_tick| leads && tick < *until_tick);
        self.wants_to_leave.retain(|_, (_, until_tick)| leads && tick < *until_tick);
    }

    /// Hands leadership to the most caught-up voter that is heard, to one that is well before others, and to one that has diverged
    /// last: it would hand over again. False: there is nobody, or nothing to hand over.
    pub(super) fn hand_over(&mut self) -> bool {
        let own = self.config.own.raft_id;
        if !self.is_leader() || self.raw.raft.lead_transferee.is_some() {
            return false;
        }
        let progress = self.raw.raft.prs();
        let may = |id: &&RaftId| **id != own && self.hears(**id) && !self.promised.contains_key(*id);
        let voters = self.membership.voters.iter().filter(may);
        let matched = |id: &RaftId| progress.get(id.0).map_or(0, |progress| progress.matched);
        let rank = |id: &RaftId| (self.is_well(*id), !self.has(*id, Ailment::Diverged), matched(id));
        let best = voters.max_by_key(|id| rank(id)).copied();
        if let Some(best) = best {
            log::info!("handing leadership over to node {}", best.node());
            self.raw.transfer_leader(best.0);
        }
        best.is_some()
    }
}
