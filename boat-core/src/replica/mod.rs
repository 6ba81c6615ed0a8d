//! The replica: consensus as a function.
//!
//! [`Replica::step`] takes one [`Input`] and appends [`Output`]s. It owns no thread, no clock, no socket and no file; one
//! small driver thread owns it in production, the simulator in tests. Messages that promise durability are not an output
//! until the write they depend on was reported [`Input::Persisted`], so no caller can send them early.

mod change;
mod divergence;
mod election;
mod health;
mod interface;
mod leave;
mod members;
mod message;
mod operate;
mod operations;
mod outside;
mod pending;
mod persist;
mod poison;
mod reads;
mod recent;
mod recover;
mod reports;
mod request_map;
mod slog_bridge;
mod snapshots;
mod start;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft::ProgressState::Replicate;
use raft::{Progress, RawNode, StateRole};

pub(crate) use self::interface::Settled;
pub use self::interface::{Fatal, Input, Output};
use self::leave::Leaving;
use self::members::Joiner;
use self::operate::Proposed;
pub(crate) use self::operations::OPERATIONS_MAX;
pub use self::operations::OperationResult;
use self::operations::Operations;
pub(crate) use self::outside::OutsideView;
pub use self::pending::{Failure, RequestId};
use self::pending::{Pending, leader_node};
use self::persist::Held;
pub use self::reads::ReadId;
use self::reads::Reads;
pub(crate) use self::recover::alone;
pub use self::reports::Condition;
pub(crate) use self::request_map::RequestMap;
pub use self::snapshots::KeptSnapshot;
use self::snapshots::Transfers;
pub use self::start::{ReplicaConfig, ReplicaStart};
pub(crate) use self::store::FETCHES_MAX;
use self::store::Store;
use crate::log::{HardState, LogEntry};
use crate::transport::{Forward, ForwardRefusal, ForwardRefused, Join, PeerMessage};
use crate::{Member, Membership, NodeId, RaftId};

/// How many writes may be under way before nothing more is proposed.
const UNWRITTEN_MAX: usize = 64;
/// Room for what Raft counts of the membership changes of one term and does not count back: what it counts is not kept.
const CHANGES_BYTES: usize = 1 << 20;
/// How often a leader with a full disk tries to hand over, in ticks.
const HAND_OVER_AGAIN_TICKS: u64 = 100;

/// The consensus state machine of one node: a driven [`RawNode`] and everything that is decided beside it.
pub struct Replica {
    config: ReplicaConfig,
    raw: RawNode<Store>,
    membership: Membership,
    tick: u64,
    wall_ms: u64,
    rng: rand_chacha::ChaCha8Rng,
    /// When each incarnation was last heard from.
    heard: BTreeMap<RaftId, u64>,
    /// Nodes with which a handshake was completed since this start, and those connected now.
    greeted: BTreeSet<NodeId>,
    connected: BTreeSet<NodeId>,
    pending: Pending,
    reads: Reads,
    /// The leader and term that waiting requests were sent to.
    sent_to: (u64, u64),
    /// The last entry proposed here that may not be committed yet.
    in_flight_index: u64,
    held: VecDeque<Held>,
    next_mark: u64,
    written: HardState,
    committed: VecDeque<LogEntry>,
    /// Up to here entries were handed to the applier.
    handed: u64,
    /// See [`Replica::doubtful_index`].
    doubtful_index: Option<u64>,
    changing: Option<persist::Changing>,
    installing: Option<persist::Installing>,
    transfers: Transfers,
    commit_dirty_tick: Option<u64>,
    joiners: BTreeMap<RaftId, Joiner>,
    election: election::Election,
    leaving: Option<Leaving>,
    leave_tickets: u64,
    /// Who was told that it may leave, and until when it counts as gone.
    promised: BTreeMap<RaftId, u64>,
    /// Who asked whether it may leave: what was committed then, and until when that counts.
    wants_to_leave: BTreeMap<RaftId, (u64, u64)>,
    operations: Operations,
    proposed: Option<Proposed>,
    outside: Option<OutsideView>,
    /// When there was a leader last, or somebody inside the membership who answered while this incarnation was outside.
    hope_tick: u64,
    /// The voters that say that this incarnation was removed, each as of an entry.
    farewells: BTreeMap<RaftId, u64>,
    /// The entry as of which this incarnation is known to be removed.
    removed_at: Option<u64>,
    disk_full: bool,
    /// Nothing is proposed before this tick.
    propose_tick: u64,
    reports: reports::Reports,
    poison: poison::Poison,
    health: health::Health,
    divergence: divergence::Divergence,
}

