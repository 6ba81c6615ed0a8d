//! The containers of one node, made and made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boat_core::{NodeId, StateKind};
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::api::{Api, Identity};
use super::claim::Claim;
use super::labels::{self, Role};
use super::plan::{ContainerPlan, Plan, Served};
use super::preflight::{network_is_free, preflight};
use super::ready::{self, name_of, role_of};
use super::register::Management;
use super::{DockerConfig, DockerError, prometheus, watcher};
use crate::ModelKind;

/// How often it is looked whether everything is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long an engine that does not answer is asked again whether the model's container is still the same one. A restart of
/// the engine takes seconds; a container that was not stopped by it still is what it was.
const CONFIRM_WAIT_MAX: Duration = Duration::from_secs(20);

/// How long the names of runs are that Boat draws: hexadecimal digits.
const RUN_DIGITS: usize = 8;

/// What to deploy for one node.
#[derive(Debug, Clone)]
pub struct DeploymentSpec {
    /// How.
    pub docker: DockerConfig,
    /// The node's number: in names, labels and log lines.
    pub node: NodeId,
    /// Where its query frontend is published.
    pub query_address: SocketAddr,
    /// Which model's image is run, unless the configuration names an image.
    pub model: ModelKind,
    /// What the model can lose.
    pub state_kind: StateKind,
    /// The latency SLO of its application, in microseconds: far above the limit of a call.
    pub latency_slo_micros: u64,
    /// The most inputs that the model gets at once. At least 1.
    pub batch_inputs_max: u32,
}

/// Clipper on Docker for one node: a network, and on it Redis, the management and the query frontend, the exporter,
/// Prometheus and one model container.
///
/// Nothing runs after [`prepare`](Self::prepare): [`renew`](Self::renew) starts what is missing. What dies later is started
/// again by the deployment itself where no state hangs on it, and by the next `renew` where it does; [`lost`](Self::lost)
/// tells. Dropping it stops watching; the containers stay until [`clean`](super::clean) or the next start.
#[derive(Debug)]
pub struct Deployment {
    shared: Arc<Shared>,
    served: Served,
    state_kind: StateKind,
    ready_timeout: Duration,
    watcher: Option<JoinHandle<()>>,
    /// Whether the model may have seen a request since it was made.
    used: bool,
    _claim: Claim,
}

