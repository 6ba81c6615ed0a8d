//! What the programs beside this file share: the wiring of Boat's crates into one node, and the tool for its log.

use std::process::ExitCode;

use boat_clipper::docker::{CleanOptions, DockerConfig, DockerError, clean};
use boat_clipper::{
    Backend, BackendConfig, BackendError, BackendKind, ModelKind, admin_routes, begin_deployment,
};
use boat_core::config::NodeConfig;
use boat_core::config::cli::{NodeFlags, with_defaults};
use boat_core::supervisor::{USAGE_STATUS, watch_parent};
use boat_core::{Error, Node, run_node};
use boat_transport::{TcpTransport, TransportOptions};
use clap::{CommandFactory, FromArgMatches, Parser};

mod curve;
mod data;
mod docker_flags;
mod log_tool;

pub use curve::curve_as_svg;
pub use data::breast_cancer;
pub use docker_flags::{DockerFlags, DockerPortFlags};
pub use log_tool::boat_log;

/// A request's memory is got by one thread and given back by another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One node: flags, BOAT_* environment or a TOML file say how it runs.
#[derive(Debug, Parser)]
#[command(name = "node", about = "Runs one Boat node")]
pub struct NodeArguments {
    /// Where the model lives: engine, docker or none [default: engine]
    #[arg(long, env = "BOAT_BACKEND", value_name = "KIND")]
    backend: Option<BackendKind>,
    /// Which model: echo or hash-chain [default: echo]
    #[arg(long, env = "BOAT_MODEL", value_name = "MODEL")]
    model: Option<ModelKind>,
    /// Declare that the model keeps no state: then it answers queries, too
    #[arg(long, env = "BOAT_STATELESS")]
    stateless: bool,
    /// Where the engine's query frontend listens [default: 127.0.0.1:1337]
    #[arg(long, env = "BOAT_QUERY_ADDRESS", value_name = "IP:PORT")]
    query_address: Option<std::net::SocketAddr>,
    /// What the cluster begins with, unless with --backend none [default: application `default`, model `echo-model` version 1]
    #[arg(long, env = "BOAT_DEPLOYMENT", value_name = "FILE")]
    deployment: Option<std::path::PathBuf>,
    /// Where the engine takes model containers [default: nowhere]
    #[arg(long, env = "BOAT_RPC_ADDRESS", value_name = "IP:PORT")]
    rpc_address: Option<std::net::SocketAddr>,
    /// Where the engine's management frontend listens, past the log: for looking [default: nowhere]
    #[arg(long, env = "BOAT_MANAGEMENT_ADDRESS", value_name = "IP:PORT")]
    management_address: Option<std::net::SocketAddr>,
    /// End with the process that started this one; its end of standard input tells
    #[arg(long, env = "BOAT_SUPERVISED")]
    supervised: bool,
    /// Names this run of the cluster; containers of an earlier one are removed at the start [default: drawn]
    #[arg(long, env = "BOAT_RUN", value_name = "NAME", help_heading = "Docker")]
    run: Option<String>,
    #[command(flatten)]
    docker: DockerFlags,
    #[command(flatten)]
    docker_ports: DockerPortFlags,
    #[command(flatten)]
    node: NodeFlags,
}

impl NodeArguments {
    /// Reads the arguments behind the program's name; ends the process for `--help` and for wrong ones.
    pub fn read(line: impl IntoIterator<Item = String>) -> Self {
        let matches = with_defaults(Self::command()).try_get_matches_from(line);
        or_exit(matches.and_then(|matches| Self::from_arg_matches(&matches)))
    }

    /// Runs the node until it is told to stop.
    ///
    /// # Errors
    /// See [`run_node`].
    pub async fn run(self) -> Result<(), Error> {
        if self.supervised {
            watch_parent().map_err(|error| Error::Config(format!("--supervised: {error}")))?;
        }
        let mut config: NodeConfig<BackendConfig> = self.node.load()?;
        let backend = &mut config.backend;
        backend.node = config.node_id;
        backend.kind = self.backend.unwrap_or(backend.kind);
        backend.model = self.model.unwrap_or(backend.model);
        backend.stateless |= self.stateless;
        backend.query_address = self.query_address.unwrap_or(backend.query_address);
        backend.deployment = self.deployment.or_else(|| backend.deployment.take());
        backend.rpc_address = self.rpc_address.or(backend.rpc_address);
        backend.management_address = self.management_address.or(backend.management_address);
        backend.replicated = backend.kind != BackendKind::None;
        self.docker.apply(&mut backend.docker);
        self.docker_ports.apply(&mut backend.docker);
        backend.docker.run = self.run.unwrap_or_else(|| std::mem::take(&mut backend.docker.run));
        let config = config.check()?;
        let wrong = |error: &dyn std::fmt::Display| Error::Config(format!("backend: {error}"));
        let beginning = config.backend.beginning().map_err(|error| wrong(&error))?;
        let routes = config.peer_routes.iter().map(|(node, address)| (node, address.to_owned())).collect();
        let options = TransportOptions { routes, ..TransportOptions::default() };
        let transport = TcpTransport::bind_with(config.peer_listen_address(), options).await?;
        let backend = Backend::from_config(config.backend.clone()).await;
        let backend = backend.map_err(|error| match error {
            BackendError::Engine(error) => Error::Backend(error.to_string()),
            BackendError::Docker(DockerError::Config(error)) => wrong(&error),
            // Another start may find it mended: what a person must mend first, a supervisor has told before.
            BackendError::Docker(error) => Error::Backend(error.to_string()),
            other => wrong(&other),
        })?;
        let view = backend.deployment_view();
        let routes = |node: &Node| match view {
            Some(view) => {
                begin_deployment(node, view.clone(), beginning);
                admin_routes(node, view)
            }
            None => axum::Router::new(),
        };
        let left = Left::of(&config.backend, self.supervised);
        let ended = run_node(config, transport, backend, routes).await;
        left.clean().await;
        ended
    }
}

/// What a node has on Docker, to be removed when it ends: unless a supervisor does so for all.
struct Left(Option<(DockerConfig, CleanOptions)>);

impl Left {
    fn of(backend: &BackendConfig, supervised: bool) -> Self {
        let options = CleanOptions { node: Some(backend.node), ..CleanOptions::default() };
        let is_ours = backend.kind == BackendKind::Docker && !supervised;
        Left(is_ours.then(|| (backend.docker.clone(), options)))
    }

    async fn clean(self) {
        let Some((docker, options)) = self.0 else { return };
        match clean(&docker, options).await {
            Ok(removed) => log::info!("removed {}", removed.join(", ")),
            Err(error) => log::error!("{error}"),
        }
    }
}

/// The arguments, unless they are wrong or ask for help: that is printed and ends the process, wrong ones with the status
/// that tells a supervisor not to try again.
pub fn or_exit<T>(parsed: Result<T, clap::Error>) -> T {
    parsed.unwrap_or_else(|error| {
        // Nobody is left to be told that the terminal is gone.
        let _ = error.print();
        std::process::exit(if error.use_stderr() { i32::from(USAGE_STATUS) } else { 0 })
    })
}

/// Logs to standard error: `RUST_LOG` says what, all from `info` on by default.
pub fn start_logging() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
}

/// What a process ends with.
pub fn exit_code(ended: Result<(), Error>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(error.exit_status())
        }
    }
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
