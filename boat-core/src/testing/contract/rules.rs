//! The rules, one function each.

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::drive::{reset, run, run_batch, same};
use super::{Broken, Contract, Rule};
use crate::testing::determinism::calls;
use crate::{Call, CallOutcome, Predictor, PredictorError, Query, QueryOutcome, StateKind};

/// How many calls stand in a batch, besides one and all.
const BATCHES: [usize; 3] = [2, 3, 7];
/// How much of a state a reader gives at once.
const READ_BYTES_MAX: usize = 3;

/// One check: what is asked, and what came of it first.
pub(super) struct Case<'a, F> {
    contract: &'a Contract,
    make: &'a F,
    calls: Vec<Call>,
    expected: Vec<CallOutcome>,
}

impl<'a, P: Predictor, F: AsyncFn() -> P> Case<'a, F> {
    /// Runs the requests in one batch, and one by one.
    pub(super) async fn begin(contract: &'a Contract, make: &'a F) -> Result<Self, Broken> {
        let calls = calls(contract.requests.iter().cloned());
        let mut case = Case { contract, make, calls, expected: Vec::new() };
        let rule = Rule::OneOutcomeForEachCall;
        let mut fresh = case.fresh(rule).await?;
        case.expected = run(rule, &mut fresh, &case.calls, case.calls.len()).await?;
        let rule = Rule::OutcomesInOrder;
        let mut fresh = case.fresh(rule).await?;
        let one_by_one = run(rule, &mut fresh, &case.calls, 1).await?;
        same(rule, &case.expected, &one_by_one, "in one batch, and then one by one")?;
        Ok(case)
    }

    async fn fresh(&self, rule: Rule) -> Result<P, Broken> {
        let mut predictor = (self.make)().await;
        reset(rule, &mut predictor).await?;
        Ok(predictor)
    }

    /// The first half of the calls, and the second with what it should give.
    fn halves(&self) -> (&[Call], &[Call], &[CallOutcome]) {
        let middle = self.calls.len() / 2;
        let (first, second) = self.calls.split_at(middle);
        (first, second, self.expected.get(middle..).unwrap_or_default())
    }

    pub(super) async fn batches_do_not_matter(&self) -> Result<(), Broken> {
        let rule = Rule::BatchesDoNotMatter;
        for batch in BATCHES {
            let mut fresh = self.fresh(rule).await?;
            let outcomes = run(rule, &mut fresh, &self.calls, batch).await?;
            same(rule, &outcomes, &self.expected, &format!("in batches of {batch}"))?;
        }
        Ok(())
    }

    pub(super) async fn nothing_else_matters(&self) -> Result<(), Broken> {
        let rule = Rule::NothingElseMatters;
        let (mut one, mut other) = (self.fresh(rule).await?, self.fresh(rule).await?);
        for (call, expected) in self.calls.iter().zip(&self.expected) {
            for predictor in [&mut one, &mut other] {
                let outcomes = run(rule, predictor, std::slice::from_ref(call), 1).await?;
                let when = format!("two predictors side by side, at position {}", call.position);
                same(rule, &outcomes, std::slice::from_ref(expected), &when)?;
            }
        }
        Ok(())
    }

    pub(super) async fn reset_is_fresh(&self) -> Result<(), Broken> {
        let rule = Rule::ResetIsFresh;
        let mut predictor = self.fresh(rule).await?;
        let (first, ..) = self.halves();
        for seen in [first, &self.calls] {
            run(rule, &mut predictor, seen, seen.len()).await?;
            reset(rule, &mut predictor).await?;
            let outcomes = run(rule, &mut predictor, &self.calls, self.calls.len()).await?;
            let when = format!("after {} requests and a reset", seen.len());
            same(rule, &outcomes, &self.expected, &when)?;
            reset(rule, &mut predictor).await?;
        }
        Ok(())
    }

