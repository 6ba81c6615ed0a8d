//! The contract of `Predictor`: who keeps it passes, and whoever breaks a rule is told which.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use boat_core::testing::{Broken, Contract, Rule};
use boat_core::{Call, CallOutcome, ModelPredictor, Predictor, PredictorError, StateKind};

use crate::doubles::Sum;
use crate::models::{Fragile, Sound};

fn contract() -> Contract {
    Contract::new((1..=12).map(|number| number.to_string())).refused(["\"word\"", "nothing"])
}

async fn check(breaks: Option<Rule>) -> Result<Vec<Rule>, Broken> {
    let shared = Arc::new(AtomicU64::new(0));
    contract().breaking("break").check(async || Sum::new(breaks, &shared)).await
}

#[tokio::test]
async fn a_sound_predictor_keeps_every_rule_that_concerns_it() {
    let checked = check(None).await.unwrap();
    let others: Vec<&Rule> = Rule::ALL.iter().filter(|rule| !checked.contains(rule)).collect();
    assert_eq!(others, [&Rule::StatelessForgets]);
}

#[tokio::test]
async fn each_rule_can_be_broken_and_is_named() {
    for rule in Rule::ALL {
        let broken = check(Some(*rule)).await.unwrap_err();
        assert_eq!(broken.rule, *rule, "{broken}");
        assert!(broken.to_string().contains(rule.says()), "{broken}");
    }
}

#[tokio::test]
async fn a_model_in_process_keeps_the_contract() {
    let checked = contract().check(async || ModelPredictor::new(Sound::default()).unwrap()).await.unwrap();
    assert!(checked.contains(&Rule::RestoreGoesOn) && checked.contains(&Rule::SpareIsFresh), "{checked:?}");
}

#[tokio::test]
async fn a_model_that_panics_has_lost_its_state() {
    let contract = contract().breaking("23");
    let checked = contract.check(async || ModelPredictor::new(Fragile::default()).unwrap()).await.unwrap();
    assert!(checked.contains(&Rule::LostStateIsRebuilt), "{checked:?}");
}

/// Echoes, and is unavailable at every other attempt.
#[derive(Default)]
struct Flaky(AtomicBool);

impl Predictor for Flaky {
    fn state_kind(&self) -> StateKind {
        StateKind::Stateless
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        let fails = !self.0.fetch_xor(true, Ordering::SeqCst);
        let done = if fails { calls.len() / 2 } else { calls.len() };
        outcomes.extend(calls.iter().take(done).map(|call| CallOutcome::Output(call.body.clone())));
        if fails { Err(PredictorError::Unavailable("not now".to_owned())) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stateless_predictor_that_is_unavailable_now_and_then_keeps_the_contract() {
    let contract = Contract::new(["a", "b", "c", "d"]);
    let checked = contract.check(async || Flaky::default()).await.unwrap();
    assert!(checked.contains(&Rule::StatelessForgets), "{checked:?}");
}
