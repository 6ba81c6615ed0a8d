//! Tests over real sockets: the engine against Clipper's contract, and the predictor against engines and a frontend that
//! misbehaves as told.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report; clippy excuses only functions marked as tests, not their helpers"
)]

mod backend;
mod crashes;
mod engine;
mod fake;
mod http;
mod management;
mod names;
mod order;
mod python;
mod query;
mod replicated;

use boat_clipper::{EngineConfig, ModelKind};
use boat_core::{Call, CallOutcome, Predictor, PredictorError, RequestKind};

/// An engine that answers its default to nobody because the machine that runs the tests is slow.
fn patient(model: ModelKind) -> EngineConfig {
    let mut config = EngineConfig::with_model(model);
    config.applications[0].latency_slo_micros = 60_000_000;
    config
}

/// Predictions with these bodies, at positions from 1 on.
fn calls<B: AsRef<[u8]>>(bodies: &[B]) -> Vec<Call> {
    let call = |(position, body): (u64, &B)| Call {
        position,
        predictions_before: position - 1,
        kind: RequestKind::Predict,
        body: body.as_ref().to_vec().into(),
        time_ms: 0,
        seed: 0,
    };
    (1..).zip(bodies).map(call).collect()
}

fn input(text: &str) -> String {
    format!("{{\"input\":{text:?}}}")
}

fn output(query_id: u64, output: &str) -> CallOutcome {
    CallOutcome::Output(format!("{{\"query_id\":{query_id},\"output\":{output},\"default\":false}}").into())
}

/// All outcomes that came, and how it ended.
async fn predict(
    predictor: &mut impl Predictor,
    calls: &[Call],
) -> (Vec<CallOutcome>, Result<(), PredictorError>) {
    let mut outcomes = Vec::new();
    let ended = predictor.predict(calls, &mut outcomes).await;
    (outcomes, ended)
}

/// Why the state was lost.
fn lost(ended: Result<(), PredictorError>) -> String {
    match ended {
        Err(PredictorError::StateLost(why)) => why,
        other => panic!("expected StateLost, got {other:?}"),
    }
}

/// Why the backend is unavailable.
fn unavailable(ended: Result<(), PredictorError>) -> String {
    match ended {
        Err(PredictorError::Unavailable(why)) => why,
        other => panic!("expected Unavailable, got {other:?}"),
    }
}
