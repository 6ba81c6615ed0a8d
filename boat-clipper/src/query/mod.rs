//! A predictor on Clipper's REST API.

mod config;
pub(crate) mod connection;
mod exchange;
mod freshness;
mod names;
mod probe;
mod renewal;
mod replicated;
mod work;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use boat_core::{
    Call, CallOutcome, Check, FrozenState, Predictor, PredictorError, Query, QueryOutcome, RequestKind,
    StateKind, query_by_predicting,
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode};

pub use self::config::{ClipperConfig, ClipperConfigError};
use self::connection::{Connection, ExchangeError};
use self::exchange::Rules;
pub use self::renewal::Renewal;
#[cfg(feature = "docker")]
pub(crate) use self::replicated::for_backend;
use self::replicated::{Replicated, path_of};
use self::work::{InputOutcome, Output, Work};
use crate::outcome_log::{AnsweredBy, log_outcome};
use crate::request::{self, Element};
use crate::{Deployment, DeploymentView, InputType, ManagementClient};

/// How often a call of a model without state is tried whose fate nobody knows, before it may be the call that is to blame.
const UNKNOWN_TRIES_MAX: u32 = 3;

/// Drives one application of a Clipper, or of an [`Engine`](crate::Engine).
///
/// It must be driven within a Tokio runtime with network and time.
///
/// # Requests
/// - A prediction is `{"input": X}` or `{"input_batch": [X, ...]}` and nothing else, with X of the application's
///   [`InputType`](crate::InputType). A batch, of [`CLIENT_BATCH_INPUTS_MAX`](crate::CLIENT_BATCH_INPUTS_MAX) inputs at the
///   most, is one request with one position; its elements share one `query_id`.
/// - Feedback is any JSON value `F`. It reaches the model as the input string `{"feedback":F}`, with F as its client wrote it,
///   and so only where inputs are strings. (Clipper's own `/update` reaches no model.)
/// - Configuration changes are [`Configuration`](crate::Configuration)s where [`ClipperConfig::replicated`] says so, and
///   are rejected otherwise. Each is made on the Clipper behind before the next prediction runs.
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
/// | `"default":true` | `StateLost`; `Unavailable` where no container has come yet and so nothing ran |
/// | 400 or 413 | nothing ran, for Clipper reads the whole body first: halves are tried, and what is refused alone is `Rejected` |
///
/// After `StateLost` nothing is sent until [`Predictor::reset`]; nor after a `predict` that was dropped half way. A client's
/// batch of which Clipper refuses an element is rejected as a whole; its other elements run.
///
/// # Without state
/// A model that is declared to keep none is asked several batches at a time, loses nothing, and gives a default as what it
/// is: an answer that says so. What nobody knows is tried again; `StateLost` comes only of what fails three times.
///
/// # Readiness
/// A reset is done once the frontend answers `GET /metrics`. A Clipper that somebody else runs is probed besides, unless
/// [`ClipperConfig::probe`] forbids it: one input is asked twice, and must reach the model both times instead of its cache. The
/// model sees the probe as its first two inputs, on every node that has such a backend.
#[derive(Debug)]
pub struct ClipperPredictor {
    config: ClipperConfig,
    rules: Rules,
    connection: Connection,
    /// More ways to the same frontend, where calls may run at the same time.
    others: Vec<Connection>,
    renewal: Renewal,
    /// Why nobody knows the model's state, if so.
    void: Option<String>,
    /// Whether the frontend has been probed since the last reset.
    is_probed: bool,
    /// How often in a row nobody knew what became of a call of a model without state.
    unknown: u32,
    /// The deployment, where it comes with the log.
    replicated: Option<Replicated>,
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
        let rules = Rules {
            path: path_of(&config.application),
            keeps_state: config.state_kind != StateKind::Stateless,
            is_engine: matches!(renewal, Renewal::Engine(_)),
            answered: AtomicBool::new(false),
        };
        let connection = Connection::new(address, &config);
        let others = if rules.keeps_state { 0 } else { config.concurrent_batches_max - 1 };
        let others = (0..others).map(|_| Connection::new(address, &config)).collect();
        let replicated =
            config.replicated.then(|| Replicated::new(config.management_address.map(ManagementClient::new)));
        Ok(ClipperPredictor {
            config,
            rules,
            connection,
            others,
            renewal,
            void: None,
            is_probed: false,
            unknown: 0,
            replicated,
        })
    }

    /// What is deployed, where that comes with the log.
    pub fn deployment_view(&self) -> Option<DeploymentView> {
        self.replicated.as_ref().map(|replicated| replicated.view().clone())
    }

    /// What the application takes, or why nothing can be asked of it.
    fn input_type(&self) -> Result<InputType, String> {
        match &self.replicated {
            None => Ok(self.config.input_type),
            Some(replicated) => {
                let application = &self.config.application;
                let missing =
                    || format!("no application {application} is deployed: add it with POST /admin/add_app");
                replicated.input_type(application).ok_or_else(missing)
            }
        }
    }

    /// Where the query frontend is.
    pub fn query_address(&self) -> SocketAddr {
        self.connection.address()
    }

    fn keeps_state(&self) -> bool {
        self.rules.keeps_state
    }

    /// Runs the next batch of inputs, and believes what it gave only if the model is still the one that it was.
    async fn run_watched(
        &mut self,
        inputs: &[Element<'_>],
    ) -> Result<Vec<InputOutcome>, (usize, PredictorError)> {
        let application = self.known_as().to_owned();
        self.renewal.begin(true, Some(&application)).await.map_err(|error| (0, error))?;
        let lost = self.renewal.until_lost();
        let outcomes = tokio::select! {
            biased;
            outcomes = self.rules.run(&mut self.connection, inputs) => outcomes?,
            why = lost => {
                self.connection.close();
                return Err((0, PredictorError::StateLost(why)));
            }
        };
        let ran = outcomes.len();
        self.renewal.confirm(&application).await.map_err(|why| (ran, PredictorError::StateLost(why)))?;
        Ok(outcomes)
    }

    /// What an error means for the calls that have no outcome, given how many inputs of the current batch did run.
    fn judge(&mut self, error: PredictorError, is_torn: bool) -> PredictorError {
        if !self.keeps_state() {
            self.void = None;
            return match error {
                // There is nothing to lose: it is tried again, unless this is what breaks it every time.
                PredictorError::StateLost(why) if self.unknown + 1 < UNKNOWN_TRIES_MAX => {
                    self.unknown += 1;
                    PredictorError::Unavailable(why)
                }
                PredictorError::StateLost(why) => {
                    self.unknown = 0;
                    PredictorError::StateLost(why)
                }
                unavailable @ PredictorError::Unavailable(_) => unavailable,
            };
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
        let answered = self.rules.answered.load(Ordering::Relaxed);
        match self.renewal {
            Renewal::External if self.keeps_state() && self.void.is_some() && !answered => {
                Err(PredictorError::Unavailable(format!(
                    "the first prediction since Clipper at {address} was found fresh is lost, so its count cannot tell \
                     whether it is fresh again: restart query frontend and model container, then this node"
                )))
            }
            Renewal::External if self.keeps_state() => {
                freshness::check(&metrics, &self.config.application, self.config.replicated)
                    .map_err(|why| PredictorError::Unavailable(format!("Clipper at {address}: {why}")))
            }
            _ => Ok(()),
        }
    }
}

impl Predictor for ClipperPredictor {
    /// A deployment that comes with the log is state, whatever the model keeps. It is all the state of a model without any.
    fn state_kind(&self) -> StateKind {
        match self.config.state_kind {
            StateKind::Stateless if self.replicated.is_some() => StateKind::Snapshot,
            state_kind => state_kind,
        }
    }

    async fn freeze(&mut self) -> Result<FrozenState, PredictorError> {
        let deployment = self.replicated.as_ref().map(Replicated::deployment);
        Ok(deployment.map_or_else(FrozenState::empty, |all| FrozenState::from_bytes(all.to_state())))
    }

    async fn restore(&mut self, state: &mut (dyn Read + Send)) -> Result<(), PredictorError> {
        if self.state_kind() != StateKind::Snapshot {
            return self.reset().await;
        }
        let deployment = Deployment::from_state(state).map_err(PredictorError::StateLost)?;
        self.reset().await?;
        self.make(deployment).await
    }

    /// A model that keeps no state answers a question as it does a prediction.
    async fn query(&mut self, query: &Query) -> Result<QueryOutcome, PredictorError> {
        if self.rules.keeps_state {
            return Ok(QueryOutcome::Unsupported);
        }
        query_by_predicting(self, query).await
    }

    fn check(&self) -> Check {
        match &self.replicated {
            None => request::check(self.config.input_type),
            Some(replicated) => replicated.check(&self.config.application),
        }
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        self.connection.close();
        self.renewal.renew().await?;
        self.ask_freshness().await?;
        self.void = None;
        self.rules.answered.store(false, Ordering::Relaxed);
        self.is_probed = false;
        if self.replicated.is_none() {
            self.probe().await?;
        }
        let is_new = self.keeps_state() || !matches!(self.renewal, Renewal::External);
        if let Some(replicated) = &mut self.replicated {
            replicated.reset(is_new);
        }
        self.rules.path = path_of(self.known_as());
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
        let changes = |call: &Call| self.config.replicated && call.kind == RequestKind::Configure;
        let groups: Vec<_> = calls.chunk_by(|one, next| !changes(one) && !changes(next)).collect();
        for group in groups {
            match (group, self.config.replicated) {
                ([call], true) if call.kind == RequestKind::Configure => {
                    let outcome = self.configure(call).await?;
                    log_outcome(self.config.node, call, AnsweredBy::Clipper, &outcome);
                    outcomes.push(outcome);
                }
                _ => self.run_calls(group, outcomes).await?,
            }
        }
        Ok(())
    }
}

impl ClipperPredictor {
    /// Runs calls of which none changes the deployment.
    async fn run_calls(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        let input_type = match self.input_type() {
            Ok(input_type) => input_type,
            Err(why) => {
                outcomes.extend(calls.iter().map(|_| CallOutcome::Rejected(why.clone())));
                return Ok(());
            }
        };
        if self.replicated.is_some() {
            self.probe().await?;
        }
        let mut work = Work::of(calls, input_type);
        loop {
            for (call, outcome) in work.finished() {
                log_outcome(self.config.node, call, AnsweredBy::Clipper, &outcome);
                outcomes.push(outcome);
            }
            if !self.keeps_state() {
                if self.run_concurrently(&mut work).await? {
                    continue;
                }
                return Ok(());
            }
            let batch = work.next_batch(self.config.batch_inputs_max, self.config.batch_bytes_max);
            if batch.is_empty() {
                return Ok(());
            }
            self.void = Some("a call was given up half way".to_owned());
            match self.run_watched(batch).await {
                Ok(done) => work.done(done),
                Err((ran, error)) => return Err(self.judge(error, ran > 0 || work.is_torn())),
            }
            self.void = None;
        }
    }
}

/// Where no state can be harmed.
impl ClipperPredictor {
    /// Runs the next batches at the same time. False when there were none.
    async fn run_concurrently(&mut self, work: &mut Work<'_>) -> Result<bool, PredictorError> {
        let application = self.known_as().to_owned();
        self.renewal.begin(false, Some(&application)).await?;
        let ClipperConfig { concurrent_batches_max, batch_inputs_max, batch_bytes_max, .. } = self.config;
        let batches = work.next_batches(concurrent_batches_max, batch_inputs_max, batch_bytes_max);
        let connections = std::iter::once(&mut self.connection).chain(&mut self.others);
        let rules = &self.rules;
        let running = connections.zip(batches).map(|(connection, batch)| rules.run(connection, batch));
        let ran = join_all(running).await;
        if ran.is_empty() {
            return Ok(false);
        }
        for outcomes in ran {
            // What ran behind a batch that failed runs again.
            match outcomes {
                Ok(done) => work.done(done),
                Err((_, error)) => return Err(self.judge(error, false)),
            }
        }
        self.unknown = 0;
        Ok(true)
    }

    /// Asks a Clipper that somebody else runs the same thing twice, before anything else since the last reset: whether a model
    /// answers at all, and each time. The model sees both.
    async fn probe(&mut self) -> Result<(), PredictorError> {
        let is_due = matches!(self.renewal, Renewal::External) && self.config.probe && !self.is_probed;
        let Some(input_type) = self.input_type().ok().filter(|_| is_due) else { return Ok(()) };
        let unavailable = |why: String| PredictorError::Unavailable(format!("probing Clipper: {why}"));
        let body = probe::body(input_type).as_bytes();
        let elements = request::parse(input_type, RequestKind::Predict, body).map_err(unavailable)?;
        for _ in 0..2 {
            match self.rules.run(&mut self.connection, &elements).await {
                Ok(outcomes) => match outcomes.first() {
                    Some(Ok(Output { default: Some(why), .. })) | Some(Err(why)) => {
                        return Err(unavailable(why.clone()));
                    }
                    _ => {}
                },
                Err((_, PredictorError::Unavailable(why) | PredictorError::StateLost(why))) => {
                    return Err(unavailable(why));
                }
            }
        }
        let metrics = self.connection.exchange(Method::GET, "/metrics", Bytes::new()).await;
        let (_, metrics) = metrics.map_err(|error| {
            let (ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) = error;
            unavailable(why)
        })?;
        probe::check(&metrics)
            .map_err(|why| unavailable(format!("Clipper at {}: {why}", self.connection.address())))?;
        self.is_probed = true;
        Ok(())
    }
}
