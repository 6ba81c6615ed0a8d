//! When to campaign, and when not to.

use std::collections::BTreeMap;

use raft::StateRole;
use xxhash_rust::xxh3::xxh3_64;

use super::message::{check, of_peer};
use super::{Fatal, Output, Replica};
use crate::transport::{ConsensusKind, ConsensusMessage};
use crate::{NodeId, RaftId};

/// How many ticks after a campaign that found no majority the next early one may start.
const EARLY_CAMPAIGN_AGAIN_TICKS: u64 = 5;

/// What decides about campaigns, besides Raft.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// Which draw of the election timeout this is; one for each campaign and each term.
    attempt: u64,
    drawn_for: Option<(u64, StateRole, bool)>,
    timeout_ticks: usize,
    /// When to campaign because the leader's process is gone.
    early_tick: Option<u64>,
    /// When each peer's connection ended, with nothing heard since.
    gone: BTreeMap<NodeId, u64>,
}

impl Replica {
    /// Raft draws election timeouts from a generator of the thread's. They are inputs here: each is a hash of seed, node,
    /// term and attempt, set again after every step that may have reset it.
    pub(super) fn draw_election_timeout(&mut self) {
        let is_last = self.campaigns_last();
        let raft = &mut self.raw.raft;
        let now = (raft.term, raft.state, is_last);
        if self.election.drawn_for != Some(now) {
            self.election.drawn_for = Some(now);
            self.election.attempt += 1;
            let mut bytes = Vec::with_capacity(32);
            for word in [self.config.seed, self.config.own.raft_id.0, raft.term, self.election.attempt] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            let span = self.config.election_ticks as u64;
            let extra = xxh3_64(&bytes) % span.max(1);
            let base = if is_last { 2 } else { 1 } * self.config.election_ticks;
            self.election.timeout_ticks = base + extra as usize;
        }
        if raft.randomized_election_timeout() != self.election.timeout_ticks {
            raft.set_randomized_election_timeout(self.election.timeout_ticks);
        }
    }

    /// A node takes part in elections only after handshakes with a majority: one of them would have told it that a later
    /// start of its directory was seen (design D13).
    pub(super) fn may_take_part(&self) -> bool {
        // A former incarnation of this node will never be met.
        let own = self.config.own.raft_id.node();
        self.membership.has_majority(|id| id.node() == own || self.greeted.contains(&id.node()))
    }

    /// Whether an election may begin here. Not while a snapshot is on its way to the disk: Raft looks for membership changes
    /// behind the last entry that was applied, and panics where that is gone from the log. And not where this is the only
    /// voter and entries are on their way: it would lead at once, and Raft panics where a leader's log is not durable.
    pub(super) fn may_campaign(&self) -> bool {
        let alone = self.membership.voters.len() == 1 && self.membership.voters_outgoing.is_empty();
        let is_durable = self.raw.raft.raft_log.persisted == self.last_index();
        // A leader's clock must not stop.
        let may_lead = self.is_leader() || !alone || is_durable;
        self.installing.is_none() && may_lead && self.may_take_part()
    }

    pub(super) fn on_disconnected(&mut self, node: NodeId, refused: bool) {
        self.connected.remove(&node);
        if !refused {
            self.election.gone.insert(node, self.tick);
            return;
        }
        // Nobody listens at the leader's address, its connection ended, and nothing came since: its process is gone. The
        // lease of its last heartbeat is void, and the voters campaign one after the other instead of all at once.
        let quiet = self.election.gone.remove(&node).is_some();
        if quiet && self.leader() == Some(node) && !self.is_leader() && self.raw.raft.promotable() {
            self.raw.raft.leader_id = raft::INVALID_ID;
            self.election.early_tick = Some(self.tick + self.rank_without(node));
        }
    }

    /// How many other voters campaign before this one when `gone` leads no more: all, for one that is unwell.
    fn rank_without(&self, gone: NodeId) -> u64 {
        let voters = self.membership.voters.iter().filter(|id| id.node() != gone);
        let before = voters.take_while(|id| **id != self.config.own.raft_id).count();
        let all = if self.campaigns_last() { self.membership.voters.len() } else { 0 };
        (all + before) as u64
    }

    pub(super) fn campaign_early(&mut self) {
        let Some(at) = self.election.early_tick else { return };
        if self.leader().is_some() {
            self.election.early_tick = None;
        } else if self.tick >= at && self.raw.raft.promotable() {
            self.election.early_tick =
                Some(self.tick + EARLY_CAMPAIGN_AGAIN_TICKS + self.rank_without(NodeId(u16::MAX)));
            if let Err(error) = self.raw.campaign() {
                log::debug!("campaign: {error}");
            }
        }
    }

    pub(super) fn on_consensus(
        &mut self,
        from: Option<RaftId>,
        message: ConsensusMessage,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        if let Err(unsound) = check(&message, from, self.config.own.raft_id) {
            log::debug!("dropped a {:?} of {}: {unsound}", message.kind, message.from);
            return Ok(());
        }
        if self.ignores(&message, outputs) {
            return Ok(());
        }
        if matches!(message.kind, ConsensusKind::Append | ConsensusKind::Heartbeat) {
            // A leader takes it for a member.
            self.outside = None;
        }
        self.heard.insert(message.from, self.tick);
        self.election.gone.remove(&message.from.node());
        let has_leave = match message.kind {
            ConsensusKind::RequestVote | ConsensusKind::RequestPreVote => self.may_take_part(),
            ConsensusKind::TimeoutNow => self.may_campaign(),
            _ => true,
        };
        if !has_leave {
            return Ok(());
        }
        self.check_against_commit(&message)?;
        if let Err(error) = self.raw.step(of_peer(message)) {
            log::debug!("message not taken: {error}");
        }
        Ok(())
    }

    /// Raft panics where a message contradicts what is committed here; both mean that a disk forgot something.
    fn check_against_commit(&self, message: &ConsensusMessage) -> Result<(), Fatal> {
        if message.term < self.term() {
            return Ok(());
        }
        let last_index = self.last_index();
        if message.kind == ConsensusKind::Heartbeat && message.commit > last_index {
            return Err(Fatal::WentBack { commit: message.commit, last_index });
        }
        if message.kind == ConsensusKind::Append && message.index >= self.commit() {
            return Ok(());
        }
        for entry in message.entries.iter().take_while(|entry| entry.index <= self.commit()) {
            match self.term_at(entry.index) {
                Some(committed_term) if committed_term != entry.term => {
                    let (index, sent_term) = (entry.index, entry.term);
                    return Err(Fatal::CommittedConflict { index, committed_term, sent_term });
                }
                _ => {}
            }
        }
        Ok(())
    }
}
