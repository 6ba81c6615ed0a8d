//! How a backend that has seen no request is had, and how it is known that it is still the same one.

use std::future::{Future, pending};

use boat_core::PredictorError;

use crate::Engine;
#[cfg(feature = "docker")]
use crate::docker::{Deployment, DockerError};

/// How a backend that has seen no request is had.
#[derive(Debug)]
#[non_exhaustive]
pub enum Renewal {
    /// The engine is the predictor's own: [`Engine::restart`] makes its model fresh.
    Engine(Box<Engine>),
    /// A Clipper that somebody else runs. Boat cannot restart it, and tells whether it is fresh by the count of predictions
    /// in its metrics; somebody must restart query frontend and model container, both: the count is the frontend's, and says
    /// nothing of a container that outlived it. A model without state needs no restart.
    External,
    /// Containers of the predictor's own on Docker: [`Deployment::renew`] makes their model fresh, and Docker tells when one
    /// of them dies.
    #[cfg(feature = "docker")]
    Docker(Box<Deployment>),
}

impl Renewal {
    /// Makes the backend fresh, as far as that is in its hands.
    pub(super) async fn renew(&mut self) -> Result<(), PredictorError> {
        match self {
            Renewal::Engine(engine) => {
                engine.restart().await.map_err(|error| PredictorError::Unavailable(error.to_string()))
            }
            Renewal::External => Ok(()),
            #[cfg(feature = "docker")]
            Renewal::Docker(deployment) => {
                deployment.renew().await.map_err(|error| PredictorError::Unavailable(error.to_string()))
            }
        }
    }

    /// To be called before anything is sent to this application, or changed. Makes anew what has died of a backend that keeps
    /// no state.
    pub(super) async fn begin(
        &mut self,
        keeps_state: bool,
        application: Option<&str>,
    ) -> Result<(), PredictorError> {
        match self {
            Renewal::Engine(_) | Renewal::External => {
                // Nobody tells of theirs.
                let _ = (keeps_state, application);
                Ok(())
            }
            #[cfg(feature = "docker")]
            Renewal::Docker(deployment) => {
                let unavailable = |error: DockerError| PredictorError::Unavailable(error.to_string());
                match deployment.lost() {
                    Some(why) if keeps_state => return Err(PredictorError::StateLost(why)),
                    Some(_) => deployment.repair().await.map_err(unavailable)?,
                    None => {}
                }
                if let Some(application) = application {
                    deployment.use_for(application).await.map_err(unavailable)?;
                }
                Ok(())
            }
        }
    }

    /// Waits until it is known that the backend's state is gone: for ever, where nobody tells.
    pub(super) fn until_lost(&self) -> impl Future<Output = String> + Send + use<> {
        #[cfg(feature = "docker")]
        if let Renewal::Docker(deployment) = self {
            return futures_util::future::Either::Left(deployment.until_lost());
        }
        #[cfg(feature = "docker")]
        return futures_util::future::Either::Right(pending());
        #[cfg(not(feature = "docker"))]
        pending()
    }

    /// Whether what answered is still the backend that was made fresh. The error says why not.
    pub(super) async fn confirm(&self, application: &str) -> Result<(), String> {
        match self {
            Renewal::Engine(_) | Renewal::External => {
                // Whoever answers is believed.
                let _ = application;
                Ok(())
            }
            #[cfg(feature = "docker")]
            Renewal::Docker(deployment) => deployment.confirm(application).await,
        }
    }
}
