//! What an engine serves, and within which limits.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use crate::deployment::{Application, Change, Links, ModelId, ModelVersion};
use crate::deployment_file::BUILT_IN;
use crate::{InputType, ModelFactory, ModelKind};

/// Configuration of an [`Engine`](super::Engine).
///
/// The default is the application that Boat always had: `default`, for strings, with the model `echo-model` version 1.
#[derive(Clone)]
pub struct EngineConfig {
    /// The applications that are there from the start. Of two with one name the later one counts.
    pub applications: Vec<ApplicationConfig>,
    /// Models in this process that a deployment can name as what serves a model (`container_name`). Default: `boat/echo`
    /// and `boat/hash-chain`.
    pub built_in: BTreeMap<String, ModelFactory>,
    /// Where the management frontend listens, if it does; port 0 lets the system choose. Default: nowhere.
    pub management_address: Option<SocketAddr>,
    /// Where model containers connect, if they can; port 0 lets the system choose. Default: nowhere.
    pub rpc_address: Option<SocketAddr>,
    /// Whether models keep state. Then each version gets one container, and once that has run something and is gone,
    /// no other until [`Engine::restart`](super::Engine::restart); nor one that was here before, with its old memory.
    /// Default false: as in Clipper, any number of containers share a version's queries and come and go.
    pub keeps_state: bool,
    /// After how long without a word a container is given up, in milliseconds. Default 30,000, as Clipper.
    pub container_silence_ms_max: u64,
    /// The longest message of a container, in bytes; a longer one ends its connection. Default 64 MiB.
    pub container_message_bytes_max: usize,
    /// The longest request body, in bytes; longer ones get 413. Default 16 MiB.
    pub body_bytes_max: usize,
    /// How long a connection may be idle, or take to send a request's head, in milliseconds. Default 5,000, as Clipper's
    /// `timeout_request`.
    pub header_timeout_ms: u64,
    /// How long a request's body may take, in milliseconds. Default 300,000, as Clipper's `timeout_content`.
    pub body_timeout_ms: u64,
    /// How many connections are served at once; more wait to be accepted. Default 1,024.
    pub connections_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            applications: vec![ApplicationConfig::default()],
            built_in: [ModelKind::Echo, ModelKind::HashChain]
                .map(|kind| (format!("{BUILT_IN}{kind}"), kind.factory()))
                .into(),
            management_address: None,
            rpc_address: None,
            keeps_state: false,
            container_silence_ms_max: 30_000,
            container_message_bytes_max: 64 << 20,
            body_bytes_max: 16 << 20,
            header_timeout_ms: 5_000,
            body_timeout_ms: 300_000,
            connections_max: 1_024,
        }
    }
}

impl EngineConfig {
    /// The default with another model behind the application `default`.
    pub fn with_model(kind: ModelKind) -> Self {
        let model = Some(ModelConfig { make: kind.factory(), ..ModelConfig::default() });
        let application = ApplicationConfig { model, ..ApplicationConfig::default() };
        EngineConfig { applications: vec![application], ..EngineConfig::default() }
    }

    /// One without applications: they come by the management frontend.
    pub fn empty() -> Self {
        EngineConfig { applications: Vec::new(), ..EngineConfig::default() }
    }

    pub(super) fn last_of_each_name(&self) -> Vec<&ApplicationConfig> {
        let by_name: BTreeMap<&str, _> =
            self.applications.iter().map(|application| (application.name.as_str(), application)).collect();
        by_name.into_values().collect()
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("applications", &self.applications)
            .field("built_in", &self.built_in.keys())
            .field("management_address", &self.management_address)
            .field("rpc_address", &self.rpc_address)
            .field("keeps_state", &self.keeps_state)
            .finish_non_exhaustive()
    }
}

/// One application: a path, `/{name}/predict`, and what answers on it.
#[derive(Debug, Clone)]
pub struct ApplicationConfig {
    /// The name. Default `default`.
    pub name: String,
    /// The type of its inputs. Default strings.
    pub input_type: InputType,
    /// What is answered when the model gives nothing in time. Default empty.
    pub default_output: String,
    /// How long the model may take before the default is answered, in microseconds. Default 100,000. A query that is
    /// already running then goes on; one that still waits is dropped.
    pub latency_slo_micros: u64,
    /// The linked model, if any: without one every answer is the default. Default `echo-model`, version 1. Applications with
    /// the same model share one, made by the first of them by name.
    pub model: Option<ModelConfig>,
}

impl Default for ApplicationConfig {
    fn default() -> Self {
        ApplicationConfig {
            name: "default".to_owned(),
            input_type: InputType::Strings,
            default_output: String::new(),
            latency_slo_micros: 100_000,
            model: Some(ModelConfig::default()),
        }
    }
}

impl ApplicationConfig {
    /// What makes it, as requests to a management frontend.
    pub(super) fn changes(&self) -> Vec<Change> {
        let mut changes = vec![Change::AddApp(Application {
            name: self.name.clone(),
            input_type: self.input_type,
            default_output: self.default_output.clone(),
            latency_slo_micros: i64::try_from(self.latency_slo_micros).unwrap_or(i64::MAX),
        })];
        if let Some(model) = &self.model {
            let ModelId { model_name, model_version } = self.model_id(model);
            changes.push(Change::AddModel(ModelVersion {
                model_name: model_name.clone(),
                model_version,
                labels: Vec::new(),
                input_type: self.input_type,
                container_name: "NO_CONTAINER".to_owned(),
                model_data_path: "DEPRECATED".to_owned(),
                batch_size: -1,
            }));
            changes.push(Change::AddModelLinks(Links {
                app_name: self.name.clone(),
                model_names: vec![model_name],
            }));
        }
        changes
    }

    pub(super) fn model_id(&self, model: &ModelConfig) -> ModelId {
        ModelId { model_name: model.name.clone(), model_version: model.version.clone() }
    }
}

/// A model with its name and version.
#[derive(Clone)]
pub struct ModelConfig {
    /// The name. Default `echo-model`, whatever the model does: it is the name that Boat's clients know.
    pub name: String,
    /// The version. Default `1`.
    pub version: String,
    /// What makes it. Default the echo.
    pub make: ModelFactory,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            name: "echo-model".to_owned(),
            version: "1".to_owned(),
            make: ModelKind::Echo.factory(),
        }
    }
}

impl fmt::Debug for ModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ModelConfig { name, version, make: _ } = self;
        f.debug_struct("ModelConfig").field("name", name).field("version", version).finish_non_exhaustive()
    }
}