impl Replica {
    /// A replica that goes on from `start`.
    ///
    /// # Errors
    /// [`Fatal`] when `start` or `config` contradict themselves.
    pub fn new(config: ReplicaConfig, start: ReplicaStart) -> Result<Self, Fatal> {
        use rand_chacha::rand_core::{RngCore, SeedableRng};
        let commit = start.hard_state.commit;
        let raft_config = raft::Config {
            id: config.own.raft_id.0,
            election_tick: config.election_ticks,
            // Unwell nodes wait for two to three times that.
            max_election_tick: 3 * config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied: commit,
            max_size_per_msg: config.command_bytes_max as u64,
            max_inflight_msgs: 64,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: (config.forwarded_bytes_max + config.command_bytes_max + CHANGES_BYTES)
                as u64,
            max_committed_size_per_ready: 4 * config.command_bytes_max as u64,
            ..raft::Config::default()
        };
        let membership = start.membership.clone();
        let hard_state = start.hard_state;
        let store = Store::new(start, config.recent_bytes_max, config.command_bytes_max);
        let raw = RawNode::new(&raft_config, store, &slog_bridge::logger())
            .map_err(|error| Fatal::Consensus(error.to_string()))?;
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(config.seed);
        let mut replica = Replica {
            pending: Pending::new(rng.next_u64()),
            reads: Reads::new(rng.next_u64()),
            rng,
            raw,
            membership,
            tick: 0,
            wall_ms: 0,
            heard: BTreeMap::new(),
            greeted: BTreeSet::new(),
            connected: BTreeSet::new(),
            sent_to: (0, 0),
            in_flight_index: 0,
            held: VecDeque::new(),
            next_mark: 1,
            written: hard_state,
            committed: VecDeque::new(),
            handed: commit,
            doubtful_index: None,
            changing: None,
            installing: None,
            transfers: Transfers::default(),
            commit_dirty_tick: None,
            joiners: BTreeMap::new(),
            election: election::Election::default(),
            leaving: None,
            leave_tickets: 0,
            promised: BTreeMap::new(),
            wants_to_leave: BTreeMap::new(),
            operations: Operations::new(config.seed),
            proposed: None,
            outside: None,
            hope_tick: 0,
            farewells: BTreeMap::new(),
            removed_at: None,
            disk_full: false,
            propose_tick: 0,
            reports: reports::Reports::default(),
            poison: poison::Poison::default(),
            health: health::Health::default(),
            divergence: divergence::Divergence::default(),
            config,
        };
        replica.doubt_up_to(replica.last_index());
        replica.draw_election_timeout();
        Ok(replica)
    }

    /// Takes one input, at this wall clock (milliseconds since the Unix epoch), and appends what is to be done.
    ///
    /// # Errors
    /// [`Fatal`]: the node must stop. Outputs appended before it still hold.
    pub fn step(&mut self, wall_ms: u64, input: Input, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        self.wall_ms = wall_ms;
        match input {
            Input::Tick => self.on_tick(outputs),
            Input::Peer { from, from_raft_id, message } => {
                self.on_peer(from, from_raft_id, message, outputs)?;
            }
            Input::Connected(node) => {
                self.greeted.insert(node);
                self.connected.insert(node);
                // A peer that lost its disk, or was down for long, may know where nobody is any more.
                outputs.push(Output::Send { to: node, message: self.join_message() });
            }
            Input::Disconnected { node, refused } => self.on_disconnected(node, refused),
            Input::Propose { id, encoded, within_ticks, leader_within_ticks } => {
                let deadline = self.tick.saturating_add(within_ticks);
                let leader_deadline = self.tick.saturating_add(leader_within_ticks);
                self.pending.accept(id, encoded, deadline, leader_deadline);
            }
            Input::Read { id, within_ticks, leader_within_ticks } => {
                self.on_read(id, within_ticks, leader_within_ticks);
            }
            Input::Persisted(mark) => self.on_persisted(mark, outputs)?,
            Input::Answered(ids) => self.answered(&ids),
            Input::Fetched { low, entries } => self.on_fetched(low, entries),
            Input::SnapshotTaken { newest, cut_to } => self.on_snapshot_taken(*newest, cut_to, outputs),
            Input::SnapshotRead { to, snapshot, offset, bytes } => {
                self.on_snapshot_read(to, snapshot, offset, bytes, outputs);
            }
            Input::SnapshotWritten { snapshot, bytes } => self.on_snapshot_written(snapshot, bytes, outputs),
            Input::SnapshotFinished { snapshot, kept } => {
                self.on_snapshot_finished(snapshot, kept.map(|kept| *kept), outputs);
            }
            Input::MayLeave { within_ticks } => self.on_may_leave(within_ticks, outputs),
            Input::Operate { token, operation, within_ticks } => {
                self.on_change_members(token, operation, within_ticks, outputs);
            }
            Input::DiskFull(full) => {
                self.disk_full = full;
                self.leave_full_disk();
            }
            Input::Condition(condition) => self.on_condition(*condition),
            Input::Force { position, within_ticks } => self.on_force(position, within_ticks),
            Input::HandOver => {
                self.hand_over();
            }
        }
        Ok(())
    }

