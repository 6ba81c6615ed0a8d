//! What the applier's thread does in production: pulls committed entries, from memory or from the log, and runs them
//! through the model.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use super::Mutant;
use super::check::{Checker, Shadow, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::model::{Models, Poison, Served};
use super::writer;
use crate::apply::{Applied, Applier, Batch, SessionLimits};
use crate::log::{LogEntry, LogError, LogReader};
use crate::quarantine::{Decisions, Quarantine, Run};
use crate::replica::{Condition, RequestId};
use crate::snapshot::{Kept, SnapshotStore};
use crate::transport::{Ailment, Ailments, Report};
use crate::{Call, CallOutcome, Command, NodeId, Origin};

/// How many entries wait in memory, at most. A slower applier reads them from the log.
const FEED_ENTRIES_MAX: usize = 16;
/// How many bytes are read from the log at once, about.
const READ_BYTES_MAX: u64 = 16 << 10;
/// How many of the crashes are calls that never end.
const HANGS_PER_MILLE: u32 = 300;

/// What ails a backend, for a while.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trouble {
    /// Until when it does not answer.
    pub(super) down_until_ms: u64,
    /// Until when it is slow.
    pub(super) slow_until_ms: u64,
}

/// What a helping came to.
#[derive(Debug, Default)]
pub(super) struct Helping {
    /// What became of each request.
    pub(super) answers: Vec<(RequestId, Applied)>,
    /// There is a new hold, to be kept on disk.
    pub(super) holds: bool,
}

/// The applier and its model.
#[derive(Debug)]
pub(super) struct Replay {
    node: NodeId,
    limits: SessionLimits,
    pub(super) applier: Applier,
    models: Rc<dyn Models>,
    model: Box<dyn Served>,
    shadow: Shadow,
    feed: VecDeque<LogEntry>,
    pub(super) committed: u64,
    /// Whether the next helping is in the queue of events.
    pub(super) scheduled: bool,
    /// For a mutant: entries up to here are skipped.
    skipped: u64,
    /// The model began anew, and no snapshot was looked for yet.
    pub(super) is_fresh: bool,
    pub(super) quarantine: Quarantine,
    /// Nothing is applied before this node is a member: it has heard of all decisions by then.
    pub(super) is_open: bool,
    /// How often the model began anew.
    pub(super) life: u64,
    /// The model has gone another way than its peers, and an outcome shows it.
    pub(super) is_tainted: bool,
    will_be_tainted: bool,
    /// The request that comes next is held.
    pub(super) is_held: bool,
    pub(super) trouble: Trouble,
    batch: Batch,
    commands: Vec<Command>,
    done: Vec<CallOutcome>,
}

impl Replay {
    /// A fresh applier for a log that is committed up to here.
    pub(super) fn new(
        models: Rc<dyn Models>,
        node: NodeId,
        limits: SessionLimits,
        committed: u64,
        quarantine: Quarantine,
    ) -> Self {
        Replay {
            node,
            limits,
            applier: Applier::new(limits),
            model: models.fresh(),
            models,
            shadow: Shadow::default(),
            feed: VecDeque::new(),
            committed,
            scheduled: false,
            skipped: 0,
            is_fresh: true,
            quarantine,
            is_open: false,
            life: 1,
            is_tainted: false,
            will_be_tainted: false,
            is_held: false,
            trouble: Trouble::default(),
            batch: Batch::default(),
            commands: Vec::new(),
            done: Vec::new(),
        }
    }

    /// The entry that is applied next.
    pub(super) fn next_index(&self) -> u64 {
        self.applier.index().max(self.skipped) + 1
    }

    /// What this applier should do, worked out beside it.
    pub(super) fn shadow(&self) -> &Shadow {
        &self.shadow
    }

