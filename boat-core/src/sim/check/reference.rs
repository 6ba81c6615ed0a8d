//! A model that ran through: it saw every position once, in order, and never went down.

use std::rc::Rc;

use bytes::Bytes;

use super::super::context::Checked;
use super::super::model::{HashChains, Models, Served};
use super::require;
use crate::{Call, CallOutcome};

/// What a position gave, and what the state was then.
#[derive(Debug)]
struct Step {
    outcome: CallOutcome,
    state: Bytes,
}

/// The model that ran through, with all that it gave.
#[derive(Debug)]
pub(in super::super) struct Reference {
    model: Box<dyn Served>,
    fresh: Bytes,
    steps: Vec<Step>,
}

impl Default for Reference {
    fn default() -> Self {
        Reference::new(&(Rc::new(HashChains) as Rc<dyn Models>))
    }
}

impl Reference {
    pub(super) fn new(models: &Rc<dyn Models>) -> Self {
        let model = models.fresh();
        Reference { fresh: model.state(), model, steps: Vec::new() }
    }

    /// What stands at this position. `decided`: what it is without being run.
    pub(super) fn at(
        &mut self,
        invariant: &'static str,
        call: &Call,
        decided: Option<CallOutcome>,
    ) -> Checked<&CallOutcome> {
        let (position, highest) = (call.position, self.steps.len() as u64);
        require(position <= highest + 1, invariant, || {
            format!("position {position} follows on {highest}, the highest that any model has seen")
        })?;
        if position == highest + 1 {
            let ran = decided.map_or_else(|| self.model.predict(call), Ok);
            let outcome = ran.unwrap_or_else(|why| {
                // No node can have this one: its own model breaks, too.
                CallOutcome::Rejected(format!("the model breaks: {why}"))
            });
            self.steps.push(Step { outcome, state: self.model.state() });
        }
        let place = usize::try_from(position.saturating_sub(1)).unwrap_or(usize::MAX);
        let step = self.steps.get(place).map(|step| &step.outcome);
        Ok(step.unwrap_or(&CallOutcome::Quarantined))
    }

    /// The state after this position.
    pub(super) fn state(&self, position: u64) -> Option<&Bytes> {
        match usize::try_from(position).ok()?.checked_sub(1) {
            None => Some(&self.fresh),
            Some(place) => self.steps.get(place).map(|step| &step.state),
        }
    }
}
