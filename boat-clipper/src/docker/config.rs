//! What is deployed on Docker, and under which names.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(any(feature = "docker", test))]
use crate::ModelKind;

/// The cluster's name unless told otherwise. Networks of other clusters carry their name.
const CLUSTER_DEFAULT: &str = "boat";

/// The longest name of a cluster, application, model or version.
const NAME_BYTES_MAX: usize = 63;

/// How Clipper is deployed on Docker for one node. Files may leave out any field; unknown ones are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerConfig {
    /// The engine's socket. Default `/var/run/docker.sock`.
    pub socket: PathBuf,
    /// Tells several Boat clusters on one Docker engine apart: `a-z`, `0-9` and `-`. Default `boat`. The networks of the
    /// default one are called `clipper_network_0`, `clipper_network_1`, ...; those of another `clipper_network_NAME_0`.
    pub cluster: String,
    /// Names this run of the cluster in labels: what carries another name is left from an earlier run, and is removed at the
    /// start. Empty, the default, draws one.
    pub run: String,
    /// On which address of this machine ports are published. Default 127.0.0.1: nothing in Clipper asks who is there.
    pub publish_ip: IpAddr,
    /// Where this node's Clipper is managed. Default 2337.
    pub management_port: u16,
    /// Where this node's model containers may connect from outside. Default 7000.
    pub rpc_port: u16,
    /// Where this node's Redis is published. Default 6379.
    pub redis_port: u16,
    /// Where this node's Prometheus is published. Default 9090.
    pub prometheus_port: u16,
    /// How long all containers together may take to be ready, in milliseconds. Default 120,000, at least 1: Clipper's own
    /// model containers need 9 to 13 s.
    pub ready_timeout_ms: u64,
    /// How long one call of Docker's API may take, in milliseconds. Default 30,000, at least 1,000.
    pub api_timeout_ms: u64,
    /// The images.
    pub images: DockerImages,
}

impl Default for DockerConfig {
    fn default() -> Self {
        DockerConfig {
            socket: PathBuf::from("/var/run/docker.sock"),
            cluster: CLUSTER_DEFAULT.to_owned(),
            run: String::new(),
            publish_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            management_port: 2337,
            rpc_port: 7000,
            redis_port: 6379,
            prometheus_port: 9090,
            ready_timeout_ms: 120_000,
            api_timeout_ms: 30_000,
            images: DockerImages::default(),
        }
    }
}

/// Which images the containers are made of. One that this machine does not have is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DockerImages {
    /// Where the images of Clipper come from: `REGISTRY/query_frontend:TAG`. Default `clipper`.
    pub registry: String,
    /// Their tag. Default `develop`.
    pub tag: String,
    /// Redis. Default `redis:alpine`.
    pub redis: String,
    /// Prometheus. Default `prom/prometheus:v2.9.2`.
    pub prometheus: String,
    /// What runs where a deployment names one of Boat's own models, `boat/echo` or `boat/hash-chain`. Empty, the default,
    /// takes `boat/MODEL:latest`, as `examples/images/build` builds it.
    pub model: String,
}

impl Default for DockerImages {
    fn default() -> Self {
        DockerImages {
            registry: "clipper".to_owned(),
            tag: "develop".to_owned(),
            redis: "redis:alpine".to_owned(),
            prometheus: "prom/prometheus:v2.9.2".to_owned(),
            model: String::new(),
        }
    }
}

impl DockerImages {
    /// One of Clipper's own.
    #[cfg(any(feature = "docker", test))]
    pub(crate) fn clipper(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.registry, self.tag)
    }

    /// The model container's.
    #[cfg(any(feature = "docker", test))]
    pub(crate) fn model(&self, kind: ModelKind) -> String {
        if self.model.is_empty() { format!("boat/{kind}:latest") } else { self.model.clone() }
    }
}

/// A [`DockerConfig`] that cannot be: which field, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DockerConfigError {
    /// A name that Docker or Clipper would refuse.
    #[error("{field}: {name:?} is not 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -, the ends no -")]
    Name {
        /// Which field.
        field: &'static str,
        /// What it holds.
        name: String,
    },
    /// A number below its least value.
    #[error("{field}: must be at least {least}")]
    TooSmall {
        /// Which field.
        field: &'static str,
        /// The least value.
        least: u64,
    },
    /// An image without a name.
    #[error("{0}: an image's name must not be empty")]
    NoImage(&'static str),
}

