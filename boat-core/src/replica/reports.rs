//! What the members say of themselves: sent to all others a few times a second, and at once when it changes.

use std::collections::BTreeMap;

use super::{Output, Replica};
use crate::RaftId;
use crate::transport::{Ailment, Ailments, Checkpoint, Hold, PeerMessage, Report};

/// How often a report is sent, in ticks.
const REPORT_TICKS: u64 = 10;
/// For how long what a report says of a node's health counts, in ticks.
pub(super) const FRESH_TICKS: u64 = 5 * REPORT_TICKS;

/// How this node is, as those around the replica know it.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// The last entry that the predictor's present life has applied.
    pub index: u64,
    /// What is told to the others. The replica adds what it finds out itself: slowness, divergence, and what it asks for.
    pub report: Report,
    /// Rises whenever the predictor begins anew.
    pub life: u64,
    /// All digests of this life that are remembered.
    pub remembered: Vec<Checkpoint>,
}

/// A report, and when it came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) report: Report,
    tick: u64,
}

/// The latest report of everybody.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) own: Condition,
    of: BTreeMap<RaftId, Heard>,
    sent_tick: u64,
    sent: Report,
}

impl Replica {
    /// The driver says how this node is.
    pub(super) fn on_condition(&mut self, condition: Condition) {
        if condition.life != self.reports.own.life {
            self.divergence.begins_anew(self.config.own.raft_id);
        }
        let (own, report) = (self.config.own.raft_id, &condition.report);
        self.divergence.note(own, &condition.remembered, report.decided_index);
        self.divergence.note(own, &report.checkpoints, report.decided_index);
        self.reports.own = condition;
    }

    pub(super) fn on_report(&mut self, from: Option<RaftId>, report: Report, outputs: &mut Vec<Output>) {
        let Some(from) = from.filter(|from| self.membership.members.contains_key(from)) else { return };
        if let Some((position, round)) = report.asks.filter(|_| self.leader() == Some(from.node())) {
            outputs.push(Output::Hold { position, round });
        }
        self.divergence.note(from, &report.checkpoints, report.decided_index);
        self.reports.of.insert(from, Heard { report, tick: self.tick });
    }

    /// Looks at all reports, and sends this node's own when it is due.
    pub(super) fn tick_reports(&mut self, outputs: &mut Vec<Output>) {
        let members = &self.membership.members;
        self.reports.of.retain(|id, _| members.contains_key(id));
        self.look_at_health();
        self.look_at_digests(outputs);
        self.look_at_holds(outputs);
        let report = self.own_report();
        let is_due = self.tick >= self.reports.sent_tick + REPORT_TICKS;
        let sent = &self.reports.sent;
        let is_news = (report.ailments, &report.holds, report.asks, report.forces)
            != (sent.ailments, &sent.holds, sent.asks, sent.forces);
        if !(is_due || is_news) {
            return;
        }
        let own = self.config.own.raft_id;
        let members = self.membership.members.keys().filter(|id| **id != own).map(|id| id.node());
        for to in members.filter(|node| self.connected.contains(node)) {
            outputs.push(Output::Send { to, message: PeerMessage::Report(Box::new(report.clone())) });
        }
        (self.reports.sent_tick, self.reports.sent) = (self.tick, report);
    }

    /// What this node tells the others.
    fn own_report(&self) -> Report {
        Report {
            ailments: self.ailments(),
            asks: self.poison.asks(),
            forces: self.poison.forces(),
            ..self.reports.own.report.clone()
        }
    }

    /// What ails this node.
    pub fn ailments(&self) -> Ailments {
        let known = self.reports.own.report.ailments;
        let slow = known.with(Ailment::Slow, self.health.is_slow(self.tick));
        slow.with(Ailment::Diverged, self.divergence.is_odd())
    }

    /// What ails another incarnation, if it said so lately.
    pub(super) fn ailments_of(&self, id: RaftId) -> Option<Ailments> {
        let heard = self.reports.of.get(&id)?;
        (self.tick < heard.tick + FRESH_TICKS).then_some(heard.report.ailments)
    }

    /// The fresh reports of other voters.
    pub(super) fn voters_reports(&self) -> impl Iterator<Item = (RaftId, &Report)> {
        let is_fresh = |heard: &Heard| self.tick < heard.tick + FRESH_TICKS;
        let heard = self.reports.of.iter().filter(move |(_, heard)| is_fresh(heard));
        let voters = heard.filter(|(id, _)| self.membership.is_voter(**id));
        voters.map(|(id, heard)| (*id, &heard.report))
    }

    /// What every member that was ever heard holds, and how far it has come; this node's own first. Promises do not age.
    pub(super) fn all_holds(&self) -> impl Iterator<Item = (RaftId, &[Hold], u64)> {
        let own = &self.reports.own.report;
        let own = (self.config.own.raft_id, own.holds.as_slice(), own.passed);
        let others = self.reports.of.iter();
        let others = others.map(|(id, heard)| (*id, heard.report.holds.as_slice(), heard.report.passed));
        std::iter::once(own).chain(others)
    }

    /// The positions that operators want quarantined: those that this node was asked for, and the others'.
    pub(super) fn all_forces(&self) -> impl Iterator<Item = u64> {
        let is_fresh = |heard: &&Heard| self.tick < heard.tick + FRESH_TICKS;
        let others = self.reports.of.values().filter(is_fresh).filter_map(|heard| heard.report.forces);
        self.poison.forces().into_iter().chain(others)
    }
}
