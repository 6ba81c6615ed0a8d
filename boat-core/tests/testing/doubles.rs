//! Predictors that each break one rule of the contract.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use boat_core::testing::Rule;
use boat_core::{Call, CallOutcome, FrozenState, Predictor, PredictorError, Query, QueryOutcome, StateKind};

/// Adds up numbers, and breaks a rule. What is no number is refused; "break" breaks it.
pub(crate) struct Sum {
    pub(crate) breaks: Option<Rule>,
    sum: Arc<AtomicU64>,
    offset: u64,
}

impl Sum {
    /// `shared`: what one that breaks `NothingElseMatters` holds together with others.
    pub(crate) fn new(breaks: Option<Rule>, shared: &Arc<AtomicU64>) -> Self {
        let shares = breaks == Some(Rule::NothingElseMatters);
        let sum = if shares { shared.clone() } else { Arc::default() };
        Sum { breaks, sum, offset: 0 }
    }

    fn breaks(&self, rule: Rule) -> bool {
        self.breaks == Some(rule)
    }

    fn add(&self, number: u64) -> CallOutcome {
        let sum = self.sum.fetch_add(number, Ordering::SeqCst) + number + self.offset;
        CallOutcome::Output(sum.to_string().into())
    }

    fn call(&self, call: &Call, batch: usize) -> Result<CallOutcome, PredictorError> {
        let text = String::from_utf8_lossy(&call.body).into_owned();
        match text.parse::<u64>() {
            // One of three is lost.
            Ok(_) if self.breaks(Rule::BatchesDoNotMatter) && batch == 3 => Ok(self.add(0)),
            Ok(number) => Ok(self.add(number)),
            Err(_) if text == "break" && !self.breaks(Rule::LostStateIsRebuilt) => {
                Err(PredictorError::StateLost("it was broken".to_owned()))
            }
            Err(_) if self.breaks(Rule::RefusalsAreOutcomes) => Ok(self.add(0)),
            Err(error) => Ok(CallOutcome::Rejected(error.to_string())),
        }
    }
}

impl Predictor for Sum {
    fn state_kind(&self) -> StateKind {
        if self.breaks(Rule::StatelessForgets) { StateKind::Stateless } else { StateKind::Snapshot }
    }

    fn spare(&self) -> Option<Self> {
        let offset = u64::from(self.breaks(Rule::SpareIsFresh));
        Some(Sum { breaks: self.breaks, sum: Arc::default(), offset })
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        if !self.breaks(Rule::ResetIsFresh) {
            self.sum.store(0, Ordering::SeqCst);
        }
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        for call in calls {
            outcomes.push(self.call(call, calls.len())?);
        }
        if self.breaks(Rule::OutcomesInOrder) {
            outcomes.reverse();
        }
        if self.breaks(Rule::OneOutcomeForEachCall) && calls.len() > 1 {
            outcomes.pop();
        }
        Ok(())
    }

    async fn freeze(&mut self) -> Result<FrozenState, PredictorError> {
        if self.breaks(Rule::StatelessForgets) {
            return Ok(FrozenState::empty());
        }
        let (live, state) = (self.sum.clone(), self.sum.load(Ordering::SeqCst));
        let lazy = self.breaks(Rule::FrozenStateStands);
        Ok(FrozenState::from_writer(move |out| {
            let state = if lazy { live.load(Ordering::SeqCst) } else { state };
            out.write_all(&state.to_le_bytes())
        }))
    }

    async fn restore(&mut self, state: &mut (dyn Read + Send)) -> Result<(), PredictorError> {
        let mut bytes = [0; 8];
        state.read_exact(&mut bytes).map_err(|error| PredictorError::StateLost(error.to_string()))?;
        let kept = if self.breaks(Rule::RestoreGoesOn) { self.sum.load(Ordering::SeqCst) } else { 0 };
        self.sum.store(kept + u64::from_le_bytes(bytes), Ordering::SeqCst);
        Ok(())
    }

    async fn query(&mut self, _: &Query) -> Result<QueryOutcome, PredictorError> {
        if self.breaks(Rule::QueriesChangeNothing) {
            self.add(1);
        }
        let sum = self.sum.load(Ordering::SeqCst).to_string();
        Ok(QueryOutcome::Output(sum.into()))
    }
}
