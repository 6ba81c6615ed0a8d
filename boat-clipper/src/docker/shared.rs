//! What a deployment, its watcher and the starts of its models have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::api::{Api, Identity};
use super::labels::Role;
use super::plan::{ContainerPlan, Plan};
use super::ready::{has_name, role_of};
use super::{DockerError, prometheus};
use crate::deployment::ModelId;

/// How often it is looked whether something is ready.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long an engine that does not answer is asked again whether the model's container is still the same one. A restart of
/// the engine takes seconds; a container that was not stopped by it still is what it was.
pub(super) const CONFIRM_WAIT_MAX: Duration = Duration::from_secs(20);

/// How often Prometheus is told to read its configuration again, until it answers: it may be starting, and reads it then.
const RELOADS_MAX: u32 = 25;

/// The containers of one node, as they are to be and as they were found.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) api: Api,
    pub(crate) plan: Plan,
    /// The containers as they were when they were last found ready, by what they are for and their names. Of those that are
    /// being made anew there is none.
    identities: Mutex<BTreeMap<(Role, String), Identity>>,
    /// The containers of models that are to run.
    models: Mutex<BTreeMap<ModelId, ContainerPlan>>,
    /// Why the model's state is gone, if it is.
    pub(super) lost: watch::Sender<Option<String>>,
    /// Held by who makes or removes containers other than models'.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn new(api: Api, plan: Plan) -> Self {
        Shared {
            api,
            plan,
            identities: Mutex::default(),
            models: Mutex::default(),
            lost: watch::Sender::new(None),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn identities(&self) -> MutexGuard<'_, BTreeMap<(Role, String), Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn models(&self) -> MutexGuard<'_, BTreeMap<ModelId, ContainerPlan>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under what a container of this id is known, if it is.
    pub(crate) fn known_as(&self, role: Role, id: &str) -> Option<(Role, String)> {
        let known = self.identities();
        let found = known.iter().find(|((of, _), identity)| *of == role && identity.id == id);
        found.map(|(key, _)| key.clone())
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

    /// Whether the container of a plan is known, and still the one that it was.
    pub(super) async fn is_as_it_was(&self, plan: &ContainerPlan) -> Result<bool, DockerError> {
        let known = self.identities().get(&plan.key()).cloned();
        match known {
            Some(identity) => self.is(&identity).await,
            None => Ok(false),
        }
    }

    /// Remembers a container that is ready. One that has ended by now is an error: nobody was there to be told.
    pub(super) async fn remember(&self, plan: &ContainerPlan) -> Result<(), DockerError> {
        let found = self.api.inspect(&plan.name).await?;
        let vanished = || {
            let missing = vec![format!("container {} ended when everything was ready", plan.name)];
            DockerError::NotReady { waited: Duration::ZERO, missing }
        };
        let identity = found.as_ref().and_then(Identity::of).ok_or_else(vanished)?;
        self.identities().insert(plan.key(), identity.clone());
        if self.is(&identity).await? {
            return Ok(());
        }
        self.identities().remove(&plan.key());
        Err(vanished())
    }

    /// Removes the container of this name, if it is this node's and for the same thing. Somebody else's stays.
    pub(crate) async fn remove_own(&self, role: Role, name: &str) -> Result<(), DockerError> {
        self.identities().remove(&(role, name.to_owned()));
        let owner = &self.plan.owner;
        let found = self.api.containers(&owner.cluster, Some(owner.node)).await?;
        for found in found.iter().filter(|found| has_name(found, name)) {
            if role_of(found.labels.as_ref()) == Some(role) {
                self.api.remove(found.id.as_deref().unwrap_or(name), name).await?;
            }
        }
        Ok(())
    }

    /// Writes which containers Prometheus asks.
    pub(crate) fn write_targets(&self) -> Result<(), DockerError> {
        let exporter = self.plan.containers.iter().find(|container| container.role == Role::Exporter);
        let exporter = exporter.map_or("", |exporter| exporter.name.as_str());
        let models: Vec<String> = self.models().values().map(|model| model.name.clone()).collect();
        let text = prometheus::text(exporter, models.iter().map(String::as_str));
        prometheus::write(&self.plan.prometheus_config, &text)
    }

    /// The same when Prometheus runs already. Nothing waits for it: only its numbers hang on it.
    pub(super) fn change_targets(self: &Arc<Self>) {
        if let Err(error) = self.write_targets() {
            log::warn!("node {}: {error}", self.plan.owner.node);
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let mut failed = String::new();
            for _ in 0..RELOADS_MAX {
                match prometheus::reload(shared.plan.prometheus_address).await {
                    Ok(()) => return,
                    Err(why) => failed = why,
                }
                sleep(LOOK_AGAIN).await;
            }
            log::warn!("node {}: Prometheus does not read its new targets: {failed}", shared.plan.owner.node);
        });
    }
}
