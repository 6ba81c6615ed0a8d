//! Runs three Boat nodes (or as many as `-n` says) on this machine, each a process with its own backend, and starts again
//! what dies. Kill whatever you like.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use boat_clipper::docker::{CleanOptions, Deployment, DeploymentSpec, DockerConfig, DockerError, clean};
use boat_clipper::{BackendConfig, BackendKind, DeploymentFileError, ModelKind};
use boat_core::supervisor::{
    ChildSpec, PortNeed, Supervisor, SupervisorOptions, TemporaryDirectory, check_ports,
};
use clap::Parser;
use examples::{DockerFlags, NodeArguments, exit_code, or_exit, start_logging};

/// The first argument that makes this program one node instead of the supervisor of several.
const NODE: &str = "node";

/// Runs Boat nodes on this machine, each with its own backend, and starts again what dies.
#[derive(Debug, Parser)]
#[command(name = "three_node")]
struct Arguments {
    /// How many nodes; node i has each port plus i
    #[arg(short, long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=15))]
    num_nodes: u16,
    /// Where node 0 serves HTTP
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Where node 0 listens for its peers
    #[arg(long, default_value_t = 8000)]
    peer_port: u16,
    /// Where node 0's backend answers predictions
    #[arg(long, default_value_t = 1337)]
    query_port: u16,
    /// Where node 0's backend is managed (with --backend docker)
    #[arg(long, default_value_t = 2337)]
    management_port: u16,
    /// Where node 0's model containers connect (with --backend docker, or --deployment)
    #[arg(long, default_value_t = 7000)]
    rpc_port: u16,
    /// Where node 0's Redis is published (with --backend docker)
    #[arg(long, default_value_t = 6379)]
    redis_port: u16,
    /// Where node 0's Prometheus is published (with --backend docker)
    #[arg(long, default_value_t = 9090)]
    prometheus_port: u16,
    /// Where the model lives: engine, docker, or none for the node's own process
    #[arg(long, default_value_t = BackendKind::Engine)]
    backend: BackendKind,
    /// Which model: echo or hash-chain
    #[arg(long, default_value_t = ModelKind::Echo)]
    model: ModelKind,
    /// What the cluster begins with (unless with --backend none); model containers may then connect where --rpc-port says
    #[arg(long, value_name = "FILE")]
    deployment: Option<PathBuf>,
    /// Keep the nodes' data here; without it they live in a temporary directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    docker: DockerFlags,
}

