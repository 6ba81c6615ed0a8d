//! The container that serves an application: whether it is there, and whether it is still the same.

use std::time::Duration;

use boat_core::StateKind;
use tokio::time::{Instant, sleep};

use super::labels::Role;
use super::shared::{CONFIRM_WAIT_MAX, LOOK_AGAIN};
use super::{Deployment, DockerError};
use crate::deployment::ModelId;

/// How long a change waits for the container that is to serve from then on: Clipper's own need 9 to 13 s. Less than
/// `limits.call_ms_max` by default, or the change would be taken for one that hangs.
const STARTING_WAIT_MAX: Duration = Duration::from_secs(15);

impl Deployment {
    /// To be called before anything is sent to the model of an application: makes sure that its container is there.
    ///
    /// # Errors
    /// [`DockerError`]: it is not there yet, or could not be started, which is tried again.
    pub async fn use_for(&mut self, application: &str) -> Result<(), DockerError> {
        let Some((id, key)) = self.serving(application) else {
            self.used = true;
            return Ok(());
        };
        let (_, container) = &key;
        let not_yet = || Err(DockerError::Starting { container: container.clone(), model: id.to_string() });
        match self.starting.remove(&id) {
            Some(starting) if starting.is_finished() => starting.ended().await.inspect_err(|error| {
                log::warn!("node {}: {error}; trying again", self.shared.plan.owner.node);
            })?,
            Some(starting) => {
                self.starting.insert(id.clone(), starting);
                return not_yet();
            }
            None => {}
        }
        if !self.shared.identities().contains_key(&key) {
            self.start_model(&id).await?;
            return not_yet();
        }
        self.used = true;
        Ok(())
    }

    /// Waits for that container, but not so long that the call which waits would be given up.
    pub async fn wait_for(&mut self, application: &str) {
        let begun = Instant::now();
        while let Err(DockerError::Starting { .. }) = self.use_for(application).await {
            if begun.elapsed() >= STARTING_WAIT_MAX {
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The version that serves an application, and its container, if Boat runs it.
    fn serving(&self, application: &str) -> Option<(ModelId, (Role, String))> {
        let id = self.wanted.serving(application)?.id();
        let key = self.shared.models().get(&id)?.key();
        Some((id, key))
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

    /// Makes sure that the container of an application's model is still the one that was found ready, however late Docker tells
    /// of its end: to be asked after each answer, before it is believed.
    ///
    /// # Errors
    /// Why nobody knows what the model has seen.
    pub async fn confirm(&self, application: &str) -> Result<(), String> {
        let Some((_, key)) = self.serving(application).filter(|_| self.state_kind != StateKind::Stateless)
        else {
            return Ok(());
        };
        let expected = self.shared.identities().get(&key).cloned();
        let asked = Instant::now();
        let why = loop {
            let Some(expected) = &expected else {
                break "the model container was started again".to_owned();
            };
            match self.shared.is(expected).await {
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
}