    /// Goes on from the newest snapshot that is of use, if there is one.
    pub(super) fn restore(
        &mut self,
        context: &mut Context,
        checker: &Checker,
        store: &SnapshotStore,
    ) -> Result<(), writer::Trouble> {
        self.is_fresh = false;
        let decisions = self.quarantine.decisions();
        let agrees = |kept: &Kept| decisions.agree(&kept.about.decisions, kept.about.position);
        let kept: Vec<Kept> = store.kept().into_iter().filter(agrees).collect();
        let accepts_old = context.options.mutant == Some(Mutant::AcceptOldSnapshot);
        let (Some(newest), Some(oldest)) = (kept.first(), kept.last()) else { return Ok(()) };
        let taken = if accepts_old { oldest } else { newest };
        let (applier, model) = store.reader(taken.name.index)?.states(self.limits)?;
        self.applier = applier;
        self.keep_model(&model)?;
        self.shadow = checker.frozen_at(newest.name.index).unwrap_or_default();
        self.skipped = newest.name.index;
        self.quarantine.restored(self.applier.position());
        context.count(Fault::SnapshotRestored);
        let (node, position) = (self.node, self.applier.position());
        context.note(position, || format!("node {node} goes on from a snapshot as of position {position}"));
        Ok(())
    }

    /// The backend has lost its state: everything is applied again.
    pub(super) fn reset(&mut self) {
        let mut quarantine = std::mem::take(&mut self.quarantine);
        quarantine.fresh();
        *self = Replay {
            scheduled: self.scheduled,
            is_open: self.is_open,
            life: self.life + 1,
            trouble: self.trouble,
            ..Replay::new(self.models.clone(), self.node, self.limits, self.committed, quarantine)
        };
    }

    /// The node is a member, if what lies behind some entry was never answered by an earlier process or incarnation.
    pub(super) fn open(&mut self, doubtful_index: Option<u64>) {
        if let Some(index) = doubtful_index.filter(|_| !std::mem::replace(&mut self.is_open, true)) {
            self.quarantine.doubt_up_to(index);
            self.quarantine.reached(self.applier.index());
        }
    }

    /// The model goes another way than its peers from the next request on.
    pub(super) fn taint(&mut self) {
        self.will_be_tainted = true;
    }

    /// Whether the model has gone another way than its peers, or is about to.
    pub(super) fn is_or_will_be_tainted(&self) -> bool {
        self.is_tainted || self.will_be_tainted
    }

    /// The log has decided something.
    pub(super) fn decided(&mut self, decisions: Decisions) {
        self.quarantine.decided(decisions);
        self.is_held = false;
        if self.quarantine.is_outdated() {
            self.reset();
        }
    }

    /// Goes on with the model whose state this is.
    pub(super) fn keep_model(&mut self, state: &[u8]) -> Checked {
        let invariant = "a model reads what it wrote";
        let what = |why| format!("node {}: {why}", self.node);
        self.model = self.models.restored(state).map_err(|why| Violation { invariant, what: what(why) })?;
        Ok(())
    }

    pub(super) fn model(&self) -> &dyn Served {
        &*self.model
    }

    /// Committed entries arrive.
    pub(super) fn push(&mut self, entries: Vec<LogEntry>) {
        self.committed = entries.last().map_or(self.committed, |entry| entry.index);
        self.feed.extend(entries);
        if self.feed.len() > FEED_ENTRIES_MAX {
            self.feed.clear();
        }
    }