    pub(super) async fn refusals_are_outcomes(&self) -> Result<bool, Broken> {
        let rule = Rule::RefusalsAreOutcomes;
        let refused = &self.contract.refused;
        if refused.is_empty() {
            return Ok(false);
        }
        let mixed = self.contract.requests.iter().chain(refused).chain(&self.contract.requests);
        let calls = calls(mixed.cloned());
        let mut fresh = self.fresh(rule).await?;
        let outcomes = run(rule, &mut fresh, &calls, calls.len()).await?;
        let at = outcomes.iter().skip(self.calls.len()).take(refused.len());
        for (outcome, body) in at.zip(refused) {
            if !matches!(outcome, CallOutcome::Rejected(_)) {
                let body = String::from_utf8_lossy(body);
                return Err(Broken { rule, how: format!("{body} gives {outcome:?}") });
            }
        }
        let mut other = self.fresh(rule).await?;
        let again = run(rule, &mut other, &calls, 1).await?;
        same(rule, &again, &outcomes, "with refused requests among others, and then one by one")?;
        Ok(true)
    }

    /// The state after the first half, written at once or after the second, and what the second gave.
    async fn frozen(&self, rule: Rule, late: bool) -> Result<(Vec<u8>, Vec<CallOutcome>), Broken> {
        let broken = |how: String| Broken { rule, how };
        let (first, second, _) = self.halves();
        let mut predictor = self.fresh(rule).await?;
        run(rule, &mut predictor, first, first.len()).await?;
        let frozen = predictor.freeze().await;
        let frozen = frozen.map_err(|error| broken(format!("`freeze` ends with: {error}")))?;
        let (mut written, mut outcomes) = (Vec::new(), Vec::new());
        if late {
            outcomes = run(rule, &mut predictor, second, second.len()).await?;
        }
        let result = frozen.write_to(&mut written);
        result.map_err(|error| broken(format!("a frozen state cannot be written: {error}")))?;
        if !late {
            outcomes = run(rule, &mut predictor, second, second.len()).await?;
        }
        Ok((written, outcomes))
    }

    pub(super) async fn frozen_state_stands(&self) -> Result<bool, Broken> {
        let rule = Rule::FrozenStateStands;
        if self.fresh(rule).await?.state_kind() != StateKind::Snapshot {
            return Ok(false);
        }
        let (late, outcomes) = self.frozen(rule, true).await?;
        let (.., expected) = self.halves();
        same(rule, &outcomes, expected, "after it was frozen")?;
        self.go_on(rule, &late, "from a state that was written after its predictor had gone on").await?;
        Ok(true)
    }

    pub(super) async fn restore_goes_on(&self) -> Result<bool, Broken> {
        let rule = Rule::RestoreGoesOn;
        if self.fresh(rule).await?.state_kind() != StateKind::Snapshot {
            return Ok(false);
        }
        let (state, _) = self.frozen(rule, false).await?;
        self.go_on(rule, &state, "from a frozen state, on a predictor that had seen other requests").await?;
        Ok(true)
    }

    /// Runs the second half on another predictor that takes this state in place of its own.
    async fn go_on(&self, rule: Rule, state: &[u8], when: &str) -> Result<(), Broken> {
        let (_, second, expected) = self.halves();
        let mut other = self.fresh(rule).await?;
        run(rule, &mut other, &self.calls, self.calls.len()).await?;
        let restored = other.restore(&mut Trickle(state)).await;
        restored.map_err(|error| Broken { rule, how: format!("`restore` ends with: {error}") })?;
        let outcomes = run(rule, &mut other, second, second.len()).await?;
        same(rule, &outcomes, expected, when)
    }

