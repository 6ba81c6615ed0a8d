//! The containers of models, started while others go on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::DockerError;
use super::ready::model_missing;
use super::shared::{LOOK_AGAIN, Shared};
use crate::deployment::ModelId;

/// The start of one container, in a task of its own: a request that comes meanwhile is told that it is not there yet.
#[derive(Debug)]
pub(super) struct Starting {
    task: JoinHandle<Result<(), DockerError>>,
    /// Dropped to end the waiting.
    go_on: oneshot::Sender<()>,
}

impl Starting {
    /// Begins to start the container of a model that is to run.
    pub(super) fn begin(shared: &Arc<Shared>, id: ModelId, ready_timeout: Duration) -> Self {
        let (go_on, ended) = oneshot::channel();
        let shared = Arc::clone(shared);
        let task = tokio::spawn(async move { start(&shared, &id, ready_timeout, ended).await });
        Starting { task, go_on }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the end of it.
    pub(super) async fn ended(self) -> Result<(), DockerError> {
        let Starting { task, go_on } = self;
        let ended = task.await;
        drop(go_on);
        ended.unwrap_or_else(|error| {
            Err(DockerError::Api { doing: "start a model container".to_owned(), reason: error.to_string() })
        })
    }

    /// Ends it, whatever it is at. A container that it has made may be there.
    pub(super) async fn stop(self) {
        drop(self.go_on);
        // Why it has failed is of no interest any more.
        let _ = self.task.await;
    }
}

async fn start(
    shared: &Arc<Shared>,
    id: &ModelId,
    ready_timeout: Duration,
    mut ended: oneshot::Receiver<()>,
) -> Result<(), DockerError> {
    let Some(plan) = shared.models().get(id).cloned() else { return Ok(()) };
    // A pull may take minutes. What the engine is asked to make, on the other hand, it makes: it must be waited for.
    tokio::select! {
        there = shared.api.need_image(&plan.image) => there?,
        _ = &mut ended => return Ok(()),
    }
    shared.remove_own(plan.role, &plan.name).await?;
    log::info!("node {}: starting container {}", shared.plan.owner.node, plan.name);
    shared.api.start(&plan, &shared.plan.network).await?;
    let begun = Instant::now();
    while let Some(missing) = model_missing(&shared.api, &shared.plan, &plan, id).await? {
        if begun.elapsed() >= ready_timeout {
            return Err(DockerError::NotReady { waited: ready_timeout, missing: vec![missing] });
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
            _ = &mut ended => return Ok(()),
        }
    }
    shared.remember(&plan).await?;
    log::info!("node {}: model {id} is ready in container {}", shared.plan.owner.node, plan.name);
    Ok(())
}
