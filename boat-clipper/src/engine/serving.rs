//! What an engine serves: a deployment, and the replicas that run its models.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::lives::Lives;
use super::metrics::{Counts, Meters};
use super::queue::{Batch, NotQueued, Queue, Ticket};
use super::{EngineConfig, EngineError};
use crate::deployment::{Change, ContainerView, Deployment, Look, ModelId};
use crate::rpc::Metadata;
use crate::{EngineModel, Input, InputType, ModelFactory};

/// Answered as the default's explanation when no replica serves the model. Clipper's words, by which clients tell.
pub(crate) const NO_MODEL: &str = "No connected models found for query";
/// Answered as the default's explanation when the model gave nothing in time. Clipper's words.
pub(super) const TOO_LATE: &str = "Failed to retrieve a prediction response within the specified latency SLO";

/// What all connections share, query frontend's, management's and containers' alike.
#[derive(Debug)]
pub(super) struct Serving {
    state: Mutex<State>,
    built_in: BuiltIn,
    keeps_state: bool,
    lives: Arc<Mutex<Lives>>,
}

/// The models in this process that a deployment can name.
struct BuiltIn(BTreeMap<String, ModelFactory>);

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Debug)]
struct State {
    deployment: Deployment,
    models: BTreeMap<ModelId, Served>,
    meters: Meters,
    next_query_id: u64,
}

/// A version of a model that is deployed, or that a replica has come for.
#[derive(Debug, Default)]
struct Served {
    queue: Arc<Queue>,
    replicas: BTreeMap<u64, InputType>,
    /// The number of the next replica: never used twice.
    next_replica: u64,
    /// Whether a replica of it has been given something to run.
    has_run: bool,
}

/// A replica that serves. Dropping it takes it off.
#[derive(Debug)]
pub(super) struct Replica {
    serving: Arc<Serving>,
    id: ModelId,
    number: u64,
    input_type: InputType,
    queue: Arc<Queue>,
}

/// An application, as a request finds it.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) input_type: InputType,
    default_output: String,
    slo: Duration,
}

/// What became of the inputs of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// The number of the first input; the others follow.
    pub(super) query_id: u64,
    /// For each input its output, or why the default comes instead.
    pub(super) outputs: Vec<Result<String, &'static str>>,
    /// The application's default.
    pub(super) default_output: String,
}

