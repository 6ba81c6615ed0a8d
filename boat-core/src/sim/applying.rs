//! A running process applies what is committed, beginning again where it lost its state or a snapshot takes the log's place.

use super::Mutant;
use super::check::{Checker, Violation, require};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::process::Effect;
use super::queue::Event;
use super::replay::Helping;
use super::running::{Running, unreadable};
use super::waiters::Reply;
use super::writer::Trouble;
use crate::replica::Input;

/// How long an applier waits between two helpings while its backend is slow, at most, in milliseconds.
const SLOW_MS_MAX: u64 = 400;

impl Running {
    /// Schedules the applier's next helping, unless it is scheduled or there is nothing to do.
    pub(super) fn schedule(&mut self, context: &mut Context) {
        if !self.replay.scheduled && self.replay.is_behind() && self.awaited == 0 {
            self.replay.scheduled = true;
            let is_slow = context.now_ms < self.replay.trouble.slow_until_ms;
            let most_ms = match context.faulty {
                true if is_slow => SLOW_MS_MAX,
                true => context.options.apply_ms_max,
                false => 1,
            };
            let down_ms = self.replay.trouble.down_until_ms.saturating_sub(context.now_ms);
            let wait_ms = down_ms + context.up_to(most_ms);
            context.after(wait_ms, Event::Apply(self.node, self.life));
        }
    }

    /// Applies some entries and answers who waits.
    pub(super) fn apply(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
    ) -> Checked<Vec<Effect>> {
        self.replay.scheduled = false;
        if self.awaited > 0 {
            return Ok(Vec::new());
        }
        if self.replay.is_fresh {
            self.restore(context, checker)?;
        }
        let Helping { answers: all, holds } = match self.replay.run(context, checker, &self.reader, clock_ms)
        {
            Err(Trouble::Log(error)) if error.is_loss() => {
                return Ok(vec![Effect::Unusable(error.to_string())]);
            }
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(Trouble::Log(error)) => return Err(unreadable(self.node, &error)),
            Err(Trouble::Disk(error)) => return Err(unreadable(self.node, &error)),
            Ok(helping) => helping,
        };
        let (mut effects, mut answered) = (Vec::new(), Vec::new());
        if holds {
            self.keep_quarantine(context, &mut effects)?;
        }
        let swaps = context.options.mutant == Some(Mutant::AnswerFromAnotherRequest);
        let other = all.last().map(|(_, applied)| applied.clone()).filter(|_| swaps);
        for (id, applied) in all {
            if applied.replayed {
                context.count(Fault::AnsweredRetry);
            }
            let waited = self.waiters.take(&id);
            if !waited.is_empty() {
                answered.push(id);
            }
            for attempt in waited {
                let applied = other.clone().unwrap_or_else(|| applied.clone());
                effects.push(Effect::Answer(attempt, Reply::Applied(applied)));
            }
        }
        if !answered.is_empty() {
            effects.push(Effect::Input(Input::Answered(answered)));
        }
        self.answer_reads(context, checker)?;
        self.snapshots.take_if_due(context, checker, &self.replay);
        self.schedule(context);
        Ok(effects)
    }

    /// The backend has lost its state.
    pub(super) fn lose_backend(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        // While a snapshot is being installed there is nothing to begin from: the applier waits for it.
        if self.awaited > 0 { Ok(()) } else { self.begin_again(context, checker) }
    }

    fn begin_again(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        self.replay.reset();
        self.restore(context, checker)?;
        self.schedule(context);
        Ok(())
    }

    /// Goes on from the newest snapshot that is of use.
    fn restore(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        match self.replay.restore(context, checker, &self.snapshots.store) {
            Ok(()) => {}
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(error) => {
                let what = format!("node {}: {error:?}", self.node);
                return Err(Violation { invariant: "snapshots that are kept are readable", what });
            }
        }
        let (next, first_index) = (self.replay.next_index(), self.replica.first_index());
        require(next >= first_index, "what was cut stands in a snapshot that can be used", || {
            format!("node {}: the applier needs entry {next}, the log begins with {first_index}", self.node)
        })
    }

    /// Writes the snapshot that was frozen.
    pub(super) fn write_snapshot(&mut self, context: &mut Context) -> Checked<Vec<Effect>> {
        match self.snapshots.write(context) {
            Ok(effects) => Ok(effects),
            Err(error) => Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?]),
        }
    }

    /// Works on the file of a snapshot.
    pub(super) fn work(&mut self, context: &mut Context, checker: &mut Checker) -> Checked<Vec<Effect>> {
        match self.snapshots.work(context) {
            Ok((effects, None)) => Ok(effects),
            Ok((effects, Some(installed))) => {
                self.replay.committed = self.replay.committed.max(installed.name.index);
                self.awaited = 0;
                self.begin_again(context, checker)?;
                Ok(effects)
            }
            Err(Trouble::Log(error)) => {
                Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?])
            }
            Err(Trouble::Disk(error)) => {
                Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?])
            }
            Err(Trouble::Wrong(violation)) => Err(violation),
        }
    }
}
