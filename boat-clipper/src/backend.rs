//! A backend as configured.

use std::fmt;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use boat_core::{
    Call, CallOutcome, Check, FrozenState, NodeId, Predictor, PredictorError, Query, QueryOutcome, StateKind,
};
use serde::{Deserialize, Serialize};

use crate::deployment_file::default_deployment_of;
use crate::docker::DockerConfig;
#[cfg(feature = "docker")]
use crate::docker::{Deployment, DeploymentSpec, DockerError};
#[cfg(feature = "docker")]
use crate::query::for_backend;
use crate::{
    Change, ClipperConfig, ClipperConfigError, ClipperPredictor, DeploymentFileError, DeploymentView, Engine,
    EngineConfig, EngineError, InputType, LocalPredictor, ModelKind, Renewal, read_deployment,
};

/// How many times the call limit the latency SLO of Boat's own applications is: a default answer for lateness should never
/// come before the call has been given up.
const SLO_CALL_TIMEOUTS: u64 = 10;

/// Where the model lives. Written `engine`, `docker` and `none` in flags and files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// In an [`Engine`] of the node's own, behind Clipper's HTTP. The default.
    #[default]
    Engine,
    /// In Clipper's containers on Docker.
    Docker,
    /// In the node's process, without HTTP.
    None,
}

/// The text names no kind of backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no backend is called {0:?}: use engine, docker or none")]
pub struct UnknownBackend(String);

impl FromStr for BackendKind {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "engine" => Ok(BackendKind::Engine),
            "docker" => Ok(BackendKind::Docker),
            "none" => Ok(BackendKind::None),
            _ => Err(UnknownBackend(text.to_owned())),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            BackendKind::Engine => "engine",
            BackendKind::Docker => "docker",
            BackendKind::None => "none",
        })
    }
}

/// Configuration of a [`Backend`]. Files may leave out any field; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackendConfig {
    /// The node's number, for log lines. Default 0.
    pub node: NodeId,
    /// Where the model lives. Default `engine`.
    pub kind: BackendKind,
    /// Which model, in the default deployment. Default `echo`.
    pub model: ModelKind,
    /// Declares that the model keeps no state: what it answers does not depend on earlier requests. Default false.
    pub stateless: bool,
    /// Where the engine's query frontend listens; port 0 lets the system choose. Default `127.0.0.1:1337`.
    pub query_address: SocketAddr,
    /// How long one exchange with the query frontend may take, in milliseconds. Default 5,000, at least 1.
    pub call_timeout_ms: u64,
    /// Whether applications and models come with the log, as [`Configuration`](crate::Configuration) requests. Default
    /// false: then there is the application `default` with `model`, and nothing else. The kind `none` has nothing else.
    pub replicated: bool,
    /// The file that says what a cluster begins with where `replicated`. Default none: [`default_deployment`](crate::default_deployment) with `model`.
    pub deployment: Option<PathBuf>,
    /// Where the engine is managed, past the log: for looking. Default nowhere.
    pub management_address: Option<SocketAddr>,
    /// Where model containers connect to the engine. Default nowhere.
    pub rpc_address: Option<SocketAddr>,
    /// How Clipper is deployed, for the kind `docker`.
    pub docker: DockerConfig,
}

impl Default for BackendConfig {
    fn default() -> Self {
        BackendConfig {
            node: NodeId(0),
            kind: BackendKind::default(),
            model: ModelKind::default(),
            stateless: false,
            query_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1337)),
            call_timeout_ms: ClipperConfig::default().call_timeout_ms,
            replicated: false,
            deployment: None,
            management_address: None,
            rpc_address: None,
            docker: DockerConfig::default(),
        }
    }
}

impl BackendConfig {
    /// What the model can lose.
    fn state_kind(&self) -> StateKind {
        if self.stateless { StateKind::Stateless } else { StateKind::Replay }
    }

    /// What the kind `docker` deploys.
    ///
    /// # Errors
    /// [`DeploymentFileError`].
    #[cfg(feature = "docker")]
    pub fn deployment(&self) -> Result<DeploymentSpec, DeploymentFileError> {
        let beginning = match self.replicated {
            true => self.beginning()?,
            false => default_deployment_of(self.model),
        };
        let inputs_max = (!self.stateless).then_some(ClipperConfig::default().batch_inputs_max);
        let for_backend = |change: &Change| for_backend(change, self.call_timeout_ms, inputs_max);
        Ok(DeploymentSpec {
            docker: self.docker.clone(),
            node: self.node,
            query_address: self.query_address,
            state_kind: self.state_kind(),
            beginning: beginning.iter().map(for_backend).collect(),
            replicated: self.replicated,
        })
    }
}

/// The latency SLO of an application whose calls may take so long.
fn slo_micros(call_timeout_ms: u64) -> u64 {
    call_timeout_ms.saturating_mul(1_000 * SLO_CALL_TIMEOUTS)
}

/// Why there is no backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// This program was built without the feature `docker`.
    #[cfg(not(feature = "docker"))]
    #[error(
        "this program was built without Docker: use --backend engine, which serves the same models over the same HTTP"
    )]
    WithoutDocker,
    /// Clipper cannot be deployed.
    #[cfg(feature = "docker")]
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The engine did not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ClipperConfigError),
    /// The deployment file cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentFileError),
}

impl BackendConfig {
    /// What a cluster begins with: the deployment file, or the default one. Nothing where the deployment is not the log's.
    ///
    /// # Errors
    /// [`DeploymentFileError`].
    pub fn beginning(&self) -> Result<Vec<Change>, DeploymentFileError> {
        match &self.deployment {
            _ if !self.replicated => Ok(Vec::new()),
            Some(path) => read_deployment(path),
            None => Ok(default_deployment_of(self.model)),
        }
    }