impl Serving {
    /// Starts with what `config` says, its models fresh.
    pub(super) fn start(config: &EngineConfig, lives: Arc<Mutex<Lives>>) -> Result<Arc<Self>, EngineError> {
        let state = State {
            deployment: Deployment::new(),
            models: BTreeMap::new(),
            meters: Meters::new(Instant::now()),
            next_query_id: 0,
        };
        let built_in = BuiltIn(config.built_in.clone());
        let serving =
            Arc::new(Serving { state: Mutex::new(state), built_in, keeps_state: config.keeps_state, lives });
        for application in config.last_of_each_name() {
            for change in application.changes() {
                // One that repeats another's model is fine: both applications then share it.
                let _ = serving.lock().deployment.apply(&change);
            }
            if let Some(model) = &application.model {
                serving.start_in_process(
                    &application.model_id(model),
                    application.input_type,
                    &model.make,
                )?;
            }
        }
        serving.lock().open_meters();
        Ok(serving)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic with the lock held leaves a deployment that is whole: changes are made last.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every queue: replicas leave, and nothing runs any more but what is running.
    pub(super) fn close(&self) {
        for served in self.lock().models.values() {
            served.queue.close();
        }
    }

    /// Makes a change, as a request to Clipper's management frontend does.
    pub(super) fn change(self: &Arc<Self>, change: &Change) -> Result<String, String> {
        let said = {
            let mut state = self.lock();
            let said = state.deployment.apply(change)?;
            match change {
                Change::AddModel(model) => {
                    state.served(&model.id()).queue.set_batch_size(model.batch_size);
                }
                Change::DeleteVersionedModel(id) => {
                    if let Some(served) = state.models.remove(id) {
                        served.queue.close();
                    }
                }
                _ => {}
            }
            state.open_meters();
            said
        };
        if let Change::AddModel(model) = change
            && let Some(make) = self.built_in.0.get(&model.container_name)
        {
            let started = self.start_in_process(&model.id(), model.input_type, make);
            if let Err(error) = started {
                // The model is there, and nothing serves it: its answers say so.
                log::error!("engine: model {}: {error}", model.id());
            }
        }
        Ok(said)
    }

    /// Answers a question of the management frontend's.
    pub(super) fn look(&self, look: &Look) -> Result<String, String> {
        let state = self.lock();
        let containers: Vec<ContainerView> = match look {
            Look::AllContainers { .. } | Look::Container { .. } => state.containers(),
            _ => Vec::new(),
        };
        state.deployment.look(look, &containers)
    }

    /// The application of this name.
    pub(super) fn target(&self, application: &str) -> Option<Target> {
        let state = self.lock();
        let found = state.deployment.application(application)?;
        Some(Target {
            name: found.name.clone(),
            input_type: found.input_type,
            default_output: found.default_output.clone(),
            slo: Duration::from_micros(u64::try_from(found.latency_slo_micros).unwrap_or(0)),
        })
    }

    /// Runs `inputs` on the model behind `target`, behind all that came before; on another version than the selected one
    /// where `version` says so. The error says why there is no such version.
    pub(super) async fn predict(
        &self,
        target: Target,
        version: Option<&str>,
        inputs: Vec<Input>,
    ) -> Result<Answered, String> {
        let started = Instant::now();
        let count = inputs.len();
        let Enqueued { query_id, model, ticket } = self.enqueue(&target, version, inputs, started)?;
        let outputs: Vec<_> = match ticket {
            Ok(ticket) => ticket.outputs().await.into_iter().map(|output| output.ok_or(TOO_LATE)).collect(),
            Err(why) => vec![Err(why); count],
        };
        let counts = Counts::of(&outputs);
        self.lock().meters.answered(&target.name, model.as_ref(), counts, started, Instant::now());
        Ok(Answered { query_id, outputs, default_output: target.default_output })
    }

    /// Numbers a query and puts it in line, under one lock: the numbers rise in the order in which the model sees them.
    fn enqueue(
        &self,
        target: &Target,
        version: Option<&str>,
        inputs: Vec<Input>,
        now: Instant,
    ) -> Result<Enqueued, String> {
        let mut state = self.lock();
        let model = state.resolve(&target.name, version)?;
        let query_id = state.next_query_id;
        state.next_query_id += inputs.len() as u64;
        let served = model.as_ref().and_then(|id| state.models.get(id));
        let ticket = match served {
            _ if inputs.is_empty() => Err(NO_MODEL),
            None => Err(NO_MODEL),
            Some(served) => served.queue.push(inputs, now + target.slo).map_err(|error| match error {
                // A state that is gone must not look like a model that is yet to come.
                NotQueued::NoReplica if self.keeps_state && served.has_run => TOO_LATE,
                NotQueued::NoReplica => NO_MODEL,
                NotQueued::Full => TOO_LATE,
            }),
        };
        Ok(Enqueued { query_id, model, ticket })
    }

    /// Takes in a container that says what it serves. The error says why it is not given anything to run.
    pub(super) fn register(
        self: &Arc<Self>,
        metadata: &Metadata,
        identity: &Bytes,
    ) -> Result<Replica, String> {
        let Metadata { model_name, model_version, input_type } = metadata;
        if model_name.contains([',', ':']) || model_version.contains([',', ':']) {
            return Err(format!("{model_name:?} {model_version:?}: names have no ',' and no ':'"));
        }
        let id = ModelId { model_name: model_name.clone(), model_version: model_version.clone() };
        let mut state = self.lock();
        if self.keeps_state {
            let served = state.models.get(&id);
            if served.is_some_and(|served| !served.replicas.is_empty()) {
                return Err(format!("model {id} keeps state, and has its container already"));
            }
            if served.is_some_and(|served| served.has_run) {
                return Err(format!(
                    "model {id} keeps state, and its container is gone: it is rebuilt first"
                ));
            }
            let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
            lives.begin(identity).map_err(|why| format!("model {id} keeps state, and {why}"))?;
        }
        Ok(state.join(self, id, *input_type))
    }

    fn start_in_process(
        self: &Arc<Self>,
        id: &ModelId,
        input_type: InputType,
        make: &ModelFactory,
    ) -> Result<(), EngineError> {
        let replica = {
            let mut state = self.lock();
            if !state.served(id).replicas.is_empty() {
                return Ok(());
            }
            state.join(self, id.clone(), input_type)
        };
        let model = make();
        let thread = std::thread::Builder::new().name(format!("model-{}", id.model_name));
        thread.spawn(move || run_model(model, &replica)).map(drop).map_err(EngineError::Thread)
    }

    /// All metrics, in Clipper's shape.
    pub(super) fn metrics(&self) -> Vec<u8> {
        self.lock().meters.show(Instant::now())
    }
}

struct Enqueued {
    query_id: u64,
    model: Option<ModelId>,
    ticket: Result<Ticket, &'static str>,
}

impl State {
    fn served(&mut self, id: &ModelId) -> &mut Served {
        self.models.entry(id.clone()).or_default()
    }

