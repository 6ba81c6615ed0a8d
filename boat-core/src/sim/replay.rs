//! What the applier's thread does in production: pulls committed entries, from memory or from the log, and runs them
//! through the model.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Mutant;
use super::check::{Checker, Shadow, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::model::HashChain;
use super::writer::Trouble;
use crate::apply::{Applied, Applier, Batch, SessionLimits};
use crate::log::{LogEntry, LogError, LogReader};
use crate::replica::RequestId;
use crate::{CallOutcome, Command, NodeId, Origin};

/// How many entries wait in memory, at most. A slower applier reads them from the log.
const FEED_ENTRIES_MAX: usize = 16;
/// How many bytes are read from the log at once, about.
const READ_BYTES_MAX: u64 = 16 << 10;

/// The applier and its model.
#[derive(Debug)]
pub(super) struct Replay {
    node: NodeId,
    limits: SessionLimits,
    pub(super) applier: Applier,
    model: HashChain,
    shadow: Shadow,
    feed: VecDeque<LogEntry>,
    pub(super) committed: u64,
    /// Whether the next helping is in the queue of events.
    pub(super) scheduled: bool,
}

impl Replay {
    /// A fresh applier for a log that is committed up to here.
    pub(super) fn new(node: NodeId, limits: SessionLimits, committed: u64) -> Self {
        Replay {
            node,
            limits,
            applier: Applier::new(limits),
            model: HashChain::default(),
            shadow: Shadow::default(),
            feed: VecDeque::new(),
            committed,
            scheduled: false,
        }
    }

    /// The backend has lost its state: everything is applied again.
    pub(super) fn reset(&mut self) {
        *self = Replay { scheduled: self.scheduled, ..Replay::new(self.node, self.limits, self.committed) };
    }

    /// For a mutant: the model that an earlier process used, with all that it has seen.
    pub(super) fn keep_model(&mut self, model: HashChain) {
        self.model = model;
    }

    pub(super) fn model(&self) -> HashChain {
        self.model
    }

    /// Committed entries arrive.
    pub(super) fn push(&mut self, entries: Vec<LogEntry>) {
        self.committed = entries.last().map_or(self.committed, |entry| entry.index);
        self.feed.extend(entries);
        if self.feed.len() > FEED_ENTRIES_MAX {
            self.feed.clear();
        }
    }

    /// Whether there is something to apply.
    pub(super) fn is_behind(&self) -> bool {
        self.applier.index() < self.committed
    }

    /// Applies some entries, and says what became of each request.
    pub(super) fn run(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        reader: &LogReader,
        clock_ms: u64,
    ) -> Result<Vec<(RequestId, Applied)>, Trouble> {
        let most = context.options.apply_entries_max;
        let most = 1 + context.up_to(most.saturating_sub(1) as u64) as usize;
        let entries = self.pull(context, reader, most)?;
        let mut batch = Batch::default();
        let mut commands = Vec::new();
        for entry in &entries {
            checker.applying(self.node, entry)?;
            let broken =
                |error| Violation { invariant: "every entry is a command", what: format!("{error}") };
            let mutated = mutate(context, entry).map_err(broken)?;
            self.applier.admit(&mut batch, mutated.as_ref().unwrap_or(entry)).map_err(broken)?;
            if entry.kind == crate::log::EntryKind::Normal && !entry.data.is_empty() {
                commands.push(Command::decode(&entry.data).map_err(broken)?);
            }
        }
        let outcomes = self.predict(context, &batch, clock_ms);
        let mut answers = Vec::new();
        self.applier.complete(&mut batch, outcomes, |_, _, applied| answers.push(applied.clone()));
        Ok(self.check(checker, commands, answers)?)
    }

    fn pull(
        &mut self,
        context: &mut Context,
        reader: &LogReader,
        most: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let next = self.applier.index() + 1;
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

    fn predict(&mut self, context: &Context, batch: &Batch, clock_ms: u64) -> Vec<CallOutcome> {
        let wall = context.options.mutant == Some(Mutant::ReadWallClock);
        let run = |call: &crate::Call| {
            let time_ms = if wall { clock_ms } else { call.time_ms };
            CallOutcome::Output(self.model.predict(call.position, &call.body, time_ms, call.seed))
        };
        batch.calls.iter().map(run).collect()
    }

    fn check(
        &mut self,
        checker: &mut Checker,
        commands: Vec<Command>,
        answers: Vec<Applied>,
    ) -> Checked<Vec<(RequestId, Applied)>> {
        let mut all = Vec::with_capacity(answers.len());
        let mut answers = answers.into_iter();
        for command in commands {
            self.shadow.command(&command);
            for request in command.requests {
                let missing = || Violation {
                    invariant: "every request is answered",
                    what: format!("node {}: {request:?}", self.node),
                };
                let applied = answers.next().ok_or_else(missing)?;
                if let Some(outcome) = self.shadow.request(self.node, &request, &applied)? {
                    checker.applied(self.node, &request, outcome, self.shadow.age_ms)?;
                }
                all.push((RequestId::of(&request.origin, request.hash()), applied));
            }
        }
        checker.digested(self.node, self.applier.position(), self.applier.digest())?;
        Ok(all)
    }
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
