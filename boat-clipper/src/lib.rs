//! Boat's way to Clipper.
//!
//! A [`ClipperPredictor`] drives a model behind Clipper's query frontend, in order and once each, and says honestly when
//! nobody knows what the model has seen. An [`Engine`] is such a frontend in Rust, with models of its own, for machines
//! without Docker; a [`LocalPredictor`] runs the same models without HTTP. A [`Backend`] is one of them, as configured.
//!
//! ```
//! use boat_clipper::{Backend, BackendConfig};
//! use boat_core::{Call, CallOutcome, Predictor, RequestKind};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let config = BackendConfig { query_address: "127.0.0.1:0".parse()?, ..BackendConfig::default() };
//! let mut backend = Backend::from_config(config).await?;
//! backend.reset().await?;
//!
//! let body = r#"{"input":"Hello"}"#.into();
//! let kind = RequestKind::Predict;
//! let call = Call { position: 1, predictions_before: 0, kind, body, time_ms: 0, seed: 0 };
//! let mut outcomes = Vec::new();
//! backend.predict(&[call], &mut outcomes).await?;
//! let answer = r#"{"query_id":0,"output":"Hello","default":false}"#;
//! assert_eq!(outcomes, [CallOutcome::Output(answer.into())]);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod admin;
mod answer;
mod backend;
mod container;
mod deployment;
mod deployment_file;
pub mod docker;
mod engine;
mod fields;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod local;
mod management;
mod models;
mod outcome_log;
mod query;
mod replicated;
mod request;
mod rpc;
mod telling;
mod zmtp;

pub use self::admin::admin_routes;
pub use self::backend::{Backend, BackendConfig, BackendError, BackendKind, UnknownBackend};
pub use self::container::{ContainerConfig, ContainerError, serve_container};
pub use self::deployment::{
    APPLICATIONS_MAX, Application, ApplicationView, Beginning, Change, Configuration, ContainerView,
    Deployment, Links, Look, MODEL_VERSIONS_MAX, ModelId, ModelVersion, ModelView,
};
pub use self::deployment_file::{DeploymentFileError, default_deployment, parse_deployment, read_deployment};
pub use self::engine::{ApplicationConfig, Engine, EngineConfig, EngineError, ModelConfig};
pub use self::input::{Input, InputType, UnknownInputType};
pub use self::local::LocalPredictor;
pub use self::management::{ManagementClient, ManagementError};
pub use self::models::{Echo, EngineModel, HashChain, ModelFactory, ModelKind, UnknownModel};
pub use self::outcome_log::OUTCOME_LOG_TARGET;
pub use self::query::{ClipperConfig, ClipperConfigError, ClipperPredictor, Renewal};
pub use self::replicated::{DeploymentView, begin_deployment};
pub use self::request::CLIENT_BATCH_INPUTS_MAX;
