//! Handing over leadership, and whether the others can do without this node's disk (design D13, `POST /control`).

use super::{Output, Replica};
use crate::RaftId;
use crate::transport::PeerMessage;

/// How often a question is asked again, in ticks.
const ASK_AGAIN_TICKS: u64 = 5;
/// For how long a no is asked again, in ticks: a voter may be one message behind for a moment.
const DOUBT_TICKS: u64 = 25;

/// This node wants to be wiped, and asks.
#[derive(Debug)]
pub(super) struct Leaving {
    ticket: u64,
    deadline_tick: u64,
    doubt_tick: u64,
    ask_tick: u64,
}

impl Replica {
    pub(super) fn on_may_leave(&mut self, within_ticks: u64, outputs: &mut Vec<Output>) {
        self.leave_tickets += 1;
        let ticket = self.leave_tickets;
        let deadline_tick = self.tick.saturating_add(within_ticks);
        let doubt_tick = self.tick + DOUBT_TICKS;
        self.leaving = Some(Leaving { ticket, deadline_tick, doubt_tick, ask_tick: self.tick });
        self.tick_leaving(outputs);
    }

    pub(super) fn tick_leaving(&mut self, outputs: &mut Vec<Output>) {
        let own = self.config.own.raft_id;
        let Some(leaving) = &mut self.leaving else { return };
        if self.tick >= leaving.deadline_tick {
            self.leaving = None;
            outputs.push(Output::MayLeave(None));
        } else if self.tick >= leaving.ask_tick {
            leaving.ask_tick = self.tick + ASK_AGAIN_TICKS;
            let ticket = leaving.ticket;
            if self.is_leader() {
                if self.can_do_without(own) {
                    self.hand_over();
                } else {
                    self.on_leave_answer(ticket, false, outputs);
                }
            } else if let Some(to) = self.leader() {
                let message = PeerMessage::LeaveQuestion { raft_id: own, ticket };
                outputs.push(Output::Send { to, message });
            }
        }
    }

    pub(super) fn on_leave_answer(&mut self, ticket: u64, allowed: bool, outputs: &mut Vec<Output>) {
        let tick = self.tick;
        let decided =
            |leaving: &mut Leaving| leaving.ticket == ticket && (allowed || tick >= leaving.doubt_tick);
        if self.leaving.take_if(decided).is_some() {
            outputs.push(Output::MayLeave(Some(allowed)));
        }
    }

    /// Whether the connected voters other than `leaver`, holding everything committed, are a majority of all voters.
    /// Known to the leader only.
    pub(super) fn can_do_without(&self, leaver: RaftId) -> bool {
        let own = self.config.own.raft_id;
        let committed = self.commit();
        let holds = |id: &&RaftId| {
            let progress = self.raw.raft.prs().get(id.0);
            let complete = progress.is_some_and(|progress| progress.matched >= committed);
            **id != leaver && complete && (**id == own || self.hears(**id))
        };
        let majority =
            |voters: &[RaftId]| voters.is_empty() || voters.iter().filter(holds).count() > voters.len() / 2;
        self.is_leader() && majority(&self.membership.voters) && majority(&self.membership.voters_outgoing)
    }

    /// Hands leadership to the most caught-up voter that is heard, to one that is well before others. False: there is nobody, or nothing to hand over.
    pub(super) fn hand_over(&mut self) -> bool {
        let own = self.config.own.raft_id;
        if !self.is_leader() || self.raw.raft.lead_transferee.is_some() {
            return false;
        }
        let progress = self.raw.raft.prs();
        let voters = self.membership.voters.iter().filter(|id| **id != own && self.hears(**id));
        let matched = |id: &RaftId| progress.get(id.0).map_or(0, |progress| progress.matched);
        let best = voters.max_by_key(|id| (self.is_well(**id), matched(id))).copied();
        if let Some(best) = best {
            log::info!("handing leadership over to node {}", best.node());
            self.raw.transfer_leader(best.0);
        }
        best.is_some()
    }
}