    pub(super) async fn stateless_forgets(&self) -> Result<bool, Broken> {
        let rule = Rule::StatelessForgets;
        let mut predictor = self.fresh(rule).await?;
        if predictor.state_kind() != StateKind::Stateless {
            return Ok(false);
        }
        let broken = |how: String| Broken { rule, how };
        let frozen = predictor.freeze().await.map_err(|error| broken(format!("`freeze`: {error}")))?;
        let mut state = Vec::new();
        frozen.write_to(&mut state).map_err(|error| broken(format!("its state: {error}")))?;
        if !state.is_empty() {
            return Err(broken(format!("it freezes {} bytes", state.len())));
        }
        for (call, expected) in self.calls.iter().zip(&self.expected).rev() {
            let mut alone = self.fresh(rule).await?;
            let outcomes = run(rule, &mut alone, std::slice::from_ref(call), 1).await?;
            let when = format!("the request at position {} alone", call.position);
            same(rule, &outcomes, std::slice::from_ref(expected), &when)?;
        }
        Ok(true)
    }

    pub(super) async fn queries_change_nothing(&self) -> Result<bool, Broken> {
        let rule = Rule::QueriesChangeNothing;
        let mut predictor = self.fresh(rule).await?;
        let (mut outcomes, mut answers) = (Vec::new(), 0);
        for call in &self.calls {
            let (position, time_ms) = (call.position - 1, call.time_ms);
            let query = Query { position, time_ms, body: call.body.clone() };
            answers += usize::from(ask(rule, &mut predictor, &query).await?);
            begin_asking(&mut predictor, &query).await;
            outcomes.extend(run(rule, &mut predictor, std::slice::from_ref(call), 1).await?);
        }
        same(rule, &outcomes, &self.expected, "with queries in between")?;
        Ok(answers > 0)
    }

    pub(super) async fn lost_state_is_rebuilt(&self) -> Result<bool, Broken> {
        let rule = Rule::LostStateIsRebuilt;
        let Some(breaking) = &self.contract.breaking else { return Ok(false) };
        let (first, second, _) = self.halves();
        let bodies = first.iter().map(|call| &call.body).chain([breaking]);
        let broken = calls(bodies.chain(second.iter().map(|call| &call.body)).map(Bytes::clone));
        let mut predictor = self.fresh(rule).await?;
        if let Ok(outcomes) = run_batch(rule, &mut predictor, &broken).await? {
            let how = format!("a batch with the breaking request gave {outcomes:?}");
            return Err(Broken { rule, how });
        }
        reset(rule, &mut predictor).await?;
        let outcomes = run(rule, &mut predictor, &self.calls, self.calls.len()).await?;
        same(rule, &outcomes, &self.expected, "after the state was lost, and a reset")?;
        Ok(true)
    }

    pub(super) async fn spare_is_fresh(&self) -> Result<bool, Broken> {
        let rule = Rule::SpareIsFresh;
        let mut predictor = self.fresh(rule).await?;
        run(rule, &mut predictor, &self.calls, self.calls.len()).await?;
        let Some(mut spare) = predictor.spare() else { return Ok(false) };
        drop(predictor);
        reset(rule, &mut spare).await?;
        let outcomes = run(rule, &mut spare, &self.calls, self.calls.len()).await?;
        same(rule, &outcomes, &self.expected, "the spare")?;
        Ok(true)
    }
}

/// Whether there was an answer.
async fn ask<P: Predictor>(rule: Rule, predictor: &mut P, query: &Query) -> Result<bool, Broken> {
    match predictor.query(query).await {
        Ok(answer) => Ok(answer != QueryOutcome::Unsupported),
        Err(PredictorError::Unavailable(_)) => Ok(false),
        Err(error) => Err(Broken { rule, how: format!("`query` ends with: {error}") }),
    }
}

/// Asks, and does not wait for the answer.
async fn begin_asking<P: Predictor>(predictor: &mut P, query: &Query) {
    let mut asking = pin!(predictor.query(query));
    poll_fn(|context| {
        let _ = asking.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

/// A reader that gives little at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let few = buffer.len().min(READ_BYTES_MAX);
        self.0.read(buffer.get_mut(..few).unwrap_or_default())
    }
}