/// Whether Clipper accepts this as a name, and Docker as a part of one.
pub(crate) fn is_name(name: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let ends = !name.starts_with('-') && !name.ends_with('-');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && ends && name.bytes().all(inner)
}

impl DockerConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`DockerConfigError`], for the first field that cannot be.
    pub fn check(&self) -> Result<(), DockerConfigError> {
        let mut names = vec![("docker.cluster", &self.cluster)];
        if !self.run.is_empty() {
            names.push(("docker.run", &self.run));
        }
        if let Some((field, name)) = names.into_iter().find(|(_, name)| !is_name(name)) {
            return Err(DockerConfigError::Name { field, name: name.clone() });
        }
        for (field, value, least) in [
            ("docker.ready_timeout_ms", self.ready_timeout_ms, 1),
            ("docker.api_timeout_ms", self.api_timeout_ms, 1_000),
            ("docker.management_port", self.management_port.into(), 1),
            ("docker.rpc_port", self.rpc_port.into(), 1),
            ("docker.redis_port", self.redis_port.into(), 1),
            ("docker.prometheus_port", self.prometheus_port.into(), 1),
        ] {
            if value < least {
                return Err(DockerConfigError::TooSmall { field, least });
            }
        }
        let images = &self.images;
        for (field, image) in [
            ("docker.images.registry", &images.registry),
            ("docker.images.tag", &images.tag),
            ("docker.images.redis", &images.redis),
            ("docker.images.prometheus", &images.prometheus),
        ] {
            if image.is_empty() {
                return Err(DockerConfigError::NoImage(field));
            }
        }
        Ok(())
    }

    /// What stands behind `clipper_network` and `clipper_cluster` in the names of a node.
    #[cfg(any(feature = "docker", test))]
    pub(crate) fn suffix(&self, node: boat_core::NodeId) -> String {
        if self.cluster == CLUSTER_DEFAULT {
            format!("_{}", node.0)
        } else {
            format!("_{}_{}", self.cluster, node.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use boat_core::NodeId;

    use super::*;

    #[test]
    fn the_default_is_fine_and_each_bound_is_checked() {
        let fine = DockerConfig::default();
        assert_eq!(fine.check(), Ok(()));
        let images = |change: fn(&mut DockerImages)| {
            let mut config = DockerConfig::default();
            change(&mut config.images);
            config
        };
        for wrong in [
            DockerConfig { cluster: String::new(), ..fine.clone() },
            DockerConfig { cluster: "two words".to_owned(), ..fine.clone() },
            DockerConfig { cluster: "-x".to_owned(), ..fine.clone() },
            DockerConfig { cluster: "x".repeat(NAME_BYTES_MAX + 1), ..fine.clone() },
            DockerConfig { run: "a_b".to_owned(), ..fine.clone() },
            DockerConfig { ready_timeout_ms: 0, ..fine.clone() },
            DockerConfig { api_timeout_ms: 999, ..fine.clone() },
            DockerConfig { management_port: 0, ..fine.clone() },
            images(|images| images.registry.clear()),
            images(|images| images.tag.clear()),
            images(|images| images.redis.clear()),
            images(|images| images.prometheus.clear()),
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn names_are_the_originals_for_the_default_cluster_and_others_for_others() {
        let default = DockerConfig::default();
        assert_eq!(default.suffix(NodeId(2)), "_2");
        let other = DockerConfig { cluster: "staging".to_owned(), ..default };
        assert_eq!(other.suffix(NodeId(2)), "_staging_2");
    }

    #[test]
    fn files_may_leave_out_any_field_and_no_other_is_known() {
        let read = |text: &str| serde_json::from_str::<DockerConfig>(text);
        assert_eq!(read("{}").unwrap(), DockerConfig::default());
        assert_eq!(read(r#"{"images":{"tag":"0.4.1"}}"#).unwrap().images.tag, "0.4.1");
        assert!(read(r#"{"image":{}}"#).is_err());
    }
}
