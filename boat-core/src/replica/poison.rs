//! Requests that crash models: what the leader asks and proposes about them (design D6).

use super::{Output, Replica};
use crate::log::{EntryKind, LogEntry};
use crate::quarantine::Decisions;
use crate::transport::Hold;
use crate::{Decision, NodeId, RaftId};

/// After how many ticks a decision that is not there yet is proposed again.
const PROPOSE_AGAIN_TICKS: u64 = 50;
/// For how many ticks a hold may be asked for before a person is told who is missing.
const BLOCKED_TICKS: u64 = 100;

/// What a leader is about to decide.
#[derive(Debug, Default)]
pub(super) struct Poison {
    pub(super) decisions: Decisions,
    /// The request that everybody is asked to hold, its round, and since when.
    asking: Option<(u64, u32, u64)>,
    /// Who does not hold it yet.
    missing: Vec<NodeId>,
    proposed: Option<(Decision, u64)>,
    /// What an operator asked this node for, and until when.
    wanted: Option<(u64, u64)>,
}

impl Poison {
    pub(super) fn asks(&self) -> Option<(u64, u32)> {
        self.asking.map(|(position, round, _)| (position, round))
    }

    pub(super) fn forces(&self) -> Option<u64> {
        self.wanted.map(|(position, _)| position)
    }
}

impl Replica {
    /// The log had decided this much when it was opened: said once, before the first step.
    pub fn restore_decisions(&mut self, decisions: Decisions) {
        self.poison.decisions = decisions;
    }

    /// What the log has decided, as of the last entry handed over.
    pub fn decisions(&self) -> &Decisions {
        &self.poison.decisions
    }

    /// The request that cannot be quarantined because these nodes do not say that they hold it.
    pub fn blocked(&self) -> Option<(u64, &[NodeId])> {
        let (position, _, since) = self.poison.asking?;
        let is_blocked = self.tick >= since + BLOCKED_TICKS && !self.poison.missing.is_empty();
        is_blocked.then_some((position, self.poison.missing.as_slice()))
    }

    /// Whether some member holds the request at this position.
    pub fn is_held(&self, position: u64) -> bool {
        self.all_holds().any(|(_, holds, _)| holds.iter().any(|hold| hold.position == position))
    }

    /// Takes what entries that are about to be handed over decide.
    pub(super) fn take_decisions(&mut self, entries: &[LogEntry], outputs: &mut Vec<Output>) {
        let mut decided = false;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Normal) {
            if let Some(decision) = Decision::of_entry(&entry.data)
                && self.poison.decisions.take(entry.index, decision)
            {
                log::warn!("decided by entry {}: {decision}", entry.index);
                decided = true;
            }
        }
        if decided {
            outputs.push(Output::Decided(self.poison.decisions.clone()));
        }
    }

    pub(super) fn on_force(&mut self, position: u64, within_ticks: u64) {
        self.poison.wanted = Some((position, self.tick.saturating_add(within_ticks)));
    }

    pub(super) fn look_at_holds(&mut self, outputs: &mut Vec<Output>) {
        let (tick, decisions) = (self.tick, &self.poison.decisions);
        let is_over = |wanted: &mut (u64, u64)| decisions.is_quarantined(wanted.0) || tick >= wanted.1;
        self.poison.wanted.take_if(is_over);
        let open = self.lowest_open();
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() || open.is_none() {
            self.poison.asking = None;
            return;
        }
        if let Some(decision) = self.due_retry().or_else(|| self.due_force()) {
            return self.propose_decision(decision);
        }
        // Where members were taken out since a majority was found, all may hold it by now: then nobody goes on without a decision.
        let is_due = |(position, round): &(u64, u32)| {
            self.majority_crashed(*position, *round)
                || self.was_asked_for(*position, *round)
                || self.without_hold(*position, *round).is_empty()
        };
        let Some((position, round)) = open.filter(is_due) else {
            self.poison.asking = None;
            return;
        };
        if self.poison.asks() != Some((position, round)) {
            log::warn!(
                "the request at position {position} crashes the models of a majority; asking all to hold it"
            );
            self.poison.asking = Some((position, round, tick));
        }
        outputs.push(Output::Hold { position, round });
        let missing = self.without_hold(position, round);
        if missing.is_empty() && !self.raw.raft.has_pending_conf() {
            self.propose_decision(Decision::Quarantine { position, round, forced: false });
        }
        self.poison.missing = missing;
    }

    /// The lowest request that somebody holds and about which nothing is decided.
    fn lowest_open(&self) -> Option<(u64, u32)> {
        let holds = self.all_holds().flat_map(|(_, holds, _)| holds);
        let open = holds.filter(|hold| self.is_open(hold)).map(|hold| (hold.position, hold.round));
        open.min()
    }

    fn is_open(&self, hold: &Hold) -> bool {
        let decisions = &self.poison.decisions;
        !decisions.is_quarantined(hold.position) && hold.round == decisions.round(hold.position)
    }

    /// Somebody holds a request that another is past.
    fn due_retry(&self) -> Option<Decision> {
        let passed = self.all_holds().map(|(_, _, passed)| passed).max()?;
        let holds = self.all_holds().flat_map(|(_, holds, _)| holds);
        let due = holds.filter(|hold| self.is_open(hold) && hold.position <= passed).min()?;
        Some(Decision::Retry { position: due.position, round: due.round })
    }

    fn due_force(&self) -> Option<Decision> {
        let decisions = &self.poison.decisions;
        let is_due = |position: &u64| !decisions.is_quarantined(*position) && self.is_held(*position);
        let position = self.all_forces().find(is_due)?;
        Some(Decision::Quarantine { position, round: decisions.round(position), forced: true })
    }

    fn majority_crashed(&self, position: u64, round: u32) -> bool {
        let crashed = |hold: &Hold| hold.crashed && hold.position == position && hold.round == round;
        let crashed: Vec<RaftId> =
            self.all_holds().filter_map(|(id, holds, _)| holds.iter().any(crashed).then_some(id)).collect();
        self.membership.has_majority(|id| crashed.contains(&id))
    }

    /// Whether somebody holds the request without a crash of its own: a former leader had found a majority. One that crashed
    /// may have lost its disk since, and whoever promised does not go on by itself.
    fn was_asked_for(&self, position: u64, round: u32) -> bool {
        let promised = |hold: &Hold| !hold.crashed && hold.position == position && hold.round == round;
        self.all_holds().any(|(_, holds, _)| holds.iter().any(promised))
    }

    /// The members that do not say that they hold the request.
    fn without_hold(&self, position: u64, round: u32) -> Vec<NodeId> {
        let holds = |hold: &Hold| hold.position == position && hold.round == round;
        let holding: Vec<RaftId> =
            self.all_holds().filter_map(|(id, all, _)| all.iter().any(holds).then_some(id)).collect();
        let members = self.membership.members.keys().filter(|id| !holding.contains(id));
        members.map(|id| id.node()).collect()
    }

    fn propose_decision(&mut self, decision: Decision) {
        let tick = self.tick;
        let is_known =
            |(known, since): &(Decision, u64)| *known == decision && tick < since + PROPOSE_AGAIN_TICKS;
        if self.poison.proposed.as_ref().is_some_and(is_known) || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let data = decision.encode(self.wall_ms).into();
        let message = super::message::proposal(self.config.own.raft_id, data);
        match self.raw.raft.step(message) {
            Ok(()) => {
                log::warn!("proposing that {decision}");
                self.poison.proposed = Some((decision, tick));
            }
            Err(error) => log::debug!("decision not proposed: {error}"),
        }
    }
}