    /// Sends and proposes what waits, and takes out what Raft has ready. Called by the driver once for all inputs that had
    /// gathered, so that requests that came together travel together.
    ///
    /// # Errors
    /// See [`Replica::step`].
    pub fn flush(&mut self, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        self.draw_election_timeout();
        self.follow_leader();
        self.send_pending(outputs);
        if !self.operations.is_empty() {
            self.tick_operations(outputs);
        }
        self.ask_for_reads();
        self.take_ready(outputs)?;
        // Reads that came while a question was under way wait for its answer to ask their own.
        if self.ask_for_reads() {
            self.take_ready(outputs)?;
        }
        self.draw_election_timeout();
        for (low, high, bytes_max) in self.raw.raft.mut_store().take_wanted() {
            outputs.push(Output::Fetch { low, high, bytes_max });
        }
        let keep_above = self.handed.min(self.raw.raft.raft_log.persisted);
        self.raw.raft.mut_store().trim(keep_above);
        Ok(())
    }

    fn on_tick(&mut self, outputs: &mut Vec<Output>) {
        self.tick += 1;
        if self.may_campaign() {
            self.raw.tick();
            self.campaign_early();
        }
        let has_leader = self.leader().is_some();
        if has_leader {
            self.hope_tick = self.tick;
        }
        let waits_in_vain = self.waits_in_vain();
        for (id, failure) in self.pending.overdue(self.tick, has_leader, waits_in_vain) {
            outputs.push(Output::Failed { id, failure });
        }
        self.fail_late_reads(outputs);
        self.write_late_commit(outputs);
        self.ask_to_join(outputs);
        self.change_members();
        self.tick_transfers(outputs);
        self.forget_promises();
        self.tick_leaving(outputs);
        self.tick_reports(outputs);
        if self.tick.is_multiple_of(HAND_OVER_AGAIN_TICKS) {
            self.leave_full_disk();
        }
    }

    /// A leader that may not write hands over: a majority elsewhere may have space.
    fn leave_full_disk(&mut self) {
        if self.disk_full {
            self.hand_over();
        }
    }