impl Arguments {
    fn address(base: u16, node: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, base.saturating_add(node)))
    }

    fn ports(&self) -> Vec<PortNeed> {
        let mut used = vec![("HTTP", self.http_port), ("peers", self.peer_port)];
        // Those of the kind `docker` are checked with its containers, which may have them from an earlier run.
        if self.backend == BackendKind::Engine {
            used.push(("queries", self.query_port));
        }
        if self.takes_containers() {
            used.push(("model containers", self.rpc_port));
        }
        let needs = (0..self.num_nodes).flat_map(|node| {
            used.iter().map(move |(what, base)| PortNeed {
                purpose: format!("node {node}, {what}"),
                address: Self::address(*base, node),
            })
        });
        needs.collect()
    }

    /// Whether the engines of the nodes take model containers: where somebody says which.
    fn takes_containers(&self) -> bool {
        self.backend == BackendKind::Engine && self.deployment.is_some()
    }

    fn deployment_arguments(&self, node: u16) -> Vec<String> {
        let Some(file) = &self.deployment else { return Vec::new() };
        let mut arguments = vec!["--deployment".to_owned(), file.display().to_string()];
        if self.takes_containers() {
            arguments.extend(["--rpc-address".to_owned(), Self::address(self.rpc_port, node).to_string()]);
        }
        arguments
    }

    /// The ports of a node's containers besides that for queries, with the flags that say so.
    fn docker_ports(&self, node: u16) -> [(&'static str, String); 4] {
        let port = |base: u16| base.saturating_add(node).to_string();
        [
            ("--management-port", port(self.management_port)),
            ("--rpc-port", port(self.rpc_port)),
            ("--redis-port", port(self.redis_port)),
            ("--prometheus-port", port(self.prometheus_port)),
        ]
    }

    fn child(&self, node: u16, data: &Path, run: &str) -> ChildSpec {
        let member = |node| format!("{node}={}", Self::address(self.peer_port, node));
        let members = (0..self.num_nodes).map(member).collect::<Vec<_>>().join(",");
        let flags = [
            ("--node-id", node.to_string()),
            ("--members", members),
            ("--data-dir", data.join(format!("node-{node}")).display().to_string()),
            ("--http-address", Self::address(self.http_port, node).to_string()),
            ("--query-address", Self::address(self.query_port, node).to_string()),
            ("--backend", self.backend.to_string()),
            ("--model", self.model.to_string()),
        ];
        let ports = self.docker_ports(node);
        ChildSpec::new(format!("node {node}"))
            .args([NODE, "--supervised", "--allow-control", "--run", run])
            .args(flags.iter().chain(&ports).flat_map(|(flag, value)| [*flag, value.as_str()]))
            .args(self.docker.to_arguments())
            .args(self.deployment_arguments(node))
    }

    #[expect(clippy::print_stdout, reason = "the banner is this program's output")]
    fn greet(&self, data: &Path) {
        println!("{} Boat nodes, model {} in backend {}:", self.num_nodes, self.model, self.backend);
        for node in 0..self.num_nodes {
            let (http, peers) = (Self::address(self.http_port, node), Self::address(self.peer_port, node));
            println!("  node {node}: http://{http}  peers {peers}");
        }
        let first = Self::address(self.http_port, 0);
        println!("data in {}\n\nTry:", data.display());
        println!("  curl http://{first}/status");
        println!(
            "  curl -H 'Content-Type: application/json' -d '{{\"input\": \"Hello\"}}' http://{first}/predict"
        );
        println!(
            "  curl -H 'Content-Type: application/json' -d '{{\"cmd\": \"exit\"}}' http://{first}/control"
        );
        println!("  or kill -9 any of the processes below. Ctrl-C ends everything.\n");
    }

    async fn run(self) -> Result<(), (u8, String)> {
        let failed = |status: u8, error: &dyn std::fmt::Display| (status, error.to_string());
        let mut supervisor = Supervisor::new(SupervisorOptions::default())
            .map_err(|error| failed(error.exit_status(), &error))?;
        check_ports(&self.ports()).map_err(|error| failed(64, &error))?;
        let temporary = match &self.data_dir {
            Some(_) => None,
            None => Some(TemporaryDirectory::create("three-node").map_err(|error| failed(70, &error))?),
        };
        let data = temporary.as_ref().map(TemporaryDirectory::path).or(self.data_dir.as_deref());
        let data = data.unwrap_or(Path::new("."));
        let docker = (self.backend == BackendKind::Docker).then(|| Containers::of(&self)).transpose();
        let docker = docker.map_err(|error| failed(64, &error))?;
        if let Some(docker) = &docker {
            docker.check().await.map_err(|error| failed(if error.is_usage() { 64 } else { 70 }, &error))?;
        }
        self.greet(data);
        let run = run_name();
        for node in 0..self.num_nodes {
            supervisor = supervisor.child(self.child(node, data, &run));
        }
        let ended = supervisor.run().await.map_err(|error| failed(error.exit_status(), &error));
        let cleaned = match &docker {
            Some(docker) => docker.clean().await.map_err(|error| failed(70, &error)),
            None => Ok(()),
        };
        ended.and(cleaned)
    }
}

/// A name that no other run of this program has.
fn run_name() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}-{:x}", now.as_secs(), std::process::id())
}

/// The containers of all nodes, as their supervisor sees them.
struct Containers {
    docker: DockerConfig,
    nodes: Vec<DeploymentSpec>,
}

impl Containers {
    fn of(arguments: &Arguments) -> Result<Self, DeploymentFileError> {
        let mut docker = DockerConfig::default();
        arguments.docker.apply(&mut docker);
        let port = |base: u16, node: u16| base.saturating_add(node);
        let node = |node: u16| {
            let docker = DockerConfig {
                management_port: port(arguments.management_port, node),
                rpc_port: port(arguments.rpc_port, node),
                redis_port: port(arguments.redis_port, node),
                prometheus_port: port(arguments.prometheus_port, node),
                ..docker.clone()
            };
            let query_address = Arguments::address(arguments.query_port, node);
            let (node, model, deployment) = (node.into(), arguments.model, arguments.deployment.clone());
            let config =
                BackendConfig { node, model, query_address, docker, deployment, ..BackendConfig::default() };
            BackendConfig { replicated: true, ..config }.deployment()
        };
        let nodes = (0..arguments.num_nodes).map(node).collect::<Result<_, _>>()?;
        Ok(Containers { nodes, docker })
    }

    /// Finds what would keep a node from starting, while nothing has been created yet.
    async fn check(&self) -> Result<(), DockerError> {
        let mut claimed = Vec::new();
        for node in &self.nodes {
            claimed.push(Deployment::prepare(node.clone()).await?);
        }
        Ok(())
    }

    /// Removes everything, whichever run of the cluster has left it. No signal ends this half way.
    async fn clean(&self) -> Result<(), DockerError> {
        let removed = clean(&self.docker, CleanOptions::default()).await?;
        log::info!("removed {} containers, networks and files from Docker", removed.len());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start_logging();
    if std::env::args().nth(1).as_deref() == Some(NODE) {
        return exit_code(NodeArguments::read(std::env::args().skip(1)).run().await);
    }
    match or_exit(Arguments::try_parse()).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, error)) => {
            log::error!("{error}");
            ExitCode::from(status)
        }
    }
}
