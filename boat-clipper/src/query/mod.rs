//! A predictor on Clipper's REST API.

mod config;
pub(crate) mod connection;
mod freshness;
mod renewal;
mod work;

use std::net::SocketAddr;

use boat_core::{Call, CallOutcome, Check, Predictor, PredictorError, StateKind};
use bytes::Bytes;
use http::{Method, StatusCode};

pub use self::config::{ClipperConfig, ClipperConfigError};
use self::connection::{Connection, ExchangeError};
pub use self::renewal::Renewal;
use self::work::{InputOutcome, Work};
use crate::answer::{Refusal, read_answer};
use crate::outcome_log::{AnsweredBy, log_outcome};
use crate::request::{self, Element};

/// How much of an unexpected answer stands in an error.
const REASON_CHARS_MAX: usize = 300;

/// Drives one application of a Clipper, or of an [`Engine`].
///
/// It must be driven within a Tokio runtime with network and time.
///
/// # Requests
/// - A prediction is `{"input": X}` or `{"input_batch": [X, ...]}` and nothing else, with X of the application's
///   [`InputType`](crate::InputType). A batch, of [`CLIENT_BATCH_INPUTS_MAX`](crate::CLIENT_BATCH_INPUTS_MAX) inputs at the
///   most, is one request with one position; its elements share one `query_id`.
/// - Feedback is any JSON value `F`. It reaches the model as the input string `{"feedback":F}`, with F as its client wrote it,
///   and so only where inputs are strings. (Clipper's own `/update` reaches no model.)
/// - Configuration changes are rejected.
///
/// [`Predictor::check`] refuses, besides what Clipper refuses, the inputs that it chokes on: empty ones, which block a
/// model for good, and strings with a NUL character, which it cuts there.
///
/// # Outcomes
/// Outcomes are Clipper's answers, with [`Call::predictions_before`] as `query_id`, and outputs byte for byte as Clipper wrote
/// them. Inputs go out strictly in order: one `input_batch` in flight, none pipelined, no input twice in one batch. What
/// Clipper does with time, queues and restarts can void a model's state without a word, so every doubt is an error:
///
/// | what happens | what it is |
/// |---|---|
/// | no connection, or closed before a byte was sent | `Unavailable` |
/// | closed, cut off or late after sending; any status but 200, 400 and 413; an answer that is none | `StateLost` |
/// | `"default":true` | `StateLost`; `Unavailable` where the model keeps no state |
/// | 400 or 413 | nothing ran, for Clipper reads the whole body first: halves are tried, and what is refused alone is `Rejected` |
///
/// After `StateLost` nothing is sent until [`Predictor::reset`]; nor after a `predict` that was dropped half way. A client's
/// batch of which Clipper refuses an element is rejected as a whole; its other elements run.
///
/// # Readiness
/// A reset is done once the frontend answers `GET /metrics`: a real prediction as a probe would change a model that keeps
/// state.
#[derive(Debug)]
pub struct ClipperPredictor {
    config: ClipperConfig,
    path: String,
    connection: Connection,
    renewal: Renewal,
    /// Why nobody knows the model's state, if so.
    void: Option<String>,
    /// Whether a prediction was answered since the last reset, so that a frontend that goes on counting shows it.
    answered: bool,
}

/// The answer to one batch of inputs.
enum Reply {
    /// One output for each, as JSON.
    Outputs(Vec<String>),
    /// Nothing ran, because of this.
    Refused(String),
}

impl ClipperPredictor {
    /// A predictor on the query frontend at `address`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClipperConfigError`], when the configuration cannot be.
    pub fn new(
        address: SocketAddr,
        config: ClipperConfig,
        renewal: Renewal,
    ) -> Result<Self, ClipperConfigError> {
        config.check()?;
        let path = format!("/{}/predict", config.application);
        let connection = Connection::new(address, &config);
        Ok(ClipperPredictor { config, path, connection, renewal, void: None, answered: false })
    }

    /// Where the query frontend is.
    pub fn query_address(&self) -> SocketAddr {
        self.connection.address()
    }

    fn keeps_state(&self) -> bool {
        self.config.state_kind != StateKind::Stateless
    }

