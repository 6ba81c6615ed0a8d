//! Clipper on Docker: for each node a network and the containers that Clipper's own admin tool would start.
//!
//! Names, labels, arguments, variables and ports are those of Clipper's tool, so that it and its users find what they
//! know; labels of Boat's own (`dev.boat.cluster`, `dev.boat.node`, `dev.boat.run`) tell whose everything is. What does not
//! carry them is never touched.
//!
//! The query frontend is started with the smallest cache and the model registered with a fixed batch size: a model that
//! keeps state must see every input once.

#[cfg(feature = "docker")]
mod api;
#[cfg(feature = "docker")]
mod claim;
#[cfg(feature = "docker")]
mod clean;
mod config;
#[cfg(feature = "docker")]
mod deployment;
#[cfg(feature = "docker")]
mod error;
#[cfg(feature = "docker")]
mod image;
#[cfg(feature = "docker")]
mod labels;
#[cfg(feature = "docker")]
mod models;
#[cfg(feature = "docker")]
mod plan;
#[cfg(feature = "docker")]
mod preflight;
#[cfg(feature = "docker")]
mod prometheus;
#[cfg(feature = "docker")]
mod ready;
#[cfg(feature = "docker")]
mod serving;
#[cfg(feature = "docker")]
mod shared;
#[cfg(feature = "docker")]
mod start;
#[cfg(feature = "docker")]
mod watcher;

#[cfg(feature = "docker")]
pub use self::clean::{CleanOptions, clean};
pub use self::config::{DockerConfig, DockerConfigError, DockerImages};
#[cfg(feature = "docker")]
pub use self::deployment::{Deployment, DeploymentSpec};
#[cfg(feature = "docker")]
pub use self::error::DockerError;
