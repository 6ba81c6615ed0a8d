//! What the programs beside this file are told about Docker.

use std::path::PathBuf;

use boat_clipper::docker::DockerConfig;
use clap::Args;

/// How Clipper is deployed with --backend docker, the same for all nodes of a cluster.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Docker")]
pub struct DockerFlags {
    /// The socket of the Docker engine [default: /var/run/docker.sock]
    #[arg(long, env = "BOAT_DOCKER_SOCKET", value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// The cluster's name: in labels, and in the names of networks unless it is the default [default: boat]
    #[arg(long, env = "BOAT_CLUSTER", value_name = "NAME")]
    cluster: Option<String>,
    /// Where Clipper's images come from [default: clipper]
    #[arg(long, env = "BOAT_CLIPPER_REGISTRY", value_name = "REGISTRY")]
    clipper_registry: Option<String>,
    /// The tag of Clipper's images [default: develop]
    #[arg(long, env = "BOAT_CLIPPER_TAG", value_name = "TAG")]
    clipper_tag: Option<String>,
    /// The image of Redis [default: redis:alpine]
    #[arg(long, env = "BOAT_REDIS_IMAGE", value_name = "IMAGE")]
    redis_image: Option<String>,
    /// The image of Prometheus [default: prom/prometheus:v2.9.2]
    #[arg(long, env = "BOAT_PROMETHEUS_IMAGE", value_name = "IMAGE")]
    prometheus_image: Option<String>,
    /// The image of the model container [default: boat/MODEL:latest]
    #[arg(long, env = "BOAT_MODEL_IMAGE", value_name = "IMAGE")]
    model_image: Option<String>,
}

/// The ports on which one node's containers are published, besides that of its query frontend.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Docker")]
pub struct DockerPortFlags {
    /// Where the node's Clipper is managed [default: 2337]
    #[arg(long, env = "BOAT_MANAGEMENT_PORT", value_name = "PORT")]
    management_port: Option<u16>,
    /// Where the node's model containers connect [default: 7000]
    #[arg(long, env = "BOAT_RPC_PORT", value_name = "PORT")]
    rpc_port: Option<u16>,
    /// Where the node's Redis is published [default: 6379]
    #[arg(long, env = "BOAT_REDIS_PORT", value_name = "PORT")]
    redis_port: Option<u16>,
    /// Where the node's Prometheus is published [default: 9090]
    #[arg(long, env = "BOAT_PROMETHEUS_PORT", value_name = "PORT")]
    prometheus_port: Option<u16>,
}

impl DockerFlags {
    /// Changes in `config` what was given.
    pub fn apply(&self, config: &mut DockerConfig) {
        let images = &mut config.images;
        for (flag, field) in [
            (&self.cluster, &mut config.cluster),
            (&self.clipper_registry, &mut images.registry),
            (&self.clipper_tag, &mut images.tag),
            (&self.redis_image, &mut images.redis),
            (&self.prometheus_image, &mut images.prometheus),
            (&self.model_image, &mut images.model),
        ] {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        }
        if let Some(socket) = &self.docker_socket {
            config.socket.clone_from(socket);
        }
    }

    /// The same flags for another program.
    pub fn to_arguments(&self) -> Vec<String> {
        let socket = self.docker_socket.as_ref().map(|socket| socket.display().to_string());
        let flags = [
            ("--docker-socket", &socket),
            ("--cluster", &self.cluster),
            ("--clipper-registry", &self.clipper_registry),
            ("--clipper-tag", &self.clipper_tag),
            ("--redis-image", &self.redis_image),
            ("--prometheus-image", &self.prometheus_image),
            ("--model-image", &self.model_image),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
        given.flat_map(|(flag, value)| [flag.to_owned(), value.clone()]).collect()
    }
}

impl DockerPortFlags {
    /// Changes in `config` what was given.
    pub fn apply(&self, config: &mut DockerConfig) {
        config.management_port = self.management_port.unwrap_or(config.management_port);
        config.rpc_port = self.rpc_port.unwrap_or(config.rpc_port);
        config.redis_port = self.redis_port.unwrap_or(config.redis_port);
        config.prometheus_port = self.prometheus_port.unwrap_or(config.prometheus_port);
    }
}
