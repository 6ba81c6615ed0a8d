//! The boundary behind which the model lives.

use std::future::Future;
use std::io::{self, Read, Write};
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

/// A predictor's state as it was at one moment, which goes on existing while the predictor goes on.
///
/// Made by [`Predictor::freeze`] between two batches, written by another thread. So freezing should be cheap (a copy of
/// the state in memory, or a way to one that changes no more), and what takes long belongs into the writing.
///
/// ```
/// # use boat_core::FrozenState;
/// let mut out = Vec::new();
/// FrozenState::from_bytes("weights").write_to(&mut out)?;
/// FrozenState::from_writer(|out| out.write_all(b", and more")).write_to(&mut out)?;
/// assert_eq!(out, b"weights, and more");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FrozenState(Box<WriteState>);

type WriteState = dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send;

impl FrozenState {
    /// The state of a predictor that has none.
    pub fn empty() -> Self {
        FrozenState(Box::new(|_| Ok(())))
    }

    /// A state that is these bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        FrozenState(Box::new(move |out| out.write_all(&bytes)))
    }

    /// A state that `write` writes, once, on another thread. An error of its own ends this snapshot, not the node.
    pub fn from_writer(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Self {
        FrozenState(Box::new(write))
    }

    /// Writes the state.
    ///
    /// # Errors
    /// What `out` says, or whatever makes the state.
    pub fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        (self.0)(out)
    }
}

impl std::fmt::Debug for FrozenState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenState").finish_non_exhaustive()
    }
}

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
/// - After `restore` of what `freeze` gave, everything goes on as if it were the predictor that was frozen, on whichever
///   node. Both are asked of predictors that declare [`StateKind::Snapshot`] only; [`StateKind::Stateless`] ones have an
///   empty state.
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

    /// Whether a call takes microseconds at most and waits for nothing. Boat then runs small batches where they become known,
    /// also on threads of those who ask, instead of waking the applier's thread for them; a call that hangs all the same
    /// hangs such a thread with it. Default: no.
    fn is_quick(&self) -> bool {
        false
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

    /// Freezes the state after the last batch, for a snapshot. The applier waits for this, so it should be quick: what takes
    /// long is done when the frozen state is written. Default: the empty state; an error for those that declare
    /// [`StateKind::Snapshot`], which must say how.
    ///
    /// # Errors
    /// [`PredictorError::Unavailable`] when it cannot be had now: no snapshot is made, and it is tried again later.
    /// [`PredictorError::StateLost`] as in [`Predictor::predict`].
    fn freeze(&mut self) -> impl Future<Output = Result<FrozenState, PredictorError>> + Send {
        let undeclared = || PredictorError::Unavailable("it declares snapshots and freezes none".to_owned());
        let cannot = self.state_kind() == StateKind::Snapshot;
        std::future::ready(if cannot { Err(undeclared()) } else { Ok(FrozenState::empty()) })
    }

    /// Takes the state that was frozen, in place of its own. Called in place of [`Predictor::reset`]. `state` ends where
    /// what was written ends. Default: a reset, which is right for an empty state.
    ///
    /// # Errors
    /// [`PredictorError::Unavailable`] while the backend cannot be had; Boat tries again, with the state from its
    /// beginning. [`PredictorError::StateLost`] when this is no state of this predictor's.
    fn restore(
        &mut self,
        state: &mut (dyn Read + Send),
    ) -> impl Future<Output = Result<(), PredictorError>> + Send {
        let _ = state;
        self.reset()
    }

    /// Answers a question from the state as it is, between two batches. Default: where the predictor is
    /// [stateless](StateKind::Stateless), whatever `predict` says to the question as if it were a prediction, with the position as
    /// its number; otherwise [`QueryOutcome::Unsupported`].
    ///
    /// # Errors
    /// See [`PredictorError`]. The question is answered with the error; it is not tried again.
    fn query(&mut self, query: &Query) -> impl Future<Output = Result<QueryOutcome, PredictorError>> + Send {
        async move {
            match self.state_kind() {
                StateKind::Stateless => query_by_predicting(self, query).await,
                StateKind::Replay | StateKind::Snapshot => Ok(QueryOutcome::Unsupported),
            }
        }
    }
}

/// Answers `query` by what `predictor` says to it as if it were a prediction, with the position as its number: for
/// [`Predictor::query`] of a model whose predictions change nothing.
///
/// # Errors
/// Those of [`Predictor::predict`].
pub async fn query_by_predicting<P: Predictor + ?Sized>(
    predictor: &mut P,
    query: &Query,
) -> Result<QueryOutcome, PredictorError> {
    let Query { position, time_ms, body } = query.clone();
    let kind = RequestKind::Predict;
    let call = Call { position, predictions_before: position, kind, body, time_ms, seed: 0 };
    let mut outcomes = Vec::with_capacity(1);
    predictor.predict(&[call], &mut outcomes).await?;
    Ok(match outcomes.pop() {
        Some(CallOutcome::Output(output)) => QueryOutcome::Output(output),
        Some(CallOutcome::Rejected(reason)) => QueryOutcome::Rejected(reason),
        Some(CallOutcome::Quarantined) | None => QueryOutcome::Unsupported,
    })
}
