//! What the threads at the log of a running process do: one writes, one reads old entries for a follower.

use super::Mutant;
use super::check::{Checker, Violation};
use super::context::{Checked, Context};
use super::death::Death;
use super::process::Effect;
use super::running::Running;
use super::writer::{self, Trouble};
use crate::log::LogError;
use crate::replica::Input;

/// A range of entries that a follower lacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchRange {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) bytes_max: u64,
}

impl Running {
    /// Has the log's thread begin a write.
    pub(super) fn write(&mut self, context: &mut Context, effects: &mut Vec<Effect>) -> Checked {
        let begun = self.writer.begin(context, self.node, self.life);
        self.begun(context, begun, effects)
    }

    /// The log's thread tries a full disk again.
    pub(super) fn write_again(&mut self, context: &mut Context) -> Checked<Vec<Effect>> {
        let mut effects = Vec::new();
        let begun = self.writer.again(context, self.node, self.life);
        self.begun(context, begun, &mut effects)?;
        Ok(effects)
    }

    fn begun(
        &self,
        context: &mut Context,
        begun: Result<Option<u64>, LogError>,
        effects: &mut Vec<Effect>,
    ) -> Checked {
        match begun {
            Ok(None) => {}
            Ok(Some(mark)) => effects.push(Effect::Input(Input::Persisted(mark))),
            Err(error) => effects.push(self.disk_trouble(context, &error)?),
        }
        Ok(())
    }

    /// The write that was under way has ended.
    pub(super) fn written(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
    ) -> Checked<Vec<Effect>> {
        let mut effects = Vec::new();
        match self.writer.end(checker, clock_ms) {
            Ok(Some(mark)) => {
                let told = matches!(context.options.mutant, Some(Mutant::AckBeforeSync | Mutant::SendEarly));
                if !told {
                    effects.push(Effect::Input(Input::Persisted(mark)));
                }
            }
            Ok(None) => {}
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(Trouble::Log(error)) => {
                effects.push(self.disk_trouble(context, &error)?);
                return Ok(effects);
            }
            Err(Trouble::Disk(error)) => {
                effects.push(self.disk_trouble(context, &error)?);
                return Ok(effects);
            }
        }
        self.write(context, &mut effects)?;
        Ok(effects)
    }

    pub(super) fn disk_trouble(
        &self,
        context: &mut Context,
        error: &dyn std::fmt::Display,
    ) -> Checked<Effect> {
        let armed = writer::judge(context, self.writer.armed, error)?;
        Ok(Effect::Die(Death::of(armed)))
    }

    /// Reads entries that a follower lacks.
    pub(super) fn fetched(&self, range: FetchRange) -> Checked<Effect> {
        let FetchRange { low, high, bytes_max } = range;
        if low == high {
            return Ok(Effect::Input(Input::Fetched { low, entries: Vec::new() }));
        }
        match self.reader.entries(low, high, bytes_max) {
            Ok(entries) => Ok(Effect::Input(Input::Fetched { low, entries })),
            // They were cut off meanwhile.
            Err(LogError::OutOfRange { first_index, .. }) if low < first_index => {
                Ok(Effect::Input(Input::Fetched { low, entries: Vec::new() }))
            }
            Err(error) if error.is_loss() => Ok(Effect::Unusable(error.to_string())),
            Err(error) => Err(Violation {
                invariant: "what is fetched is readable",
                what: format!("node {}: entries {low} to {high}: {error}", self.node),
            }),
        }
    }
}
