//! Running calls as Boat's applier does: in order, and again while the backend is unavailable.

use std::time::Duration;

use super::{Broken, Rule};
use crate::testing::determinism::shown;
use crate::{Call, CallOutcome, Predictor, PredictorError};

/// How often what is unavailable is tried again.
const ATTEMPTS_MAX: u32 = 200;
/// How long there is between two attempts.
const BETWEEN: Duration = Duration::from_millis(25);

/// Makes a predictor fresh.
pub(super) async fn reset<P: Predictor>(rule: Rule, predictor: &mut P) -> Result<(), Broken> {
    for _ in 0..ATTEMPTS_MAX {
        match predictor.reset().await {
            Ok(()) => return Ok(()),
            Err(PredictorError::Unavailable(_)) => pause().await,
            Err(error) => return Err(Broken { rule, how: format!("`reset` ends with: {error}") }),
        }
    }
    Err(unavailable(rule, "reset"))
}

/// Runs calls, so many in each batch.
pub(super) async fn run<P: Predictor>(
    rule: Rule,
    predictor: &mut P,
    calls: &[Call],
    batch: usize,
) -> Result<Vec<CallOutcome>, Broken> {
    let mut all = Vec::with_capacity(calls.len());
    for calls in calls.chunks(batch.max(1)) {
        let lost = |why| Broken { rule, how: format!("`predict` ends with a lost state: {why}") };
        all.extend(run_batch(rule, predictor, calls).await?.map_err(lost)?);
    }
    Ok(all)
}

/// Runs one batch. The inner error: the state was lost, and why.
pub(super) async fn run_batch<P: Predictor>(
    rule: Rule,
    predictor: &mut P,
    calls: &[Call],
) -> Result<Result<Vec<CallOutcome>, String>, Broken> {
    let mut done = Vec::with_capacity(calls.len());
    for _ in 0..ATTEMPTS_MAX {
        let rest = calls.get(done.len()..).unwrap_or_default();
        let mut outcomes = Vec::new();
        let ran = predictor.predict(rest, &mut outcomes).await;
        let (asked, given) = (rest.len(), outcomes.len());
        let fits = if ran.is_ok() { given == asked } else { given <= asked };
        if !fits || outcomes.contains(&CallOutcome::Quarantined) {
            let how = format!("{asked} calls from position {} gave {outcomes:?}", done.len() + 1);
            return Err(Broken { rule: Rule::OneOutcomeForEachCall, how });
        }
        done.append(&mut outcomes);
        match ran {
            Ok(()) => return Ok(Ok(done)),
            Err(PredictorError::Unavailable(_)) => pause().await,
            Err(PredictorError::StateLost(why)) => return Ok(Err(why)),
        }
    }
    Err(unavailable(rule, "predict"))
}

/// Fails with the first difference between what is and what should be.
pub(super) fn same(rule: Rule, is: &[CallOutcome], should: &[CallOutcome], when: &str) -> Result<(), Broken> {
    let differs = is.iter().zip(should).zip(1..).find(|((is, should), _)| is != should);
    let Some(((is, should), number)) = differs else {
        let how = || format!("{when}: {} outcomes in place of {}", is.len(), should.len());
        return if is.len() == should.len() { Ok(()) } else { Err(Broken { rule, how: how() }) };
    };
    let how = format!("{when}: outcome {number} is {}, and was {}", shown(is), shown(should));
    Err(Broken { rule, how })
}

pub(super) fn unavailable(rule: Rule, what: &str) -> Broken {
    Broken { rule, how: format!("`{what}` stays unavailable, {ATTEMPTS_MAX} times in a row") }
}

pub(super) async fn pause() {
    tokio::time::sleep(BETWEEN).await;
}