    /// Runs the next batch of inputs, and believes what it gave only if the model is still the one that it was.
    async fn run_watched(
        &mut self,
        inputs: &[Element<'_>],
    ) -> Result<Vec<InputOutcome>, (usize, PredictorError)> {
        let keeps_state = self.keeps_state();
        self.renewal.begin(keeps_state).await.map_err(|error| (0, error))?;
        let lost = self.renewal.until_lost();
        let outcomes = tokio::select! {
            biased;
            outcomes = self.run(inputs) => outcomes?,
            why = lost => {
                self.connection.close();
                return Err((0, PredictorError::StateLost(why)));
            }
        };
        let ran = outcomes.len();
        self.renewal.confirm().await.map_err(|why| (ran, PredictorError::StateLost(why)))?;
        Ok(outcomes)
    }

    /// Runs the next batch of inputs, in halves if need be. Refused ones stand in the outcomes like answered ones.
    async fn run(&mut self, inputs: &[Element<'_>]) -> Result<Vec<InputOutcome>, (usize, PredictorError)> {
        let mut outcomes: Vec<InputOutcome> = Vec::with_capacity(inputs.len());
        // Each part is sent, or split in two: less than twice as many requests as inputs.
        let mut parts = vec![inputs];
        while let Some(part) = parts.pop() {
            let (first, second) = part.split_at(part.len() / 2);
            match self.send(part).await.map_err(|error| (outcomes.len(), error))? {
                Reply::Outputs(outputs) => outcomes.extend(outputs.into_iter().map(Ok)),
                Reply::Refused(why) if part.len() <= 1 => outcomes.push(Err(why)),
                Reply::Refused(_) => parts.extend([second, first]),
            }
        }
        Ok(outcomes)
    }

    async fn send(&mut self, inputs: &[Element<'_>]) -> Result<Reply, PredictorError> {
        let body = body(inputs);
        let exchange = self.connection.exchange(Method::POST, &self.path, body).await;
        let (status, answer) = exchange.map_err(|error| match error {
            ExchangeError::NotSent(why) => PredictorError::Unavailable(why),
            ExchangeError::Unknown(why) => PredictorError::StateLost(why),
        })?;
        // A model's bytes pass through Clipper as they are; those that are no UTF-8 become U+FFFD, on every node alike.
        let answer = String::from_utf8_lossy(&answer);
        self.answered |= status == StatusCode::OK;
        match status {
            StatusCode::OK => self.outputs(&answer, inputs.len()).map(Reply::Outputs),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Ok(Reply::Refused(reason(&answer))),
            _ => Err(PredictorError::StateLost(format!("status {status}: {}", reason(&answer)))),
        }
    }

    fn outputs(&self, answer: &str, count: usize) -> Result<Vec<String>, PredictorError> {
        let predictions = read_answer(answer, count).map_err(PredictorError::StateLost)?;
        let output = |prediction: crate::answer::Prediction<'_>| {
            if !prediction.default {
                return Ok(prediction.output.get().to_owned());
            }
            let why = prediction.default_explanation.unwrap_or("no explanation".into());
            let why = format!("the application's default came instead of an output: {why}");
            Err(if self.keeps_state() {
                PredictorError::StateLost(why)
            } else {
                PredictorError::Unavailable(why)
            })
        };
        predictions.into_iter().map(output).collect()
    }

    /// What an error means for the calls that have no outcome, given how many inputs of the current batch did run.
    fn judge(&mut self, error: PredictorError, is_torn: bool) -> PredictorError {
        if !self.keeps_state() {
            self.void = None;
            return error;
        }
        let why = match error {
            PredictorError::Unavailable(why) if !is_torn => {
                self.void = None;
                return PredictorError::Unavailable(why);
            }
            PredictorError::Unavailable(why) => format!("a request ran in part: {why}"),
            PredictorError::StateLost(why) => why,
        };
        self.void = Some(why.clone());
        PredictorError::StateLost(why)
    }

    async fn ask_freshness(&mut self) -> Result<(), PredictorError> {
        let (status, metrics) =
            self.connection.exchange(Method::GET, "/metrics", Bytes::new()).await.map_err(|error| {
                let (ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) = error;
                PredictorError::Unavailable(why)
            })?;
        let address = self.connection.address();
        if status != StatusCode::OK {
            let why = format!("{address} is no query frontend: GET /metrics gave status {status}");
            return Err(PredictorError::Unavailable(why));
        }
        match self.renewal {
            Renewal::External if self.keeps_state() && self.void.is_some() && !self.answered => {
                Err(PredictorError::Unavailable(format!(
                    "the first prediction since Clipper at {address} was found fresh is lost, so its count cannot tell \
                     whether it is fresh again: restart query frontend and model container, then this node"
                )))
            }
            Renewal::External if self.keeps_state() => freshness::check(&metrics, &self.config.application)
                .map_err(|why| PredictorError::Unavailable(format!("Clipper at {address}: {why}"))),
            _ => Ok(()),
        }
    }
}

impl Predictor for ClipperPredictor {
    fn state_kind(&self) -> StateKind {
        self.config.state_kind
    }

    fn check(&self) -> Check {
        request::check(self.config.input_type)
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        self.connection.close();
        self.renewal.renew().await?;
        self.ask_freshness().await?;
        self.void = None;
        self.answered = false;
        Ok(())
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        if let Some(why) = &self.void {
            return Err(PredictorError::StateLost(why.clone()));
        }
        let mut work = Work::of(calls, self.config.input_type);
        loop {
            for (call, outcome) in work.finished() {
                log_outcome(self.config.node, call, AnsweredBy::Clipper, &outcome);
                outcomes.push(outcome);
            }
            let batch = work.next_batch(self.config.batch_inputs_max, self.config.batch_bytes_max);
            if batch.is_empty() {
                return Ok(());
            }
            if self.keeps_state() {
                self.void = Some("a call was given up half way".to_owned());
            }
            match self.run_watched(batch).await {
                Ok(done) => work.done(done),
                Err((ran, error)) => return Err(self.judge(error, ran > 0 || work.is_torn())),
            }
            self.void = None;
        }
    }
}

/// One input goes as `input`, several as `input_batch`.
fn body(inputs: &[Element<'_>]) -> Bytes {
    let texts: Vec<&str> = inputs.iter().map(|element| element.json.as_ref()).collect();
    match texts.as_slice() {
        [one] => format!("{{\"input\":{one}}}").into(),
        several => format!("{{\"input_batch\":[{}]}}", several.join(",")).into(),
    }
}

/// What an answer says, in one line.
fn reason(answer: &str) -> String {
    let reason = match serde_json::from_str::<Refusal<'_>>(answer) {
        Ok(refusal) => refusal.to_string(),
        Err(_) => answer.to_owned(),
    };
    let words: Vec<&str> = reason.split_whitespace().collect();
    words.join(" ").chars().take(REASON_CHARS_MAX).collect()
}