    fn on_peer(
        &mut self,
        from: NodeId,
        from_raft_id: Option<RaftId>,
        message: PeerMessage,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Fatal> {
        match message {
            PeerMessage::Consensus(message) => return self.on_consensus(from_raft_id, *message, outputs),
            PeerMessage::Forward(forward) => self.on_forward(from, forward, outputs),
            PeerMessage::ForwardRefused(ForwardRefused { ticket, reason }) => {
                if let Some((id, failure)) = self.pending.refused(ticket, reason) {
                    outputs.push(Output::Failed { id, failure });
                }
            }
            PeerMessage::Join(join) => self.on_join(from, from_raft_id, join, outputs),
            PeerMessage::Outside(outside) => {
                return self.on_outside(from_raft_id, *outside, outputs);
            }
            PeerMessage::Members(said) => self.on_members(*said, outputs),
            PeerMessage::Operate(operate) => self.on_operate(from, *operate, outputs),
            PeerMessage::OperateAnswer(answer) => self.on_operate_answer(*answer, outputs),
            PeerMessage::LeaveQuestion { raft_id, ticket } => {
                if from_raft_id == Some(raft_id) {
                    self.on_leave_question(from, raft_id, ticket, outputs);
                }
            }
            PeerMessage::LeaveAnswer { ticket, allowed } => {
                self.on_leave_answer(from, ticket, allowed, outputs);
            }
            PeerMessage::SnapshotOffer(offer) => self.on_snapshot_offer(from_raft_id, offer, outputs),
            PeerMessage::SnapshotAnswer(answer) => self.on_snapshot_answer(from_raft_id, &answer, outputs),
            PeerMessage::SnapshotPiece(piece) => self.on_snapshot_piece(from_raft_id, piece, outputs),
            // Introductions are answered by the driver, which knows the genesis; refusals come as events.
            PeerMessage::Introduction(_) | PeerMessage::Refused(_) => {}
            PeerMessage::Report(report) => self.on_report(from_raft_id, *report, outputs),
        }
        Ok(())
    }

    fn on_forward(&mut self, from: NodeId, forward: Forward, outputs: &mut Vec<Output>) {
        let Forward { ticket, request } = forward;
        if !self.pending.is_fresh(from, ticket) {
            return;
        }
        let sound = crate::Request::decode(&request).is_ok();
        let bytes_max = self.config.forwarded_bytes_max;
        let reason = if !self.is_leader() || !sound {
            ForwardRefusal::NotLeader
        } else if self.disk_full {
            ForwardRefusal::DiskFull
        } else if self.pending.accept_forwarded(request, bytes_max) {
            return;
        } else {
            ForwardRefusal::Overloaded
        };
        let refused = ForwardRefused { ticket, reason };
        outputs.push(Output::Send { to: from, message: PeerMessage::ForwardRefused(refused) });
    }

    /// After a change of leader or term, everything that waits is sent again: what was sent may be lost.
    fn follow_leader(&mut self) {
        let now = (self.raw.raft.leader_id, self.raw.raft.term);
        if now != self.sent_to {
            self.sent_to = now;
            self.in_flight_index = 0;
            self.pending.send_all_again();
            if !self.is_leader() {
                self.pending.drop_forwarded();
            }
        }
    }

    fn send_pending(&mut self, outputs: &mut Vec<Output>) {
        if !self.pending.has_idle() {
            return;
        }
        if self.is_leader() {
            self.propose_pending();
        } else if let Some(leader) = self.leader() {
            for (ticket, request) in self.pending.take_to_forward(self.tick) {
                let message = PeerMessage::Forward(Forward { ticket, request });
                outputs.push(Output::Send { to: leader, message });
            }
        }
    }

    /// Packs what waits into one entry. One is in flight at a time: what comes meanwhile travels in the next, so batches
    /// grow with load (performance.md: +22 % at 64 connections against no limit).
    fn propose_pending(&mut self) {
        let raft = &self.raw.raft;
        // A disk that hangs holds back no more than this: what waits beyond it fails in time.
        if self.held.len() >= UNWRITTEN_MAX || self.tick < self.propose_tick {
            return;
        }
        // Before the term's first commit an answer could not be had anyway, and a transfer would drop the proposal.
        if raft.lead_transferee.is_some() || self.in_flight_index > raft.raft_log.committed {
            return;
        }
        use rand_chacha::rand_core::RngCore;
        let Some(packed) = self.pending.take_to_propose(self.config.command_bytes_max) else { return };
        let command = packed.to_command(self.wall_ms, self.rng.next_u64());
        let message = message::proposal(self.config.own.raft_id, command.into());
        match self.raw.raft.step(message) {
            Ok(()) => self.in_flight_index = self.raw.raft.raft_log.last_index(),
            // Too much is uncommitted: tried again with the next tick, until its time is over.
            Err(error) => {
                log::debug!("proposal dropped: {error}");
                self.propose_tick = self.tick + 1;
                self.pending.send_all_again();
            }
        }
    }

    fn on_fetched(&mut self, low: u64, entries: Vec<LogEntry>) {
        if let Some(context) = self.raw.raft.mut_store().arrive(low, entries) {
            self.raw.on_entries_fetched(context);
            self.raw.raft.mut_store().forget_arrived();
        }
    }

    /// Requests of this node were applied: what [`Input::Answered`] says, of a list that is kept.
    pub(crate) fn answered(&mut self, ids: &[RequestId]) {
        ids.iter().for_each(|id| self.pending.answered(id));
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The node that leads, as far as this replica knows.
    pub fn leader(&self) -> Option<NodeId> {
        leader_node(self.raw.raft.leader_id)
    }

    /// The latest term seen.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The highest index known to be committed.
    pub fn commit(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Whether an entry proposed here is not committed yet: what is proposed now waits for it.
    pub fn has_entry_in_flight(&self) -> bool {
        self.is_leader() && self.in_flight_index > self.commit()
    }

    /// What a leader has committed, in which term, if leadership stays here and every follower that is connected is sent entries as they
    /// come. That one has just that, too, changes nothing then which could not wait for the next event, or the next tick.
    pub(crate) fn settled(&self) -> Option<Settled> {
        let raft = &self.raw.raft;
        // Whoever is sent one message at a time, or has as many on the way as may be, waits for his answer to be looked at.
        let flows = |(id, progress): (&u64, &Progress)| {
            let is_sent_entries = progress.state == Replicate && !progress.is_paused();
            *id == raft.id || is_sent_entries || !self.connected.contains(&RaftId(*id).node())
        };
        let settled = self.is_leader() && raft.lead_transferee.is_none() && raft.prs().iter().all(flows);
        settled.then_some(Settled { term: raft.term, index: raft.raft_log.committed })
    }

    /// Whether a leader's writes that are under way, once they are durable, commit nothing yet and let nothing go on: it takes others
    /// for that.
    pub(crate) fn waits_for_others(&self) -> bool {
        let raft = &self.raw.raft;
        let only_entries = self.changing.is_none()
            && self.installing.is_none()
            && self.held.len() < UNWRITTEN_MAX / 2
            && self.held.iter().all(Held::is_plain);
        let (committed, persisted) = (raft.raft_log.committed, raft.raft_log.persisted);
        let has_next = |id: RaftId| {
            id.0 == raft.id || raft.prs().get(id.0).is_some_and(|progress| progress.matched > committed)
        };
        // What others have committed before it was durable here is handed over once it is.
        self.is_leader() && only_entries && persisted >= committed && !self.membership.has_majority(has_next)
    }

    /// An index behind which nothing is missing: the commit, once it lies in the current leader's own term.
    pub fn caught_up_index(&self) -> Option<u64> {
        let reached = self.leader().is_some() && self.is_member() && self.raw.raft.commit_to_current_term();
        reached.then_some(self.commit())
    }

    /// The last entry's index.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// The first entry that the log holds, or the one to come where it is empty.
    pub fn first_index(&self) -> u64 {
        self.raw.raft.raft_log.first_index()
    }

    /// The term of an entry, from the one before the first on.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        // Raft itself gives 0 for what it does not have.
        let there = (self.first_index() - 1..=self.last_index()).contains(&index);
        if there { self.raw.raft.raft_log.term(index).ok() } else { None }
    }

    /// The membership as of the last entry handed over.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether this incarnation is in the membership, with or without a vote.
    pub fn is_member(&self) -> bool {
        self.membership.members.contains_key(&self.config.own.raft_id)
    }

    /// Up to this entry requests may have been answered by an earlier process or incarnation of this node; `None` outside the
    /// membership, where nothing is applied. Not the commit that the log told of when it was opened: whatever was applied was
    /// durable, but that it was committed need not have been.
    pub fn doubtful_index(&self) -> Option<u64> {
        self.doubtful_index
    }

    /// This incarnation may have become a member as of this entry, or was one when its log ended with it.
    pub(super) fn doubt_up_to(&mut self, index: u64) {
        if self.is_member() {
            self.doubtful_index.get_or_insert(index);
        }
    }

    /// Nodes that are connected now.
    pub fn connected(&self) -> &BTreeSet<NodeId> {
        &self.connected
    }

    /// How many requests of this node wait.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Gives up everything that waits, at the end.
    pub fn abandon(&mut self, outputs: &mut Vec<Output>) {
        for (id, failure) in self.pending.drain() {
            outputs.push(Output::Failed { id, failure });
        }
        self.abandon_operations(outputs);
        self.abandon_reads(outputs);
    }

    fn join_message(&self) -> PeerMessage {
        let Member { raft_id, birth, address } = self.config.own.clone();
        PeerMessage::Join(Join { raft_id, birth, address })
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("raft_id", &self.config.own.raft_id)
            .field("term", &self.term())
            .field("leader", &self.leader())
            .field("commit", &self.commit())
            .field("last_index", &self.last_index())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
