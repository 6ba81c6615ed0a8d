//! The boundary behind which the model lives.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::RequestKind;

/// What a predictor can lose, and so what Boat must keep for it (design D4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateKind {
    /// Nothing to restore: outputs do not depend on earlier requests.
    Stateless,
    /// The state can be rebuilt only by running every request from the first on.
    Replay,
    /// The predictor can write and read its state.
    Snapshot,
}

/// One request, as it is handed to a predictor.
#[derive(Debug, Clone)]
pub struct Call {
    /// The request's position: 1, 2, 3, without gaps in what the log holds; session openings take positions that no
    /// predictor sees.
    pub position: u64,
    /// How many prediction requests stand before this one: 0 for the first. The same on every node and at every replay.
    pub predictions_before: u64,
    /// What is asked: a prediction, feedback or a configuration change.
    pub kind: RequestKind,
    /// The request as its client sent it.
    pub body: Bytes,
    /// Log time in milliseconds since the Unix epoch. Never falls.
    pub time_ms: u64,
    /// The seed of this request's random numbers.
    pub seed: u64,
}

/// What a call gave. Both are outcomes: the same on every node, and final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOutcome {
    /// The model's answer.
    Output(Bytes),
    /// The model refused this input, as it would on every node. Says why.
    Rejected(String),
    /// The request crashed the models of a majority and is not run, on any node. Given by Boat, never by a predictor.
    Quarantined,
}

/// A read-only question, as it is handed to a predictor between two batches. It takes no position, and leaves no trace.
#[derive(Debug, Clone)]
pub struct Query {
    /// The position of the last request that the state has seen.
    pub position: u64,
    /// Log time at that position, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The question as its client sent it.
    pub body: Bytes,
}

/// What a query gave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryOutcome {
    /// The model's answer.
    Output(Bytes),
    /// The model refused this question. Says why.
    Rejected(String),
    /// This predictor answers no queries: its predictions change its state.
    Unsupported,
}

/// Why a predictor could not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredictorError {
    /// Provably nothing happened for the first call without an outcome, nor for those behind it. It is tried again.
    #[error("backend unavailable: {0}")]
    Unavailable(String),
    /// The backend restarted, or nobody knows whether a call ran. The state is rebuilt by replay.
    #[error("backend lost its state: {0}")]
    StateLost(String),
}

/// Checks a request before it costs anything; given out by [`Predictor::check`]. The error says what is wrong and where.
pub type Check = Arc<dyn Fn(RequestKind, &[u8]) -> Result<(), String> + Send + Sync>;

/// A model, or the way to one, as Boat drives it.
///
/// # Contract
/// - Calls come in rising positions, one batch at a time, from one task; no call comes twice unless [`reset`] lies between.
/// - `predict` pushes one outcome per call, in order. After an error the calls without an outcome did not happen
///   ([`PredictorError::Unavailable`]) or the whole state is void ([`PredictorError::StateLost`]).
/// - A call that takes longer than `limits.call_ms_max` is taken for a loss of state: the future is dropped, and a `reset`
///   follows.
/// - The outcome is a function of the requests since the last [`reset`] and their stamped time and seed, and of nothing else.
/// - `reset` leaves a model that has seen no request.
/// - `query` changes nothing that a later outcome could show. Its future may be dropped half way, when nobody waits for it any
///   more; the predictor can then go on as if it had not been asked.
///
/// [`reset`]: Predictor::reset
pub trait Predictor: Send + 'static {
    /// What this predictor can lose.
    fn state_kind(&self) -> StateKind;

    /// A check of requests that needs no model, run by the frontend before anything is proposed. Default: accepts all.
    fn check(&self) -> Check {
        Arc::new(|_, _| Ok(()))
    }

    /// Another predictor like this one, fresh, for a predictor whose calls keep their thread: when one of them never returns,
    /// its thread is given up, and this one goes on in another. Default: none, for predictors whose futures can be dropped.
    fn spare(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Makes the model fresh: as if it had seen no request. Called before the first batch and after
    /// [`PredictorError::StateLost`].
    ///
    /// # Errors
    /// [`PredictorError::Unavailable`] while the backend cannot be had; Boat tries again.
    fn reset(&mut self) -> impl Future<Output = Result<(), PredictorError>> + Send;

    /// Runs `calls` in order and pushes one outcome for each onto `outcomes`, which comes empty.
    ///
    /// # Errors
    /// See [`PredictorError`]: outcomes pushed before an `Unavailable` stand.
    fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> impl Future<Output = Result<(), PredictorError>> + Send;

    /// Answers a question from the state as it is, between two batches. Default: where the predictor is
    /// [stateless](StateKind::Stateless), whatever `predict` says to the question as if it were a prediction, with the position as
    /// its number; otherwise [`QueryOutcome::Unsupported`].
    ///
    /// # Errors
    /// See [`PredictorError`]. The question is answered with the error; it is not tried again.
    fn query(&mut self, query: &Query) -> impl Future<Output = Result<QueryOutcome, PredictorError>> + Send {
        async move {
            if self.state_kind() != StateKind::Stateless {
                return Ok(QueryOutcome::Unsupported);
            }
            let Query { position, time_ms, body } = query.clone();
            let kind = RequestKind::Predict;
            let call = Call { position, predictions_before: position, kind, body, time_ms, seed: 0 };
            let mut outcomes = Vec::with_capacity(1);
            self.predict(&[call], &mut outcomes).await?;
            Ok(match outcomes.pop() {
                Some(CallOutcome::Output(output)) => QueryOutcome::Output(output),
                Some(CallOutcome::Rejected(reason)) => QueryOutcome::Rejected(reason),
                Some(CallOutcome::Quarantined) | None => QueryOutcome::Unsupported,
            })
        }
    }
}