/// What the deployment and its watcher have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) plan: Plan,
    /// The containers as they were when they were last found ready. Of those that are being made anew there is none.
    identities: Mutex<BTreeMap<Role, Identity>>,
    /// Why the model's state is gone, if it is.
    lost: watch::Sender<Option<String>>,
    /// Held by who makes or removes containers.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl Deployment {
    /// Connects to the engine, claims the node's name, and checks all that can be checked before anything is created: names,
    /// ports, images. An image that is not there is pulled.
    ///
    /// # Errors
    /// [`DockerError`]; [`DockerError::is_usage`] tells whether a person has to act.
    pub async fn prepare(mut spec: DeploymentSpec) -> Result<Deployment, DockerError> {
        spec.docker.check()?;
        if spec.docker.run.is_empty() {
            spec.docker.run = format!("{:0RUN_DIGITS$x}", rand::thread_rng().r#gen::<u32>());
        }
        let api = Api::connect(&spec.docker).await?;
        let claim = Claim::take(&spec.docker.cluster, spec.node)?;
        let served = Served {
            application: "default".to_owned(),
            input_type: "strings".to_owned(),
            default_output: String::new(),
            latency_slo_micros: spec.latency_slo_micros,
            model: "echo-model".to_owned(),
            version: "1".to_owned(),
            batch_size: spec.batch_inputs_max.max(1),
        };
        let plan = Plan::new(&spec.docker, spec.node, spec.query_address, spec.model, &served);
        preflight(&api, &plan).await?;
        let shared = Arc::new(Shared {
            api,
            plan,
            identities: Mutex::default(),
            lost: watch::Sender::new(None),
            changing: tokio::sync::Mutex::default(),
        });
        Ok(Deployment {
            shared,
            served,
            state_kind: spec.state_kind,
            ready_timeout: Duration::from_millis(spec.docker.ready_timeout_ms),
            watcher: None,
            used: true,
            _claim: claim,
        })
    }

    /// Where the query frontend is, or will be.
    pub fn query_address(&self) -> SocketAddr {
        self.shared.plan.query_address
    }

    /// Makes the model fresh: removes the model container and the query frontend of before, and what else of an earlier run
    /// is there; starts what is missing, in order; registers the application; and waits until the model is connected.
    ///
    /// A model that has seen nothing since the last time is left as it is, and so is one that keeps no state and runs.
    ///
    /// # Errors
    /// [`DockerError`], which names what is missing. Whatever was started stays; the next call goes on from there.
    pub async fn renew(&mut self) -> Result<(), DockerError> {
        let shared = Arc::clone(&self.shared);
        let changing = shared.changing.lock().await;
        if !self.used && self.lost().is_none() && self.is_as_it_was().await? {
            return Ok(());
        }
        let keeps_state = self.state_kind != StateKind::Stateless;
        self.start(keeps_state).await?;
        self.wait_ready().await?;
        shared.lost.send_replace(None);
        for container in &shared.plan.containers {
            let found = shared.api.inspect(&container.name).await?;
            let Some(identity) = found.as_ref().and_then(Identity::of) else {
                return Err(vanished(&container.name));
            };
            shared.identities().insert(container.role, identity);
        }
        // An end that was told before the identity was known has passed unnoticed.
        if !self.is_as_it_was().await? {
            return Err(vanished("of this node"));
        }
        self.used = false;
        drop(changing);
        self.watch();
        log::info!(
            "node {}: Clipper is ready on network {}: queries at {}, management at {}",
            shared.plan.owner.node,
            shared.plan.network,
            shared.plan.query_address,
            shared.plan.management_address
        );
        Ok(())
    }

    /// To be told before anything is sent to the model.
    pub fn used(&mut self) {
        self.used = true;
    }

    /// Why the model's state is gone, if that is known.
    pub fn lost(&self) -> Option<String> {
        self.shared.lost.borrow().clone()
    }

    /// Waits until the model's state is gone, and says why. Cancel-safe.
    pub fn until_lost(&self) -> impl Future<Output = String> + Send + use<> {
        let mut lost = self.shared.lost.subscribe();
        async move {
            let seen = lost.wait_for(Option::is_some).await;
            // An error says that the deployment is gone.
            seen.ok().and_then(|why| why.clone()).unwrap_or_else(|| "the deployment has ended".to_owned())
        }
    }

    /// Makes sure that the model's container is still the one that [`renew`](Self::renew) left, however late Docker tells of
    /// its end: to be asked after each answer, before it is believed.
    ///
    /// # Errors
    /// Why nobody knows what the model has seen.
    pub async fn confirm(&self) -> Result<(), String> {
        if self.state_kind == StateKind::Stateless {
            return Ok(());
        }
        let asked = Instant::now();
        let why = loop {
            match self.model_is_as_it_was().await {
                Ok(true) => return Ok(()),
                Ok(false) => break "the model container was started again".to_owned(),
                Err(error) if asked.elapsed() >= CONFIRM_WAIT_MAX => {
                    break format!("nobody knows whether the model container is still the same: {error}");
                }
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        };
        self.shared.lose(why.clone());
        Err(why)
    }

    async fn model_is_as_it_was(&self) -> Result<bool, DockerError> {
        let expected = self.shared.identities().get(&Role::Model).cloned();
        let Some(expected) = expected else { return Ok(false) };
        self.shared.is(&expected).await
    }

    /// Whether every container is the one that was found ready.
    async fn is_as_it_was(&self) -> Result<bool, DockerError> {
        let expected = self.shared.identities().clone();
        if expected.len() != self.shared.plan.containers.len() {
            return Ok(false);
        }
        for identity in expected.values() {
            if !self.shared.is(identity).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts what is missing, in order. The application is registered before the query frontend starts: that reads all at its
    /// start, and would see later changes only after a while.
    async fn start(&self, keeps_state: bool) -> Result<(), DockerError> {
        let Shared { api, plan, .. } = &*self.shared;
        network_is_free(api, plan).await?;
        if api.networks(&plan.owner.cluster, Some(plan.owner.node)).await?.is_empty() {
            api.create_network(plan).await?;
        }
        let kept = self.make_room(keeps_state).await?;
        prometheus::write(&plan.prometheus_config, &plan.prometheus_text)?;
        for container in &plan.containers {
            if !kept.contains(&container.role) {
                log::info!("node {}: starting container {}", plan.owner.node, container.name);
                api.start(container, &plan.network).await?;
            }
            if container.role == Role::Management {
                self.register().await?;
            }
        }
        Ok(())
    }

    /// Removes every container of this node's that must not stay; which may.
    async fn make_room(&self, keeps_state: bool) -> Result<BTreeSet<Role>, DockerError> {
        let Shared { api, plan, .. } = &*self.shared;
        let mut found = api.containers(&plan.owner.cluster, Some(plan.owner.node)).await?;
        let mut kept = BTreeSet::new();
        for container in &plan.containers {
            let may_stay = found.iter().any(|found| is_made_as(found, container))
                && !(keeps_state && matches!(container.role, Role::Query | Role::Model))
                // What it holds came through a Redis that is gone.
                && (container.role < Role::Management
                    || container.role > Role::Query
                    || kept.contains(&Role::Redis));
            if may_stay {
                kept.insert(container.role);
            }
        }
        found.retain(|found| !role_of(found.labels.as_ref()).is_some_and(|role| kept.contains(&role)));
        // In reverse order: nothing loses first what it hangs on.
        found.sort_by_key(|found| std::cmp::Reverse(role_of(found.labels.as_ref())));
        for gone in &found {
            if let Some(role) = role_of(gone.labels.as_ref()) {
                self.shared.identities().remove(&role);
            }
            let name = name_of(gone);
            log::info!("node {}: removing container {name}", plan.owner.node);
            api.remove(gone.id.as_deref().unwrap_or(&name), &name).await?;
        }
        Ok(kept)
    }

    async fn register(&self) -> Result<(), DockerError> {
        let Shared { api, plan, .. } = &*self.shared;
        let mut management = Management::new(plan.management_address);
        let begun = Instant::now();
        loop {
            let found = api.containers(&plan.owner.cluster, Some(plan.owner.node)).await?;
            let mut missing = Vec::new();
            for container in plan.containers.iter().filter(|container| container.role <= Role::Management) {
                missing.extend(ready::container_missing(api, container, &found).await?);
            }
            match management.ping().await {
                Ok(()) => break,
                Err(why) => {
                    missing.push(format!("management frontend at {}: {why}", plan.management_address));
                }
            }
            self.give_up_after(begun, missing)?;
            sleep(LOOK_AGAIN).await;
        }
        let image = plan.containers.iter().find(|container| container.role == Role::Model);
        management.register(&self.served, image.map_or("NO_CONTAINER", |model| model.image.as_str())).await
    }

    async fn wait_ready(&self) -> Result<(), DockerError> {
        let Shared { api, plan, .. } = &*self.shared;
        let begun = Instant::now();
        loop {
            let missing = ready::missing(api, plan, &self.served).await?;
            if missing.is_empty() {
                return Ok(());
            }
            self.give_up_after(begun, missing)?;
            sleep(LOOK_AGAIN).await;
        }
    }

    fn give_up_after(&self, begun: Instant, missing: Vec<String>) -> Result<(), DockerError> {
        if begun.elapsed() < self.ready_timeout {
            return Ok(());
        }
        Err(DockerError::NotReady { waited: self.ready_timeout, missing })
    }

    fn watch(&mut self) {
        if self.watcher.as_ref().is_none_or(JoinHandle::is_finished) {
            self.watcher = Some(tokio::spawn(watcher::run(Arc::clone(&self.shared))));
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }
}

impl Shared {
    pub(crate) fn identities(&self) -> std::sync::MutexGuard<'_, BTreeMap<Role, Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the model's state is gone. The first reason stays until it is made anew.
    pub(crate) fn lose(&self, why: String) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            if first {
                *lost = Some(why);
            }
            first
        });
    }

    /// Whether a container is still the one that it was.
    pub(crate) async fn is(&self, identity: &Identity) -> Result<bool, DockerError> {
        let asked = timeout(CONFIRM_WAIT_MAX, self.api.inspect(&identity.id)).await;
        let found = asked.map_err(|_| DockerError::Api {
            doing: "look at a container".to_owned(),
            reason: format!("no answer within {CONFIRM_WAIT_MAX:?}"),
        })??;
        Ok(found.as_ref().and_then(Identity::of).as_ref() == Some(identity))
    }
}

fn vanished(name: &str) -> DockerError {
    let missing = vec![format!("container {name} ended when everything was ready")];
    DockerError::NotReady { waited: Duration::ZERO, missing }
}

/// Whether a container runs, and is made as its plan says, by this run.
fn is_made_as(found: &ContainerSummary, plan: &ContainerPlan) -> bool {
    let Some(labels) = &found.labels else { return false };
    let same = [labels::ROLE, labels::RUN, labels::PLAN]
        .iter()
        .all(|label| labels.get(*label).is_some() && labels.get(*label) == plan.labels.get(*label));
    let is_well = !found.status.as_deref().unwrap_or_default().contains("(unhealthy)");
    same && is_well && found.state == Some(ContainerSummaryStateEnum::RUNNING)
}
