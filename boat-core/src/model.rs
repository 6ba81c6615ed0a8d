//! A model in plain Rust, in process.

use std::io::Read;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    Call, CallOutcome, FrozenState, Predictor, PredictorError, Query, QueryOutcome, RequestKind, StateKind,
};

/// Where and when, for a model: the same on every node and at every replay.
#[derive(Debug, Clone)]
pub struct Context {
    position: u64,
    predictions_before: u64,
    kind: RequestKind,
    time_ms: u64,
    seed: u64,
}

impl Context {
    /// The context of one call.
    pub fn of(call: &Call) -> Self {
        Context {
            position: call.position,
            predictions_before: call.predictions_before,
            kind: call.kind,
            time_ms: call.time_ms,
            seed: call.seed,
        }
    }

    fn of_query(query: &Query) -> Self {
        let Query { position, time_ms, .. } = *query;
        Context { position, predictions_before: 0, kind: RequestKind::Predict, time_ms, seed: 0 }
    }

    /// The request's position in the replicated order.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many prediction requests stand before this one.
    pub fn predictions_before(&self) -> u64 {
        self.predictions_before
    }

    /// What is asked.
    pub fn kind(&self) -> RequestKind {
        self.kind
    }

    /// Log time, in milliseconds since the Unix epoch: the leader's clock, made never to fall.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Random numbers for this request: ChaCha with 8 rounds, seeded from the log.
    pub fn rng(&self) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let words = [self.seed, self.position, 0, 0];
        for (bytes, word) in seed.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&u64::to_le_bytes(word));
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// A model in plain Rust. Its state is what serde writes of it: it is made fresh by reading back what was given to the node,
/// and goes into snapshots and comes out of them the same way. So a field that serde skips must not matter to `predict`.
///
/// # Contract
/// `predict` depends on nothing but the state, the request and the [`Context`]: no clock, no random numbers of its own, no
/// iteration over hash maps. A model that panics loses its state, which is rebuilt by replay; a request that makes it panic
/// three times is held, and quarantined once a majority of the nodes has met the same.
///
/// ```
/// use boat_core::{Context, Model};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct RunningMean { seen: u64, sum: f64 }
///
/// impl Model for RunningMean {
///     type Request = f64;
///     type Response = f64;
///     fn predict(&mut self, _: &Context, x: f64) -> f64 {
///         self.seen += 1;
///         self.sum += x;
///         self.sum / self.seen as f64
///     }
/// }
/// ```
pub trait Model: Serialize + DeserializeOwned + Send + 'static {
    /// What a client sends, as JSON.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What a client gets, as JSON.
    type Response: Serialize + DeserializeOwned + Send + 'static;

    /// Answers one request, and learns from it as it may.
    fn predict(&mut self, context: &Context, request: Self::Request) -> Self::Response;

    /// Whether `predict` takes microseconds at most and waits for nothing. Small batches are then run where they become known, also
    /// on threads of those who ask, which spares the change to the model's own thread; see [`Predictor::is_quick`]. Default: no.
    fn is_quick(&self) -> bool {
        false
    }

    /// Answers a question without learning from it, for [`Node::query`](crate::Node::query). Default: `None`, this model
    /// answers no queries. [`Context::position`] is the last one that the state has seen; a query has no random numbers.
    fn query(&self, context: &Context, request: Self::Request) -> Option<Self::Response> {
        let _ = (context, request);
        None
    }
}

/// A model whose state serde cannot write and read back.
#[derive(Debug, thiserror::Error)]
#[error("the model's state cannot be written and read back by serde: {0}")]
pub struct ModelError(String);

/// Runs a [`Model`] as a [`Predictor`].
#[derive(Debug)]
pub struct ModelPredictor<M: Model> {
    fresh: Vec<u8>,
    model: M,
    types: PhantomData<fn(M::Request) -> M::Response>,
}

impl<M: Model> ModelPredictor<M> {
    /// A predictor that starts from `model`, and goes back to it at each reset.
    ///
    /// # Errors
    /// When serde cannot write `model`, or cannot read back what it wrote.
    pub fn new(model: M) -> Result<Self, ModelError> {
        let fresh = rmp_serde::to_vec_named(&model).map_err(|error| ModelError(error.to_string()))?;
        let model = Self::read(&fresh).map_err(|error| ModelError(error.to_string()))?;
        Ok(ModelPredictor { fresh, model, types: PhantomData })
    }

    fn read(state: &[u8]) -> Result<M, rmp_serde::decode::Error> {
        rmp_serde::from_slice(state)
    }

    /// The state, as it stands in a snapshot.
    pub(crate) fn written(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        rmp_serde::to_vec_named(&self.model)
    }

    /// Takes the state of a snapshot in place of its own.
    pub(crate) fn take(&mut self, state: &[u8]) -> Result<(), rmp_serde::decode::Error> {
        self.model = Self::read(state)?;
        Ok(())
    }

