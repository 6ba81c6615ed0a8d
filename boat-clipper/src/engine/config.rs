//! What an engine serves, and within which limits.

use std::fmt;

use crate::{InputType, ModelFactory, ModelKind};

/// Configuration of an [`Engine`](super::Engine).
///
/// The default is the application that Boat always had: `default`, for strings, with the model `echo-model` version 1.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The applications. Of two with one name the later one counts.
    pub applications: Vec<ApplicationConfig>,
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
    /// The linked model, if any: without one every answer is the default. Default `echo-model`, version 1.
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
