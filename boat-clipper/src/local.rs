//! The models that come with Boat, in process and without HTTP.

use std::fmt;

use boat_core::{Call, CallOutcome, Check, NodeId, Predictor, PredictorError, StateKind};

use crate::answer::{Element, output_json, write_answer};
use crate::outcome_log::{AnsweredBy, log_outcome};
use crate::{EngineModel, Input, InputType, ModelFactory, request};

/// Runs an [`EngineModel`] where it is called. Its outcomes are byte for byte those of a
/// [`ClipperPredictor`](crate::ClipperPredictor) on an engine with the same model.
///
/// ```
/// use boat_clipper::{InputType, LocalPredictor, ModelKind};
/// use boat_core::{NodeId, Predictor, StateKind};
///
/// let factory = ModelKind::HashChain.factory();
/// let predictor = LocalPredictor::new(NodeId(0), InputType::Strings, StateKind::Replay, factory);
/// assert_eq!(predictor.state_kind(), StateKind::Replay);
/// ```
pub struct LocalPredictor {
    node: NodeId,
    input_type: InputType,
    state_kind: StateKind,
    make: ModelFactory,
    model: Box<dyn EngineModel>,
}

impl LocalPredictor {
    /// A predictor with a fresh model. `node` stands in log lines.
    pub fn new(node: NodeId, input_type: InputType, state_kind: StateKind, make: ModelFactory) -> Self {
        let model = make();
        LocalPredictor { node, input_type, state_kind, make, model }
    }

    fn call(&mut self, call: &Call) -> Result<CallOutcome, PredictorError> {
        let elements = match request::parse(self.input_type, call.kind, &call.body) {
            Ok(elements) => elements,
            Err(why) => return Ok(CallOutcome::Rejected(why)),
        };
        let inputs: Vec<Input> = elements.into_iter().map(|element| element.input).collect();
        let outputs = if inputs.is_empty() { Vec::new() } else { self.model.predict(&inputs) };
        if outputs.len() != inputs.len() {
            let why = format!("{} outputs for {} inputs", outputs.len(), inputs.len());
            return Err(PredictorError::StateLost(why));
        }
        let query_id = call.predictions_before;
        let outputs: Vec<_> = outputs.iter().map(|output| output_json(output)).collect();
        let elements = outputs.iter().map(|output| Element { query_id, output, default: None });
        Ok(CallOutcome::Output(write_answer(elements).into()))
    }
}

impl fmt::Debug for LocalPredictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LocalPredictor { node, input_type, state_kind, make: _, model: _ } = self;
        let mut debug = f.debug_struct("LocalPredictor");
        debug.field("node", node).field("input_type", input_type).field("state_kind", state_kind);
        debug.finish_non_exhaustive()
    }
}

impl Predictor for LocalPredictor {
    fn state_kind(&self) -> StateKind {
        self.state_kind
    }

    fn check(&self) -> Check {
        request::check(self.input_type)
    }

    fn is_quick(&self) -> bool {
        self.model.is_quick()
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        self.model = (self.make)();
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        for call in calls {
            let outcome = self.call(call)?;
            log_outcome(self.node, call, AnsweredBy::LocalModel, &outcome);
            outcomes.push(outcome);
        }
        Ok(())
    }
}
