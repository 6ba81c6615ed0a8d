//! One node's process: a replica, and an applier with its model behind it.

use std::collections::{BTreeMap, VecDeque};

use boat_core::apply::{Applied, Applier, Batch, SessionLimits};
use boat_core::log::LogWrite;
use boat_core::proof::Addresses;
use boat_core::quarantine::{Quarantine, Run};
use boat_core::replica::{Condition, Replica, ReplicaConfig, ReplicaStart, RequestId};
use boat_core::transport::{Ailment, Ailments, Report};
use boat_core::{Call, CallOutcome, Member, NodeId, Origin};

use super::disk::{Disk, Saved};
use super::model::{Memory, crashes};

/// What election timeouts are drawn from.
const SEED: u64 = 5;
/// Snapshots travel in pieces of so many bytes.
const PIECE_BYTES: usize = 400;

/// What a scenario makes small.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// The bytes of requests packed into one entry.
    pub(crate) command_bytes: usize,
    /// The bytes of recent entries kept in memory.
    pub(crate) recent_bytes: usize,
}

/// One thing that applying came to.
pub(crate) enum Step {
    Applied(RequestId, Applied),
    Crashed(u64),
    Held(u64),
}

/// A write of which the disk knows nothing yet.
pub(crate) struct Unwritten {
    pub(crate) mark: u64,
    pub(crate) write: Box<LogWrite>,
    pub(crate) sync: bool,
}

pub(crate) struct Node {
    pub(crate) own: Member,
    pub(crate) replica: Replica,
    pub(crate) applier: Applier,
    pub(crate) model: Memory,
    pub(crate) quarantine: Quarantine,
    pub(crate) committed: u64,
    pub(crate) is_held: bool,
    /// Whether the model takes no more requests for now.
    pub(crate) is_busy: bool,
    /// How often the model began anew.
    pub(crate) life: u64,
    pub(crate) hangs: bool,
    /// Whether it will stand still when it verifies a snapshot.
    pub(crate) pauses_verifying: bool,
    /// What was not written because the disk hangs.
    pub(crate) unwritten: VecDeque<Unwritten>,
    /// How often each request has crashed the model.
    crashes: BTreeMap<u64, u32>,
    /// Where it dials the others, if that matters in this scenario.
    pub(crate) addresses: Option<Addresses>,
    /// Who waits here for what, by the name that the scenario gave it.
    pub(crate) waiting: BTreeMap<RequestId, String>,
}

impl Node {
    /// A process on what was found on its disk.
    pub(crate) fn start(own: Member, disk: &Disk, from: ReplicaStart, limits: Option<Limits>) -> Node {
        let mut config =
            ReplicaConfig { snapshot_piece_bytes: PIECE_BYTES, ..ReplicaConfig::new(own.clone(), SEED) };
        if let Some(Limits { command_bytes, recent_bytes }) = limits {
            (config.command_bytes_max, config.recent_bytes_max) = (command_bytes, recent_bytes);
        }
        let committed = from.hard_state.commit;
        let mut replica = Replica::new(config, from).unwrap();
        let quarantine = disk.quarantine();
        replica.restore_decisions(quarantine.decisions().clone());
        let mut node = Node {
            own,
            replica,
            applier: Applier::new(SessionLimits::default()),
            model: Memory::default(),
            quarantine,
            committed,
            is_held: false,
            is_busy: false,
            life: 1,
            hangs: false,
            pauses_verifying: false,
            unwritten: VecDeque::new(),
            crashes: BTreeMap::new(),
            addresses: None,
            waiting: BTreeMap::new(),
        };
        disk.saved().into_iter().for_each(|saved| node.restore(saved));
        node.open();
        node
    }

    /// Once the node is a member: what lies behind some entry was never answered by an earlier process or incarnation.
    pub(crate) fn open(&mut self) {
        if let Some(index) = self.replica.doubtful_index() {
            self.quarantine.doubt_up_to(index);
            self.quarantine.reached(self.applier.index());
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.own.raft_id.node()
    }

    /// Goes on from a snapshot.
    pub(crate) fn restore(&mut self, saved: Saved) {
        self.quarantine.restored(saved.applier.position());
        (self.applier, self.model) = (saved.applier, saved.model);
        self.committed = self.committed.max(self.applier.index());
    }

    /// The model has lost its state.
    pub(crate) fn reset(&mut self, saved: Option<Saved>) {
        self.life += 1;
        self.quarantine.fresh();
        (self.applier, self.model) = (Applier::new(SessionLimits::default()), Memory::default());
        self.is_held = false;
        saved.into_iter().for_each(|saved| self.restore(saved));
    }

    pub(crate) fn condition(&self) -> Condition {
        let (position, passed) = (self.applier.position(), self.quarantine.passed());
        let ailments =
            Ailments::NONE.with(Ailment::Rebuilding, position < passed).with(Ailment::Holding, self.is_held);
        let report = Report {
            ailments,
            position,
            passed,
            decided_index: self.quarantine.decisions().index(),
            checkpoints: self.applier.checkpoints().latest(),
            holds: self.quarantine.holds(),
            ..Report::default()
        };
        let (index, life) = (self.applier.index(), self.life);
        Condition { report, index, life, remembered: self.applier.checkpoints().all() }
    }

    /// Applies the next entry, as far as the model goes along; `None` when there is nothing to apply.
    pub(crate) fn apply(&mut self, disk: &Disk) -> Option<Vec<Step>> {
        let is_open = self.replica.is_member() && !self.is_held && !self.is_busy;
        let next = self.applier.index() + 1;
        let entry = disk.entry(next).filter(|_| is_open && next <= self.committed)?;
        let before = self.applier.clone();
        let mut batch = Batch::default();
        self.applier.admit(&mut batch, &entry).unwrap();
        let outcomes = match self.predict(&batch) {
            Ok(outcomes) => outcomes,
            Err(step) => {
                self.applier = before;
                return Some(vec![step]);
            }
        };
        let mut steps = Vec::new();
        let answer = |origin: &Origin, hash, applied: &Applied| {
            steps.push(Step::Applied(RequestId::of(origin, hash), applied.clone()));
        };
        self.applier.complete(&mut batch, outcomes, answer);
        self.quarantine.reached(self.applier.index());
        Some(steps)
    }

    fn predict(&mut self, batch: &Batch) -> Result<Vec<CallOutcome>, Step> {
        let mut outcomes = Vec::new();
        while let Some(calls) = batch.calls.get(outcomes.len()..).filter(|calls| !calls.is_empty()) {
            let count = match self.quarantine.begin(calls) {
                Run::Calls(count) => count,
                Run::Quarantined => {
                    outcomes.push(CallOutcome::Quarantined);
                    continue;
                }
                Run::Held => {
                    self.is_held = true;
                    return Err(Step::Held(calls[0].position));
                }
            };
            let calls = &calls[..count];
            let crashed = |call: &&Call| self.crashes.get(&call.position).copied().unwrap_or_default();
            if let Some(call) = calls.iter().find(|call| crashed(call) < crashes(call, self.id())) {
                *self.crashes.entry(call.position).or_default() += 1;
                self.quarantine.lost(calls, false);
                return Err(Step::Crashed(call.position));
            }
            outcomes.extend(calls.iter().map(|call| CallOutcome::Output(self.model.predict(call))));
            self.quarantine.ended(calls);
        }
        Ok(outcomes)
    }
}