    /// Runs one call.
    ///
    /// # Errors
    /// [`PredictorError::StateLost`] when the model panics: what it left of its state is not to be trusted.
    pub(crate) fn call(&mut self, call: &Call) -> Result<CallOutcome, PredictorError> {
        let request = match serde_json::from_slice(&call.body) {
            Ok(request) => request,
            Err(error) => return Ok(CallOutcome::Rejected(error.to_string())),
        };
        let predict = AssertUnwindSafe(|| self.model.predict(&Context::of(call), request));
        let response = catch_unwind(predict).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words");
            PredictorError::StateLost(format!("the model panicked at position {}: {text}", call.position))
        })?;
        Ok(match serde_json::to_vec(&response) {
            Ok(output) => CallOutcome::Output(output.into()),
            Err(error) => CallOutcome::Rejected(format!("the model's answer is not JSON: {error}")),
        })
    }
}

impl<M: Model> ModelPredictor<M> {
    fn ask(&self, query: &Query) -> QueryOutcome {
        let request = match serde_json::from_slice(&query.body) {
            Ok(request) => request,
            Err(error) => return QueryOutcome::Rejected(error.to_string()),
        };
        let ask = AssertUnwindSafe(|| self.model.query(&Context::of_query(query), request));
        let response = match catch_unwind(ask) {
            Ok(Some(response)) => response,
            Ok(None) => return QueryOutcome::Unsupported,
            Err(_) => return QueryOutcome::Rejected("the model panicked on this query".to_owned()),
        };
        match serde_json::to_vec(&response) {
            Ok(output) => QueryOutcome::Output(output.into()),
            Err(error) => QueryOutcome::Rejected(format!("the model's answer is not JSON: {error}")),
        }
    }
}

impl<M: Model> Predictor for ModelPredictor<M> {
    fn state_kind(&self) -> StateKind {
        StateKind::Snapshot
    }

    fn check(&self) -> crate::Check {
        std::sync::Arc::new(|_, body| {
            serde_json::from_slice::<M::Request>(body).map(drop).map_err(|error| error.to_string())
        })
    }

    fn is_quick(&self) -> bool {
        self.model.is_quick()
    }

    fn spare(&self) -> Option<Self> {
        let model = Self::read(&self.fresh).ok()?;
        Some(ModelPredictor { fresh: self.fresh.clone(), model, types: PhantomData })
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        let read = Self::read(&self.fresh);
        self.model = read.map_err(|error| PredictorError::Unavailable(error.to_string()))?;
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        for call in calls {
            outcomes.push(self.call(call)?);
        }
        Ok(())
    }

    async fn query(&mut self, query: &Query) -> Result<QueryOutcome, PredictorError> {
        Ok(self.ask(query))
    }

    async fn freeze(&mut self) -> Result<FrozenState, PredictorError> {
        self.written()
            .map(FrozenState::from_bytes)
            .map_err(|error| PredictorError::Unavailable(error.to_string()))
    }

    async fn restore(&mut self, state: &mut (dyn Read + Send)) -> Result<(), PredictorError> {
        let mut bytes = Vec::new();
        let lost = |why: &dyn std::fmt::Display| PredictorError::StateLost(format!("a snapshot: {why}"));
        state.read_to_end(&mut bytes).map_err(|error| lost(&error))?;
        self.take(&bytes).map_err(|error| lost(&error))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Sum(f64, Vec<String>);

    impl Model for Sum {
        type Request = f64;
        type Response = f64;

        fn predict(&mut self, _: &Context, x: f64) -> f64 {
            self.0 += x;
            self.1.push(x.to_string());
            self.0
        }
    }

    fn call(body: &'static str) -> Call {
        let (kind, body) = (RequestKind::Predict, body.into());
        Call { position: 1, predictions_before: 0, kind, body, time_ms: 0, seed: 0 }
    }

    #[tokio::test]
    async fn a_frozen_model_goes_on_elsewhere_as_it_was() {
        let mut first = ModelPredictor::new(Sum(0.1, Vec::new())).unwrap();
        first.predict(&[call("0.7"), call("1e300")], &mut Vec::new()).await.unwrap();
        let frozen = first.freeze().await.unwrap();
        let (mut expected, mut found, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        first.predict(&[call("3")], &mut expected).await.unwrap();
        frozen.write_to(&mut bytes).unwrap();
        let mut second = ModelPredictor::new(Sum(0.0, Vec::new())).unwrap();
        second.restore(&mut &bytes[..]).await.unwrap();
        second.predict(&[call("3")], &mut found).await.unwrap();
        assert_eq!((expected, &first.model), (found, &second.model));
        second.reset().await.unwrap();
        assert_eq!(second.model, Sum(0.0, Vec::new()));
        let cut = second.restore(&mut &bytes[..bytes.len() - 1]).await;
        assert!(matches!(cut, Err(PredictorError::StateLost(_))), "{cut:?}");
    }
}
