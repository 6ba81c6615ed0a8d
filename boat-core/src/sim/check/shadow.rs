//! Promises S5 and S12: positions are dense, and each outcome is that of a model that saw requests 1 to p, once each, in
//! order, with the time and the seed that the log gives them.

use super::super::context::Checked;
use super::reference::Reference;
use super::require;
use crate::apply::{Applied, Outcome};
use crate::quarantine::Decisions;
use crate::{Call, CallOutcome, Command, NodeId, Request, RequestKind};

const INVARIANT: &str = "S5 dense and closed";
/// How much one command may add to the log's age (design: "Time comes through the log").
const AGE_STEP_MS_MAX: u64 = 60_000;

/// What one life of an applier should do, worked out beside it.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Shadow {
    position: u64,
    time_ms: u64,
    pub(in super::super) age_ms: u64,
    stamp_ms: Option<u64>,
    seed: u64,
    predictions: u64,
}

impl Shadow {
    /// The next command begins.
    pub(in super::super) fn command(&mut self, command: &Command) {
        self.time_ms = self.time_ms.max(command.stamp_ms);
        let before_ms = self.stamp_ms.replace(command.stamp_ms).unwrap_or(command.stamp_ms);
        self.age_ms += command.stamp_ms.saturating_sub(before_ms).min(AGE_STEP_MS_MAX);
        self.seed = command.seed;
    }

    /// Looks at what became of the next request. The outcome, if it was applied now and here.
    pub(in super::super) fn request<'a>(
        &mut self,
        node: NodeId,
        request: &Request,
        applied: &'a Applied,
        decisions: &Decisions,
        reference: &mut Reference,
    ) -> Checked<Option<&'a Outcome>> {
        let Ok(outcome) = &applied.result else { return Ok(None) };
        if applied.replayed {
            require(outcome.position <= self.position, INVARIANT, || {
                format!("node {node} repeats position {} and stands at {}", outcome.position, self.position)
            })?;
            return Ok(None);
        }
        self.position += 1;
        require(outcome.position == self.position, INVARIANT, || {
            format!("node {node} gives position {} behind {}", outcome.position, self.position - 1)
        })?;
        let decided = match request.kind {
            RequestKind::OpenSession => Some(CallOutcome::Output(bytes::Bytes::new())),
            _ => decisions.is_quarantined(self.position).then_some(CallOutcome::Quarantined),
        };
        let given = decided.clone();
        let expected = reference.at(INVARIANT, &self.call(request), decided)?;
        let expected = given.as_ref().unwrap_or(expected);
        require(outcome.result == *expected, INVARIANT, || {
            format!(
                "node {node} has {:?} at position {}; requests up to there give {expected:?}",
                outcome.result, outcome.position
            )
        })?;
        Ok(Some(outcome))
    }

    /// The call that a model is shown for this request, at the position that was just given.
    fn call(&mut self, request: &Request) -> Call {
        let predictions_before = self.predictions;
        self.predictions += u64::from(request.kind == RequestKind::Predict);
        let (time_ms, seed, body) = (self.time_ms, self.seed, request.body.clone());
        Call { position: self.position, predictions_before, kind: request.kind, body, time_ms, seed }
    }
}