    fn engine(&self) -> EngineConfig {
        let mut engine =
            if self.replicated { EngineConfig::empty() } else { EngineConfig::with_model(self.model) };
        for application in &mut engine.applications {
            application.latency_slo_micros = slo_micros(self.call_timeout_ms);
        }
        engine.keeps_state = !self.stateless;
        engine.management_address = self.management_address;
        engine.rpc_address = self.rpc_address;
        engine
    }
}

/// A backend with all that belongs to it: itself the predictor to start a node with. Dropping it ends its engine.
#[derive(Debug)]
#[non_exhaustive]
pub enum Backend {
    /// [`BackendKind::Engine`].
    Engine(Box<ClipperPredictor>),
    /// [`BackendKind::Docker`].
    #[cfg(feature = "docker")]
    Docker(Box<ClipperPredictor>),
    /// [`BackendKind::None`].
    Local(LocalPredictor),
}

impl Backend {
    /// Makes the backend that `config` asks for, and starts what belongs to it, in tasks of the current Tokio runtime.
    ///
    /// # Errors
    /// [`BackendError`], when a port is taken, or the configuration cannot be.
    pub async fn from_config(config: BackendConfig) -> Result<Backend, BackendError> {
        let state_kind = config.state_kind();
        let engine = config.engine();
        let BackendConfig { node, kind, model, query_address, call_timeout_ms, replicated, .. } = config;
        match kind {
            BackendKind::Engine => {
                let engine = Engine::start(query_address, engine).await?;
                let clipper = ClipperConfig {
                    node,
                    state_kind,
                    call_timeout_ms,
                    replicated,
                    ..ClipperConfig::default()
                };
                let address = engine.address();
                let predictor = ClipperPredictor::new(address, clipper, Renewal::Engine(Box::new(engine)))?;
                Ok(Backend::Engine(Box::new(predictor)))
            }
            #[cfg(not(feature = "docker"))]
            BackendKind::Docker => Err(BackendError::WithoutDocker),
            #[cfg(feature = "docker")]
            BackendKind::Docker => {
                let clipper = ClipperConfig {
                    node,
                    state_kind,
                    call_timeout_ms,
                    replicated,
                    ..ClipperConfig::default()
                };
                let deployment = Deployment::prepare(config.deployment()?).await?;
                let address = deployment.query_address();
                let predictor =
                    ClipperPredictor::new(address, clipper, Renewal::Docker(Box::new(deployment)))?;
                Ok(Backend::Docker(Box::new(predictor)))
            }
            BackendKind::None => {
                let factory = model.factory();
                Ok(Backend::Local(LocalPredictor::new(node, InputType::Strings, state_kind, factory)))
            }
        }
    }

    /// What is deployed, where that comes with the log.
    pub fn deployment_view(&self) -> Option<DeploymentView> {
        match self {
            Backend::Engine(predictor) => predictor.deployment_view(),
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.deployment_view(),
            Backend::Local(_) => None,
        }
    }

    /// Where the query frontend listens, if there is one.
    pub fn query_address(&self) -> Option<SocketAddr> {
        match self {
            Backend::Engine(predictor) => Some(predictor.query_address()),
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => Some(predictor.query_address()),
            Backend::Local(_) => None,
        }
    }
}

impl Predictor for Backend {
    fn state_kind(&self) -> StateKind {
        match self {
            Backend::Engine(predictor) => predictor.state_kind(),
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.state_kind(),
            Backend::Local(predictor) => predictor.state_kind(),
        }
    }

    async fn freeze(&mut self) -> Result<FrozenState, PredictorError> {
        match self {
            Backend::Engine(predictor) => predictor.freeze().await,
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.freeze().await,
            Backend::Local(predictor) => predictor.freeze().await,
        }
    }

    async fn restore(&mut self, state: &mut (dyn Read + Send)) -> Result<(), PredictorError> {
        match self {
            Backend::Engine(predictor) => predictor.restore(state).await,
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.restore(state).await,
            Backend::Local(predictor) => predictor.restore(state).await,
        }
    }

    async fn query(&mut self, query: &Query) -> Result<QueryOutcome, PredictorError> {
        match self {
            Backend::Engine(predictor) => predictor.query(query).await,
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.query(query).await,
            Backend::Local(predictor) => predictor.query(query).await,
        }
    }

    fn check(&self) -> Check {
        match self {
            Backend::Engine(predictor) => predictor.check(),
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.check(),
            Backend::Local(predictor) => predictor.check(),
        }
    }

    fn is_quick(&self) -> bool {
        match self {
            Backend::Engine(predictor) => predictor.is_quick(),
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.is_quick(),
            Backend::Local(predictor) => predictor.is_quick(),
        }
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        match self {
            Backend::Engine(predictor) => predictor.reset().await,
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.reset().await,
            Backend::Local(predictor) => predictor.reset().await,
        }
    }

    async fn predict(
        &mut self,
        calls: &[Call],
        outcomes: &mut Vec<CallOutcome>,
    ) -> Result<(), PredictorError> {
        match self {
            Backend::Engine(predictor) => predictor.predict(calls, outcomes).await,
            #[cfg(feature = "docker")]
            Backend::Docker(predictor) => predictor.predict(calls, outcomes).await,
            Backend::Local(predictor) => predictor.predict(calls, outcomes).await,
        }
    }
}
