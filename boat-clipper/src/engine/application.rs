//! One application: a queue in order of arrival, and a thread that runs the model.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{ApplicationConfig, EngineError};
use crate::{EngineModel, Input};

/// How many queries may wait for one model. Past it they get the default at once: as if their time had run out.
const QUERIES_WAITING_MAX: usize = 1_024;

/// Answered as the default's explanation when there is no model.
const NO_MODEL: &str = "No model is linked to the application, or it has died";
/// Answered as the default's explanation when the time is over.
const TOO_LATE: &str = "The model gave no answer within the application's latency SLO";

/// The numbers of queries: one counter for the whole engine, as in Clipper.
#[derive(Debug, Default)]
pub(super) struct QueryIds(Mutex<u64>);

/// What was asked at once, and where its outputs go.
struct Query {
    inputs: Vec<Input>,
    outputs: oneshot::Sender<Vec<String>>,
}

/// What became of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// The number of its first input; the others follow.
    pub(super) query_id: u64,
    /// One output for each input, or why there is none.
    pub(super) outputs: Result<Vec<String>, &'static str>,
}

/// An application that runs.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) config: ApplicationConfig,
    ids: Arc<QueryIds>,
    waiting: Option<mpsc::Sender<Query>>,
    predictions: AtomicU64,
    defaults: AtomicU64,
}

impl Application {
    /// Starts the model's thread. It ends when the application is dropped and the model's current batch is done.
    pub(super) fn start(config: ApplicationConfig, ids: Arc<QueryIds>) -> Result<Self, EngineError> {
        let waiting = match &config.model {
            Some(model) => Some(start_model((model.make)(), &config.name)?),
            None => None,
        };
        let (predictions, defaults) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Application { config, ids, waiting, predictions, defaults })
    }

    /// Runs `inputs` behind all that came before.
    pub(super) async fn predict(&self, inputs: Vec<Input>) -> Answered {
        let count = inputs.len();
        let slo = Duration::from_micros(self.config.latency_slo_micros);
        let (query_id, outputs) = self.enqueue(inputs);
        let outputs = match outputs {
            _ if count == 0 => Ok(Vec::new()),
            Err(why) => Err(why),
            Ok(outputs) => match tokio::time::timeout(slo, outputs).await {
                Ok(Ok(outputs)) if outputs.len() == count => Ok(outputs),
                _ => Err(TOO_LATE),
            },
        };
        self.predictions.fetch_add(count as u64, Ordering::Relaxed);
        if outputs.is_err() {
            self.defaults.fetch_add(count as u64, Ordering::Relaxed);
        }
        Answered { query_id, outputs }
    }

    /// Numbers a query and puts it in line, under one lock: the numbers rise in the order in which the model sees them.
    fn enqueue(&self, inputs: Vec<Input>) -> (u64, Result<oneshot::Receiver<Vec<String>>, &'static str>) {
        let mut next = self.ids.0.lock().unwrap_or_else(PoisonError::into_inner);
        let query_id = *next;
        *next += inputs.len() as u64;
        let Some(waiting) = &self.waiting else { return (query_id, Err(NO_MODEL)) };
        let (outputs, receiver) = oneshot::channel();
        let enqueued = match waiting.try_send(Query { inputs, outputs }) {
            Ok(()) => Ok(receiver),
            Err(mpsc::error::TrySendError::Full(_)) => Err(TOO_LATE),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NO_MODEL),
        };
        (query_id, enqueued)
    }

    /// How many inputs were answered, and how many of them with the default.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.predictions.load(Ordering::Relaxed), self.defaults.load(Ordering::Relaxed))
    }
}

fn start_model(model: Box<dyn EngineModel>, application: &str) -> Result<mpsc::Sender<Query>, EngineError> {
    let (sender, receiver) = mpsc::channel(QUERIES_WAITING_MAX);
    let thread = std::thread::Builder::new().name(format!("model-{application}"));
    thread.spawn(move || run_model(model, receiver)).map_err(EngineError::Thread)?;
    Ok(sender)
}

/// A model that panics ends its thread: from then on the application answers its default.
fn run_model(mut model: Box<dyn EngineModel>, mut waiting: mpsc::Receiver<Query>) {
    while let Some(query) = waiting.blocking_recv() {
        // Nobody waits any more: its time is over, or its connection. Clipper drops such queries too.
        if !query.outputs.is_closed() {
            let _ = query.outputs.send(model.predict(&query.inputs));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;

    use super::*;
    use crate::engine::ModelConfig;

    /// Answers each batch with what the test sends, once it sends it.
    struct Told {
        told: blocking::Receiver<Vec<String>>,
        seen: blocking::Sender<usize>,
    }

    impl EngineModel for Told {
        fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
            self.seen.send(inputs.len()).unwrap();
            self.told.recv().unwrap()
        }
    }

    fn told(
        latency_slo_micros: u64,
    ) -> (Application, blocking::Sender<Vec<String>>, blocking::Receiver<usize>) {
        let (tell, told) = blocking::channel();
        let (seen, see) = blocking::channel();
        let model = Mutex::new(Some(Told { told, seen }));
        let make = Arc::new(move || Box::new(model.lock().unwrap().take().unwrap()) as Box<dyn EngineModel>);
        let model = Some(ModelConfig { make, ..ModelConfig::default() });
        let config = ApplicationConfig { latency_slo_micros, model, ..ApplicationConfig::default() };
        (Application::start(config, Arc::default()).unwrap(), tell, see)
    }

    fn inputs(count: usize) -> Vec<Input> {
        vec![Input::String("x".to_owned()); count]
    }

    #[tokio::test]
    async fn a_late_model_gives_the_default_and_what_still_waits_is_never_run() {
        let (mut application, tell, seen) = told(20_000);
        // The time starts with the query and this wait comes second: the model has it, however slow the machine.
        let (late, taken) = tokio::join!(application.predict(inputs(1)), async { seen.recv() });
        assert_eq!(taken, Ok(1));
        assert_eq!(late, Answered { query_id: 0, outputs: Err(TOO_LATE) });
        let dropped = application.predict(inputs(5)).await;
        assert_eq!(dropped, Answered { query_id: 1, outputs: Err(TOO_LATE) });
        application.config.latency_slo_micros = 60_000_000;
        tell.send(vec!["late".to_owned()]).unwrap();
        tell.send(vec!["in time".to_owned(); 2]).unwrap();
        let answered = application.predict(inputs(2)).await;
        assert_eq!(answered, Answered { query_id: 6, outputs: Ok(vec!["in time".to_owned(); 2]) });
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [2]);
        assert_eq!(application.counts(), (8, 6));
    }

    #[tokio::test]
    async fn a_model_that_miscounts_or_dies_gives_the_default() {
        let (application, tell, _seen) = told(60_000_000);
        tell.send(Vec::new()).unwrap();
        assert_eq!(application.predict(inputs(2)).await.outputs, Err(TOO_LATE));
        drop(tell);
        assert_eq!(application.predict(inputs(1)).await.outputs, Err(TOO_LATE));
        application.waiting.as_ref().unwrap().closed().await;
        assert_eq!(application.predict(inputs(1)).await.outputs, Err(NO_MODEL));
        assert_eq!(application.predict(Vec::new()).await.outputs, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn without_a_model_the_default_comes_at_once() {
        let config = ApplicationConfig { model: None, ..ApplicationConfig::default() };
        let application = Application::start(config, Arc::default()).unwrap();
        assert_eq!(application.predict(inputs(1)).await.outputs, Err(NO_MODEL));
    }
}
