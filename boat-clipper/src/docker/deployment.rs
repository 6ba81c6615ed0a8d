//! The Clipper of one node on Docker, made, changed and made anew.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boat_core::{NodeId, StateKind};
use rand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::api::Api;
use super::claim::Claim;
use super::labels::Role;
use super::models::Starting;
use super::plan::Plan;
use super::preflight::preflight;
use super::ready::{self, Metrics};
use super::shared::{LOOK_AGAIN, Shared};
use super::{DockerConfig, DockerError, DockerImages, watcher};
use crate::deployment::{self, Change, Links, ModelId, NO_CONTAINER};
use crate::deployment_file::BUILT_IN;
use crate::telling::tell;
use crate::{ManagementClient, ModelKind};

/// How long a query frontend gets to hear of links and versions: nothing shows when it has.
const SETTLE: Duration = Duration::from_millis(500);

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
    /// What the models can lose.
    pub state_kind: StateKind,
    /// The changes that make what is deployed first. The images that it needs must be there.
    pub beginning: Vec<Change>,
    /// Whether all changes, `beginning` too, are to come through [`Deployment::change`]; otherwise every Clipper that is made
    /// begins with it.
    pub replicated: bool,
}

/// Clipper on Docker for one node: a network, and on it Redis, the management and the query frontend, the exporter,
/// Prometheus, and a container for each version of a model.
///
/// Nothing runs after [`prepare`](Self::prepare): [`renew`](Self::renew) starts what is missing. What dies later is started
/// again by the deployment itself where no state hangs on it, and by the next `renew` or [`repair`](Self::repair) where it
/// does; [`lost`](Self::lost) tells. Dropping it stops watching; the containers stay until [`clean`](super::clean) or the
/// next start.
#[derive(Debug)]
pub struct Deployment {
    pub(super) shared: Arc<Shared>,
    images: DockerImages,
    /// What every Clipper begins with, where nobody else says it.
    fixed: Vec<Change>,
    /// What this Clipper is to serve.
    pub(super) wanted: deployment::Deployment,
    /// What it has been told.
    told: deployment::Deployment,
    pub(super) starting: BTreeMap<ModelId, Starting>,
    pub(super) state_kind: StateKind,
    ready_timeout: Duration,
    watcher: Option<JoinHandle<()>>,
    /// Whether the model may have seen a request since it was made.
    pub(super) used: bool,
    _claim: Claim,
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
        let plan = Plan::new(&spec.docker, spec.node, spec.query_address);
        let images = spec.docker.images;
        preflight(&api, &plan).await?;
        for change in &spec.beginning {
            if let Change::AddModel(model) = with_image(&images, change)
                && model.container_name != NO_CONTAINER
            {
                api.need_image(&model.container_name).await?;
            }
        }
        Ok(Deployment {
            shared: Arc::new(Shared::new(api, plan)),
            images,
            fixed: if spec.replicated { Vec::new() } else { spec.beginning },
            wanted: deployment::Deployment::new(),
            told: deployment::Deployment::new(),
            starting: BTreeMap::new(),
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

    /// Makes a Clipper that has seen nothing: removes the model containers, the frontends and Redis of before, and what else of
    /// an earlier run is there; and starts what is missing. One that has seen nothing since the last time is left as it is.
    ///
    /// # Errors
    /// [`DockerError`], which names what is missing. Whatever was started stays; the next call goes on from there.
    pub async fn renew(&mut self) -> Result<(), DockerError> {
        let shared = Arc::clone(&self.shared);
        let changing = shared.changing.lock().await;
        if !self.used && self.lost().is_none() && self.is_as_it_was().await? {
            return Ok(());
        }
        self.stop_starting().await;
        shared.models().clear();
        (self.wanted, self.told) = Default::default();
        for change in self.fixed.clone() {
            self.want(&with_image(&self.images, &change));
        }
        self.make(false).await?;
        self.used = false;
        drop(changing);
        self.watch();
        Ok(())
    }

    /// Starts what has died of a Clipper whose models keep no state, and tells it again what it does not know any more.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub async fn repair(&mut self) -> Result<(), DockerError> {
        let shared = Arc::clone(&self.shared);
        let _changing = shared.changing.lock().await;
        self.stop_starting().await;
        self.make(true).await
    }

    async fn make(&mut self, may_stay: bool) -> Result<(), DockerError> {
        let shared = Arc::clone(&self.shared);
        let kept = shared.start(may_stay).await?;
        self.wait_ready().await?;
        shared.lost.send_replace(None);
        for container in &shared.plan.containers {
            shared.remember(container).await?;
        }
        if !kept.contains(&Role::Redis) {
            self.told = deployment::Deployment::new();
        }
        self.tell_all().await?;
        let models: Vec<ModelId> = shared.models().keys().cloned().collect();
        for id in models {
            self.start_model(&id).await?;
            if !self.fixed.is_empty()
                && let Some(starting) = self.starting.remove(&id)
            {
                starting.ended().await?;
            }
        }
        let Plan { owner, network, query_address, management_address, .. } = &shared.plan;
        log::info!(
            "node {}: Clipper is ready on network {network}: queries at {query_address}, management at {management_address}",
            owner.node
        );
        Ok(())
    }

    /// Makes one change: tells the management frontend, and begins to start or removes the container of a version of a model.
    /// An image is its `container_name`, or one of Boat's own for `boat/echo` and `boat/hash-chain`; `NO_CONTAINER` starts none.
    ///
    /// # Errors
    /// [`DockerError`]. It may be tried again.
    pub async fn change(&mut self, change: &Change) -> Result<(), DockerError> {
        let change = with_image(&self.images, change);
        self.used = true;
        self.tell_one(&change).await?;
        // Refused is what an earlier attempt has made.
        self.want(&change);
        self.told = self.wanted.clone();
        match &change {
            Change::AddModel(model) => self.start_model(&model.id()).await?,
            Change::DeleteVersionedModel(id) => {
                if let Some(starting) = self.starting.remove(id) {
                    starting.stop().await;
                }
                self.shared.models().remove(id);
                self.shared.remove_own(Role::Model, &self.shared.plan.model_name(id)).await?;
                self.shared.change_targets();
            }
            _ => {}
        }
        Ok(())
    }

    fn want(&mut self, change: &Change) {
        if let Change::DeleteApp { name } = change {
            // Who adds it again links it again: a fresh query frontend need not hear of it.
            let links = Links { app_name: name.clone(), model_names: self.wanted.linked(name).to_vec() };
            let _ = self.wanted.apply(&Change::DeleteModelLinks(links));
        }
        // What cannot be is there already.
        let _ = self.wanted.apply(change);
        if let Change::AddModel(model) = change
            && model.container_name != NO_CONTAINER
        {
            self.shared.models().insert(model.id(), self.shared.plan.model(model));
        }
    }

    async fn tell_one(&self, change: &Change) -> Result<(), DockerError> {
        let address = self.shared.plan.management_address;
        let doing = change.endpoint();
        let told = tell(&mut ManagementClient::new(address), change).await;
        told.map_err(|reason| DockerError::Management { address, doing, reason })
    }

    /// Tells a Clipper all that it is to serve, and waits until its query frontend has heard of it.
    async fn tell_all(&mut self) -> Result<(), DockerError> {
        if self.told == self.wanted {
            return Ok(());
        }
        for change in self.wanted.changes() {
            self.tell_one(&change).await?;
        }
        let begun = Instant::now();
        loop {
            let metrics = Metrics::ask(&self.shared.plan).await;
            let names = self.wanted.applications().map(|application| application.name.as_str());
            let missing: Vec<String> = match metrics {
                Ok(metrics) => names.filter_map(|name| metrics.knows_application(name).err()).collect(),
                Err(why) => vec![why],
            };
            if missing.is_empty() {
                break;
            }
            self.give_up_after(begun, missing)?;
            sleep(LOOK_AGAIN).await;
        }
        sleep(SETTLE).await;
        self.told = self.wanted.clone();
        Ok(())
    }

    /// Begins to start the container of a model, if there is to be one and it does not run.
    pub(super) async fn start_model(&mut self, id: &ModelId) -> Result<(), DockerError> {
        let plan = self.shared.models().get(id).cloned();
        let Some(plan) = plan.filter(|_| !self.starting.contains_key(id)) else { return Ok(()) };
        if !self.shared.is_as_it_was(&plan).await? {
            let starting = Starting::begin(&self.shared, id.clone(), self.ready_timeout);
            self.starting.insert(id.clone(), starting);
            self.shared.change_targets();
        }
        Ok(())
    }

    /// Whether every container is the one that was found ready.
    async fn is_as_it_was(&self) -> Result<bool, DockerError> {
        let mut plans = self.shared.plan.containers.clone();
        plans.extend(self.shared.models().values().cloned());
        for plan in &plans {
            if !self.shared.is_as_it_was(plan).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn wait_ready(&self) -> Result<(), DockerError> {
        let begun = Instant::now();
        loop {
            let missing = ready::missing(&self.shared.api, &self.shared.plan).await?;
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

    async fn stop_starting(&mut self) {
        for (_, starting) in std::mem::take(&mut self.starting) {
            starting.stop().await;
        }
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

/// The change with the image that serves a model in place of what stands for it.
fn with_image(images: &DockerImages, change: &Change) -> Change {
    let Change::AddModel(model) = change else { return change.clone() };
    let mut model = model.clone();
    let kind = model.container_name.strip_prefix(BUILT_IN).and_then(|name| name.parse::<ModelKind>().ok());
    if let Some(kind) = kind {
        model.container_name = images.model(kind);
    } else if model.container_name.is_empty() {
        NO_CONTAINER.clone_into(&mut model.container_name);
    }
    Change::AddModel(model)
}
