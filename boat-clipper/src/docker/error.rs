//! What can go wrong with Docker.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::supervisor::PortsError;

use super::DockerConfigError;

/// Why Clipper does not run on Docker, or could not be removed from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] DockerConfigError),
    /// Nothing listens on the socket, or it is not there.
    #[error(
        "no Docker engine answers at {}: {reason}; start Docker, name another socket, or use --backend engine, which needs none",
        socket.display()
    )]
    NoEngine {
        /// The socket.
        socket: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// The socket may not be used.
    #[error(
        "no permission to use the Docker engine at {}: run as a user of the group that owns the socket (usually `docker`)",
        socket.display()
    )]
    NoPermission {
        /// The socket.
        socket: PathBuf,
    },
    /// An image is not on this machine and cannot be pulled.
    #[error(
        "image {image} is not on this machine and cannot be pulled: {reason}; build it (examples/images/build) or name another"
    )]
    Image {
        /// Its name.
        image: String,
        /// What the registry or the engine said.
        reason: String,
    },
    /// A port is published by somebody else's container.
    #[error("port {} for {purpose} is taken by container {by}", address.port())]
    PortTaken {
        /// What it is wanted for.
        purpose: String,
        /// Where.
        address: SocketAddr,
        /// The container and its image.
        by: String,
    },
    /// A port is taken by a process.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// The name of a container or network is somebody else's.
    #[error(
        "{what} {name} exists already and is not Boat's: it {whose}; remove it, or choose another cluster name"
    )]
    NameTaken {
        /// `container` or `network`.
        what: &'static str,
        /// The name.
        name: String,
        /// What is known about it.
        whose: String,
    },
    /// Another process runs this node's containers.
    #[error(
        "node {node} of cluster {cluster} runs already on this machine: stop it, or choose another cluster name"
    )]
    Running {
        /// The node.
        node: NodeId,
        /// The cluster.
        cluster: String,
    },
    /// A container ended instead of running.
    #[error("container {container} ended at once with status {status}: {log}")]
    Exited {
        /// Its name.
        container: String,
        /// Its exit status.
        status: i64,
        /// The end of what it wrote.
        log: String,
    },
    /// Not everything was ready in time.
    #[error("not ready within {waited:?}: {}", missing.join("; "))]
    NotReady {
        /// How long was waited.
        waited: Duration,
        /// What was missing at the end.
        missing: Vec<String>,
    },
    /// The container of a model is not there yet.
    #[error("container {container} of model {model} is being started")]
    Starting {
        /// Its name.
        container: String,
        /// The model and its version.
        model: String,
    },
    /// Clipper's management frontend refuses the deployment.
    #[error("management frontend at {address}: {doing}: {reason}")]
    Management {
        /// Where.
        address: SocketAddr,
        /// What was asked for.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
    /// Docker refuses.
    #[error("Docker cannot {doing}: {reason}")]
    Api {
        /// What was asked for.
        doing: String,
        /// What the engine said.
        reason: String,
    },
    /// The configuration of Prometheus cannot be written or removed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// After the clean-up something of ours is still there.
    #[error("still there after cleaning up: {}", .0.join(", "))]
    LeftBehind(Vec<String>),
}

impl DockerError {
    /// Whether trying again without changing anything is of no use: a person has to act.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            DockerError::Config(_)
                | DockerError::NoPermission { .. }
                | DockerError::Image { .. }
                | DockerError::PortTaken { .. }
                | DockerError::Ports(_)
                | DockerError::NameTaken { .. }
                | DockerError::Running { .. }
        )
    }
}
