//! The deployment that the log has made: kept by a predictor, seen by those who check requests and answer questions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boat_core::{Node, Phase, PredictError};
use tokio::time::sleep;

use crate::InputType;
use crate::deployment::{Beginning, Change, Configuration, Deployment, Look};

/// Under this key every node asks for the deployment that its cluster begins with, so that it is made once.
const BEGIN_KEY: &str = "boat/deployment/begin";
/// How long to wait before it is asked for again.
const BEGIN_PAUSE: Duration = Duration::from_millis(100);

/// What a node's predictor has been told to deploy so far. Clones see the same.
#[derive(Debug, Clone, Default)]
pub struct DeploymentView(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    deployment: Deployment,
    /// What is on its way to become the first deployment.
    expected: Deployment,
}

impl DeploymentView {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Its parts are only ever replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deployment as it is now.
    pub fn deployment(&self) -> Deployment {
        self.lock().deployment.clone()
    }

    /// Answers a question about it. Containers are no part of it.
    ///
    /// # Errors
    /// Why it cannot be answered, in Clipper's words.
    pub fn look(&self, look: &Look) -> Result<String, String> {
        match look {
            Look::AllContainers { .. } | Look::Container { .. } => {
                Err("containers are each node's own: ask its management frontend".to_owned())
            }
            _ => self.lock().deployment.look(look, &[]),
        }
    }

    pub(crate) fn replace(&self, deployment: Deployment) {
        self.lock().deployment = deployment;
    }

    /// What an application takes, or will take once there is a deployment; nothing if there is no such application.
    pub(crate) fn input_type(&self, application: &str) -> Option<InputType> {
        let seen = self.lock();
        let deployment = match seen.deployment == Deployment::new() {
            true => &seen.expected,
            false => &seen.deployment,
        };
        deployment.application(application).map(|application| application.input_type)
    }

    fn expect(&self, changes: &[Change]) {
        let mut expected = Deployment::new();
        // What cannot be is refused by the log, in its words.
        let _ = changes.iter().try_for_each(|change| expected.apply(change).map(drop));
        self.lock().expected = expected;
    }

    fn is_empty(&self) -> bool {
        self.lock().deployment == Deployment::new()
    }
}

/// Sees to it that the cluster of `node` begins with `changes`, unless it has a deployment already. To be called as soon as the
/// node has started, before it takes requests: what is asked of a fresh node first is then applied first. Every node may
/// do so; it is made once. Must be called within a Tokio runtime, where it goes on in a task of its own.
pub fn begin_deployment(node: &Node, view: DeploymentView, changes: Vec<Change>) {
    view.expect(&changes);
    let node = node.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = begin(&node, &view, changes) => {}
            _ = node.stopped() => {}
        }
    });
}

async fn begin(node: &Node, view: &DeploymentView, changes: Vec<Change>) {
    let body = Configuration::Begin(Beginning { begin: changes }).to_body();
    // Without a cluster the directory is empty, and nothing can be known of a deployment. Otherwise the log tells.
    let mut is_fresh = node.status().cluster.is_none();
    loop {
        if !is_fresh {
            if node.ready().await.is_err() || node.status().phase == Phase::Stopping {
                return;
            }
            if !view.is_empty() {
                return;
            }
        }
        match node.configure(body.clone()).key(BEGIN_KEY).await {
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.output);
                return log::info!("node {}: {said}, at position {}", node.id(), answer.position);
            }
            // Begun before, and the key is forgotten since.
            Err(PredictError::Rejected { reason, .. }) => {
                return log::info!("node {}: {reason}", node.id());
            }
            Err(PredictError::KeyReused { .. }) => {
                return log::warn!(
                    "node {}: its deployment file is not the one that the cluster has begun with, which counts",
                    node.id()
                );
            }
            Err(error) => log::debug!("node {}: no deployment yet: {error}", node.id()),
        }
        is_fresh = node.status().cluster.is_none();
        sleep(BEGIN_PAUSE).await;
    }
}