    /// Whether the model has run a part of a batch.
    pub(super) fn is_midway(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether there is something to apply.
    pub(super) fn is_behind(&self) -> bool {
        self.is_open && !self.is_held && self.applier.index() < self.committed
    }

    /// Whether the model is not yet again where it was before.
    pub(super) fn is_replaying(&self) -> bool {
        self.applier.position() < self.quarantine.passed()
    }

    /// How this node is.
    pub(super) fn condition(&self, now_ms: u64) -> Condition {
        let is_down = now_ms < self.trouble.down_until_ms;
        let position = self.applier.position();
        let passed = self.quarantine.passed();
        let ailments = Ailments::NONE
            .with(Ailment::BackendUnavailable, is_down)
            .with(Ailment::Rebuilding, self.is_replaying())
            .with(Ailment::Holding, self.is_held);
        let checkpoints = self.applier.checkpoints();
        let report = Report {
            ailments,
            position,
            passed,
            decided_index: self.quarantine.decisions().index(),
            checkpoints: checkpoints.latest(),
            holds: self.quarantine.holds(),
            asks: None,
            forces: None,
        };
        let index = self.applier.index();
        Condition { index, report, life: self.life, remembered: checkpoints.all() }
    }

    /// Applies some entries, as far as the model goes along.
    pub(super) fn run(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        reader: &LogReader,
        clock_ms: u64,
    ) -> Result<Helping, writer::Trouble> {
        if context.now_ms < self.trouble.down_until_ms {
            return Ok(Helping::default());
        }
        if self.batch.is_empty() {
            self.admit(context, checker, reader)?;
        }
        if let Some(holds) = self.predict(context, clock_ms) {
            self.reset();
            return Ok(Helping { answers: Vec::new(), holds });
        }
        if self.is_held {
            return Ok(Helping::default());
        }
        let mut answers = Vec::new();
        let outcomes = std::mem::take(&mut self.done);
        self.applier.complete(&mut self.batch, outcomes, |_, _, applied| answers.push(applied.clone()));
        self.quarantine.reached(self.applier.index());
        let commands = std::mem::take(&mut self.commands);
        let answers = self.check(checker, commands, answers)?;
        Ok(Helping { answers, holds: false })
    }

    /// Takes the next entries into the batch.
    fn admit(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        reader: &LogReader,
    ) -> Result<(), writer::Trouble> {
        let most = context.options.apply_entries_max;
        let most = 1 + context.up_to(most.saturating_sub(1) as u64) as usize;
        for entry in &self.pull(context, reader, most)? {
            checker.applying(self.node, entry)?;
            let broken =
                |error| Violation { invariant: "every entry is a command", what: format!("{error}") };
            let mutated = mutate(context, entry).map_err(broken)?;
            self.applier.admit(&mut self.batch, mutated.as_ref().unwrap_or(entry)).map_err(broken)?;
            if entry.kind == crate::log::EntryKind::Normal && !entry.data.is_empty() {
                self.commands.push(Command::decode(&entry.data).map_err(broken)?);
            }
        }
        Ok(())
    }

    fn pull(
        &mut self,
        context: &mut Context,
        reader: &LogReader,
        most: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let next = self.next_index();
        if next > self.committed {
            return Ok(Vec::new());
        }
        while self.feed.front().is_some_and(|entry| entry.index < next) {
            self.feed.pop_front();
        }
        if self.feed.front().is_some_and(|entry| entry.index == next) {
            let count = most.min(self.feed.len());
            return Ok(self.feed.drain(..count).collect());
        }
        context.count(Fault::ReplayFromLog);
        let high = (next + most as u64).min(self.committed + 1);
        reader.entries(next, high, READ_BYTES_MAX)
    }

    /// Runs the batch's calls as far as it goes. Some: the model crashed, and whether there is a new hold.
    fn predict(&mut self, context: &mut Context, clock_ms: u64) -> Option<bool> {
        let wall = context.options.mutant == Some(Mutant::ReadWallClock);
        while let Some(calls) = self.batch.calls.get(self.done.len()..).filter(|calls| !calls.is_empty()) {
            let count = match self.quarantine.begin(calls) {
                Run::Calls(count) => count,
                Run::Quarantined => {
                    context.count(Fault::Quarantined);
                    self.done.push(CallOutcome::Quarantined);
                    continue;
                }
                Run::Held => {
                    context.count(Fault::Held);
                    self.is_held = true;
                    return None;
                }
            };
            let calls = calls.get(..count).unwrap_or_default();
            if let Some(timed_out) = calls.iter().find_map(|call| crash(context, self.node, call)) {
                let node = self.node;
                let (first, last) = (calls.first()?.position, calls.last()?.position);
                context
                    .note(first, || format!("node {node}: a call from {first} to {last} breaks the model"));
                return Some(self.quarantine.lost(calls, timed_out));
            }
            if std::mem::take(&mut self.will_be_tainted) {
                self.is_tainted = true;
                self.model.taint();
            }
            for call in calls {
                let time_ms = if wall { clock_ms } else { call.time_ms };
                match self.model.predict(&Call { time_ms, ..call.clone() }) {
                    Ok(outcome) => self.done.push(outcome),
                    Err(why) => {
                        context.count(Fault::ModelCrashes);
                        context.note(call.position, || format!("node {}: {why}", self.node));
                        return Some(self.quarantine.lost(calls, false));
                    }
                }
            }
            self.quarantine.ended(calls);
        }
        None
    }

    fn check(
        &mut self,
        checker: &mut Checker,
        commands: Vec<Command>,
        answers: Vec<Applied>,
    ) -> Checked<Vec<(RequestId, Applied)>> {
        let mut all = Vec::with_capacity(answers.len());
        if self.is_tainted {
            // What a model that went another way says is no promise of anybody's; it is found by its digest.
            return Ok(Vec::new());
        }
        let mut answers = answers.into_iter();
        for command in commands {
            self.shadow.command(&command);
            for request in command.requests {
                let missing = || Violation {
                    invariant: "every request is answered",
                    what: format!("node {}: {request:?}", self.node),
                };
                let applied = answers.next().ok_or_else(missing)?;
                let decisions = self.quarantine.decisions();
                let outcome =
                    self.shadow.request(self.node, &request, &applied, decisions, &mut checker.reference)?;
                if let Some(outcome) = outcome {
                    checker.applied(self.node, &request, outcome, self.shadow.age_ms)?;
                }
                all.push((RequestId::of(&request.origin, request.hash()), applied));
            }
        }
        checker.digested(self.node, self.applier.position(), self.applier.digest())?;
        Ok(all)
    }
}

/// Whether a call breaks a node's model, and if so whether by hanging. Some requests always do; others on all nodes but one,
/// until they went well there: what a model may do at random it does not do after somebody was answered.
fn crash(context: &mut Context, node: NodeId, call: &Call) -> Option<bool> {
    let breaks = match Poison::of(&call.body)? {
        Poison::Always => true,
        Poison::AtFirst => {
            let spared = call.position % u64::from(context.options.nodes.max(1));
            let breaks = u64::from(node.0) != spared && !context.went_well.contains(&call.position);
            if !breaks {
                context.went_well.insert(call.position);
            }
            breaks
        }
    };
    let hangs = context.chance(HANGS_PER_MILLE);
    if breaks {
        context.count(if hangs { Fault::ModelHangs } else { Fault::ModelCrashes });
    }
    breaks.then_some(hangs)
}

/// For a mutant: the entry with origins that nobody recognizes.
fn mutate(context: &Context, entry: &LogEntry) -> Result<Option<LogEntry>, crate::codec::Malformed> {
    let skips = context.options.mutant == Some(Mutant::SkipSessionCheck);
    if !skips || entry.kind != crate::log::EntryKind::Normal || entry.data.is_empty() {
        return Ok(None);
    }
    let mut command = Command::decode(&entry.data)?;
    for (n, request) in command.requests.iter_mut().enumerate() {
        if !matches!(request.origin, Origin::Opening(_)) {
            request.origin = Origin::Key(Bytes::from(format!("{}/{n}", entry.index)));
        }
    }
    Ok(Some(LogEntry { data: command.encode().into(), ..entry.clone() }))
}