    fn join(&mut self, serving: &Arc<Serving>, id: ModelId, input_type: InputType) -> Replica {
        let batch_size =
            self.deployment.model(&id.model_name, &id.model_version).map(|model| model.batch_size);
        self.meters.open_model(&id, Instant::now());
        let served = self.served(&id);
        if let Some(batch_size) = batch_size {
            served.queue.set_batch_size(batch_size);
        }
        let number = served.next_replica;
        served.next_replica += 1;
        served.replicas.insert(number, input_type);
        served.queue.join();
        let queue = Arc::clone(&served.queue);
        log::info!("engine: replica {number} serves model {id}");
        Replica { serving: Arc::clone(serving), id, number, input_type, queue }
    }

    fn open_meters(&mut self) {
        let now = Instant::now();
        for application in self.deployment.applications() {
            self.meters.open_application(&application.name, now);
        }
    }

    /// The version that answers for an application, if it is linked with a model that has one.
    fn resolve(&self, application: &str, version: Option<&str>) -> Result<Option<ModelId>, String> {
        let linked = self.deployment.linked(application).first();
        let id = |name: &String, version: &str| ModelId {
            model_name: name.clone(),
            model_version: version.to_owned(),
        };
        match (linked, version) {
            (None, None) => Ok(None),
            (Some(name), None) => Ok(self.deployment.selected(name).map(|version| id(name, version))),
            (Some(name), Some(version)) if self.deployment.model(name, version).is_some() => {
                Ok(Some(id(name, version)))
            }
            (Some(name), Some(version)) => {
                Err(format!("Requested version: {version} does not exist for model: {name}"))
            }
            (None, Some(version)) => {
                Err(format!("Requested version: {version}, but no model is linked to the application"))
            }
        }
    }

    fn containers(&self) -> Vec<ContainerView> {
        let each = self.models.iter().flat_map(|(id, served)| {
            served.replicas.iter().map(|(number, input_type)| ContainerView {
                model_id: id.to_string(),
                model_name: id.model_name.clone(),
                model_version: id.model_version.clone(),
                model_replica_id: *number,
                input_type: *input_type,
            })
        });
        each.collect()
    }
}

impl Replica {
    /// Which version of which model it serves.
    pub(super) fn model(&self) -> &ModelId {
        &self.id
    }

    /// What it takes, by its own word.
    pub(super) fn input_type(&self) -> InputType {
        self.input_type
    }

    /// The next batch; nothing when it is not to serve any more.
    pub(super) async fn take(&self) -> Option<Batch> {
        let batch = self.queue.take().await?;
        self.note_run(batch.len());
        Some(batch)
    }

    fn note_run(&self, inputs: usize) {
        let mut state = self.serving.lock();
        if let Some(served) = state.models.get_mut(&self.id) {
            served.has_run = true;
        }
        state.meters.batch(&self.id, inputs);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.queue.leave();
        let mut state = self.serving.lock();
        let State { models, deployment, .. } = &mut *state;
        // The version may have been removed, and another of its name added since.
        if let Some(served) =
            models.get_mut(&self.id).filter(|served| Arc::ptr_eq(&served.queue, &self.queue))
        {
            served.replicas.remove(&self.number);
            let is_deployed = deployment.model(&self.id.model_name, &self.id.model_version).is_some();
            if served.replicas.is_empty() && !is_deployed && !served.has_run {
                models.remove(&self.id);
            }
        }
        log::info!("engine: replica {} of model {} is gone", self.number, self.id);
    }
}

/// A model that panics ends its thread: it leaves, and from then on nothing serves it.
fn run_model(mut model: Box<dyn EngineModel>, replica: &Replica) {
    while let Some(batch) = replica.queue.take_blocking() {
        replica.note_run(batch.len());
        let mut outputs = Vec::new();
        for part in batch.parts() {
            let expected = outputs.len() + part.len();
            outputs.extend(model.predict(part));
            if outputs.len() != expected {
                // Nobody knows which output belongs to which input.
                log::warn!("engine: model {} miscounts its outputs", replica.id);
                outputs.clear();
                break;
            }
        }
        batch.complete(outputs);
    }
}

#[cfg(test)]
mod tests;
