//! Leaders are well (design D8): who hands over, and who campaigns last.

use super::Replica;
use crate::RaftId;
use crate::transport::{Ailment, Ailments};

/// For how many ticks a predictor may be behind the others before it is slow.
const SLOW_TICKS: u64 = 25;
/// For how many ticks one that has caught up still counts as slow.
const SLOW_AFTER_TICKS: u64 = 100;
/// How many ticks lie between two attempts of an unwell leader to hand over.
const HAND_OVER_AGAIN_TICKS: u64 = 25;

/// What is known of this node's health, besides what it is told.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since when the predictor is behind, and the position that others had reached then.
    behind: Option<(u64, u64)>,
    slow_until_tick: u64,
    hand_over_tick: u64,
}

impl Health {
    pub(super) fn is_slow(&self, tick: u64) -> bool {
        tick < self.slow_until_tick
    }

    /// Takes where this node's predictor is, and where the foremost of the others.
    fn observe(&mut self, tick: u64, own: u64, others: u64) {
        match self.behind {
            Some((since, target)) if own < target => {
                if tick >= since + SLOW_TICKS {
                    self.slow_until_tick = tick + SLOW_AFTER_TICKS;
                }
            }
            _ => self.behind = (others > own).then_some((tick, others)),
        }
    }
}

impl Replica {
    pub(super) fn look_at_health(&mut self) {
        let others = self.voters_reports().map(|(_, report)| report.position).max().unwrap_or(0);
        self.health.observe(self.tick, self.reports.own.report.position, others);
        if self.is_leader() && !self.ailments().is_empty() && self.tick >= self.health.hand_over_tick {
            self.hand_over_to_a_better_node();
        }
    }

    /// Hands over to a node that nothing ails. Where there is none, a leader that has diverged hands over to one that has not: it
    /// passes no snapshot on, and all may be waiting for a member that needs one.
    fn hand_over_to_a_better_node(&mut self) {
        if self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let progress = self.raw.raft.prs();
        let matched = |id: &RaftId| progress.get(id.0).map_or(0, |progress| progress.matched);
        let best = |is_better: &dyn Fn(Ailments) -> bool| {
            let others = self.membership.voters.iter().filter(|id| **id != self.config.own.raft_id);
            let better = others.filter(|id| self.ailments_of(**id).is_some_and(is_better));
            let syncs = |id: &RaftId| !self.has(*id, Ailment::SyncHangs);
            better.filter(|id| self.is_dependable(**id)).max_by_key(|id| (syncs(id), matched(id))).copied()
        };
        let well = best(&Ailments::is_empty);
        let is_any_better = well.is_none() && self.is_diverged();
        let undiverged = |ailments: Ailments| is_any_better && !ailments.contains(Ailment::Diverged);
        if let Some(best) = well.or_else(|| best(&undiverged)) {
            log::warn!("this node is {}: handing leadership over to node {}", self.ailments(), best.node());
            self.health.hand_over_tick = self.tick + HAND_OVER_AGAIN_TICKS;
            self.raw.transfer_leader(best.0);
        }
    }

    /// Whether another incarnation said lately that nothing ails it.
    pub(super) fn is_well(&self, id: RaftId) -> bool {
        self.ailments_of(id).is_some_and(Ailments::is_empty)
    }

    /// Whether another incarnation said lately that this ails it.
    pub(super) fn has(&self, id: RaftId, ailment: Ailment) -> bool {
        self.ailments_of(id).is_some_and(|ailments| ailments.contains(ailment))
    }

    /// An unwell node lets those that are well campaign first. Where nobody is, it does not wait.
    pub(super) fn campaigns_last(&self) -> bool {
        let own = self.config.own.raft_id;
        let others =
            self.membership.voters.iter().filter(|id| **id != own && Some(id.node()) != self.leader());
        !self.ailments().is_empty() && others.into_iter().any(|id| self.is_well(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stays_behind_is_slow_until_a_while_after_it_caught_up() {
        let mut health = Health::default();
        // Always a little behind, but always moving on.
        for tick in 0..100 {
            health.observe(tick, tick, tick + 5);
            assert!(!health.is_slow(tick));
        }
        for tick in 100..100 + SLOW_TICKS + 10 {
            health.observe(tick, 100, 200);
        }
        let tick = 100 + SLOW_TICKS + 10;
        assert!(health.is_slow(tick));
        health.observe(tick, 200, 200);
        assert!(health.is_slow(tick));
        assert!(!health.is_slow(tick + SLOW_AFTER_TICKS));
    }
}
