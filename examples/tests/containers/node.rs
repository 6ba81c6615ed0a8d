//! One node's backend on Docker, driven as a node drives it.

use std::future::Future;

use boat_clipper::docker::{CleanOptions, Deployment, DockerConfig, DockerError, clean};
use boat_clipper::{Backend, BackendConfig, BackendKind, HashChain, ModelKind};
use boat_core::{Call, CallOutcome, Predictor, RequestKind};

use super::docker::{PREFIX, TAG, docker};
use super::ports::Ports;

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// One node's backend under a name of its own.
pub(crate) struct Node {
    pub(crate) config: BackendConfig,
    _ports: [Ports; 2],
}

impl Node {
    pub(crate) fn new(name: &str) -> Node {
        let ports = [Ports::reserve(), Ports::reserve()];
        let port = |at: u16| ports[0].http(0).port() + at;
        let mut docker = DockerConfig {
            cluster: format!("{name}-{}", std::process::id()),
            management_port: port(1),
            rpc_port: port(2),
            redis_port: port(3),
            prometheus_port: port(4),
            ..DockerConfig::default()
        };
        PREFIX.clone_into(&mut docker.images.registry);
        TAG.clone_into(&mut docker.images.tag);
        docker.images.redis = format!("{PREFIX}/redis:{TAG}");
        docker.images.prometheus = format!("{PREFIX}/prometheus:{TAG}");
        docker.images.model = format!("{PREFIX}/hash-chain:{TAG}");
        let query_address = ports[0].http(0);
        let (kind, model) = (BackendKind::Docker, ModelKind::HashChain);
        let config = BackendConfig { kind, model, query_address, docker, ..BackendConfig::default() };
        Node { config, _ports: ports }
    }

    pub(crate) async fn prepare(&self) -> Result<Deployment, DockerError> {
        Deployment::prepare(self.config.deployment().unwrap()).await
    }

    /// The name of the container of this role.
    #[track_caller]
    pub(crate) fn container(&self, role: &str) -> String {
        let filter = format!("label=dev.boat.cluster={}", self.config.docker.cluster);
        let role = format!("label=dev.boat.role={role}");
        docker(&["ps", "--format", "{{.Names}}", "--filter", &filter, "--filter", &role])
    }

    pub(crate) async fn clean(&self) {
        let mut docker = self.config.docker.clone();
        docker.socket = DockerConfig::default().socket;
        clean(&docker, CleanOptions::default()).await.unwrap();
    }
}

pub(crate) fn call(position: u64, input: &str) -> Call {
    Call {
        position,
        predictions_before: position - 1,
        kind: RequestKind::Predict,
        body: format!("{{\"input\":\"{input}\"}}").into(),
        time_ms: 0,
        seed: 0,
    }
}

/// Runs one prediction, and checks that the model had seen what `chain` has.
pub(crate) async fn expect_next(backend: &mut Backend, chain: &mut HashChain, position: u64) {
    let input = format!("input {position}");
    let mut outcomes = Vec::new();
    backend.predict(&[call(position, &input)], &mut outcomes).await.unwrap();
    let output = chain.step(input.as_bytes());
    let query_id = position - 1;
    let expected = format!("{{\"query_id\":{query_id},\"output\":\"{output}\",\"default\":false}}");
    assert_eq!(outcomes, [CallOutcome::Output(expected.into())]);
}
