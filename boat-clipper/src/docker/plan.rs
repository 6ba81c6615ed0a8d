//! What is to run for one node: every name, image, argument, variable, label and port, as Clipper's own admin tool gives them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use boat_core::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use super::DockerConfig;
use super::labels::{self, Owner, Role};
use super::prometheus;
use crate::ModelKind;

/// Clipper numbers containers from 0 to this.
const NUMBER_MAX: u64 = 100_000;

/// Where Prometheus reads its configuration.
const PROMETHEUS_CONFIG: &str = "/etc/prometheus/prometheus.yml";

/// A port of a container, published on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Published {
    pub(crate) inside: u16,
    pub(crate) outside: SocketAddr,
    /// What for, as people call it.
    pub(crate) purpose: String,
}

/// One container as it is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerPlan {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) binds: Vec<String>,
    pub(crate) ports: Vec<Published>,
    pub(crate) labels: HashMap<String, String>,
}

/// What runs for one node.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) owner: Owner,
    pub(crate) network: String,
    pub(crate) clipper_cluster: String,
    pub(crate) query_address: SocketAddr,
    pub(crate) management_address: SocketAddr,
    /// In the order in which they are started.
    pub(crate) containers: Vec<ContainerPlan>,
    pub(crate) prometheus_config: PathBuf,
    pub(crate) prometheus_text: String,
}

/// The application, its model, and how they are registered: what the original had hard-coded.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) application: String,
    pub(crate) input_type: String,
    pub(crate) default_output: String,
    pub(crate) latency_slo_micros: u64,
    pub(crate) model: String,
    pub(crate) version: String,
    /// The most inputs that the model gets at once. Positive: Clipper pads batches of the size -1 that its tool sets.
    pub(crate) batch_size: u32,
}

impl Plan {
    pub(crate) fn new(
        config: &DockerConfig,
        node: NodeId,
        query_address: SocketAddr,
        kind: ModelKind,
        served: &Served,
    ) -> Plan {
        let owner = Owner { cluster: config.cluster.clone(), node, run: config.run.clone() };
        let suffix = config.suffix(node);
        // As good as random, and the same for every process of one run, so that names survive a node's restart.
        let seed = format!("{}/{node}/{}", owner.cluster, owner.run);
        let number = xxh3_64(seed.as_bytes()) % (NUMBER_MAX + 1);
        let clipper_cluster = format!("clipper_cluster{suffix}");
        let prometheus_config = prometheus::path(&owner);
        let draft = Draft {
            config,
            node,
            number,
            labels: owner.labels(&clipper_cluster),
            query_address,
            prometheus_config: prometheus_config.display().to_string(),
        };
        let model = draft.model(kind, served);
        let exporter = draft.exporter();
        let prometheus_text = prometheus::text(&exporter.name, &model.name);
        let containers =
            vec![draft.redis(), draft.management(), draft.query(), exporter, draft.prometheus(), model];
        Plan {
            network: format!("clipper_network{suffix}"),
            clipper_cluster,
            query_address,
            management_address: SocketAddr::new(config.publish_ip, config.management_port),
            containers: containers.into_iter().map(ContainerPlan::sealed).collect(),
            prometheus_config,
            prometheus_text,
            owner,
        }
    }

    /// Every port that is published, with the container that does.
    pub(crate) fn ports(&self) -> impl Iterator<Item = &Published> {
        self.containers.iter().flat_map(|container| &container.ports)
    }
}

/// What the containers of one node have in common.
struct Draft<'a> {
    config: &'a DockerConfig,
    node: NodeId,
    number: u64,
    labels: HashMap<String, String>,
    query_address: SocketAddr,
    prometheus_config: String,
}

impl Draft<'_> {
    fn container(&self, role: Role, prefix: &str, image: String) -> ContainerPlan {
        let mut labels = self.labels.clone();
        labels.insert(labels::ROLE.to_owned(), role.name().to_owned());
        ContainerPlan {
            role,
            name: format!("{prefix}-{}", self.number),
            image,
            command: Vec::new(),
            environment: Vec::new(),
            user: None,
            binds: Vec::new(),
            ports: Vec::new(),
            labels,
        }
    }

    fn published(&self, inside: u16, outside: u16, purpose: &str) -> Published {
        let outside = SocketAddr::new(self.config.publish_ip, outside);
        Published { inside, outside, purpose: format!("node {}, {purpose}", self.node) }
    }

    fn redis_flags(&self) -> Vec<String> {
        vec![format!("--redis_ip=redis-{}", self.number), "--redis_port=6379".to_owned()]
    }

    fn redis(&self) -> ContainerPlan {
        let port = self.config.redis_port;
        let mut plan = self.container(Role::Redis, "redis", self.config.images.redis.clone());
        plan.command = words("redis-server --port 6379");
        plan.ports = vec![self.published(6379, port, "Redis")];
        plan.label("ai.clipper.redis.port", port.to_string());
        plan
    }

    fn management(&self) -> ContainerPlan {
        let port = self.config.management_port;
        let image = self.config.images.clipper("management_frontend");
        let mut plan = self.container(Role::Management, "mgmt_frontend", image);
        plan.command = self.redis_flags();
        plan.ports = vec![self.published(1338, port, "management")];
        plan.label("ai.clipper.management_frontend.label", String::new());
        plan.label("ai.clipper.management.port", port.to_string());
        plan
    }

    fn query(&self) -> ContainerPlan {
        let (query, rpc) = (self.query_address.port(), self.config.rpc_port);
        let image = self.config.images.clipper("query_frontend");
        let mut plan = self.container(Role::Query, "query_frontend", image);
        plan.command = self.redis_flags();
        // The smallest cache: repeated inputs reach the model.
        plan.command.push("--prediction_cache_size=1".to_owned());
        plan.command.extend(words("--thread_pool_size=1 --timeout_request=5 --timeout_content=300"));
        let queries = Published { outside: self.query_address, ..self.published(1337, query, "queries") };
        plan.ports = vec![queries, self.published(7000, rpc, "model containers")];
        plan.label("ai.clipper.query_frontend.label", String::new());
        plan.label("ai.clipper.query_frontend.query.port", query.to_string());
        plan.label("ai.clipper.query_frontend.rpc.port", rpc.to_string());
        plan
    }

    fn exporter(&self) -> ContainerPlan {
        let image = self.config.images.clipper("frontend-exporter");
        let mut plan = self.container(Role::Exporter, "query_frontend_exporter", image);
        plan.command =
            vec!["--query_frontend_name".to_owned(), format!("query_frontend-{}:1337", self.number)];
        plan
    }

    fn prometheus(&self) -> ContainerPlan {
        let port = self.config.prometheus_port;
        let image = self.config.images.prometheus.clone();
        let mut plan = self.container(Role::Prometheus, "metric_frontend", image);
        plan.command = vec![
            format!("--config.file={PROMETHEUS_CONFIG}"),
            "--storage.tsdb.path=/prometheus".to_owned(),
            "--web.console.libraries=/etc/prometheus/console_libraries".to_owned(),
            "--web.console.templates=/etc/prometheus/consoles".to_owned(),
            "--web.enable-lifecycle".to_owned(),
        ];
        plan.user = Some("root".to_owned());
        plan.binds = vec![format!("{}:{PROMETHEUS_CONFIG}:ro", self.prometheus_config)];
        plan.ports = vec![self.published(9090, port, "Prometheus")];
        plan.label("ai.clipper.metric.port", port.to_string());
        plan.label(labels::PROMETHEUS_CONFIG, self.prometheus_config.clone());
        plan
    }

    fn model(&self, kind: ModelKind, served: &Served) -> ContainerPlan {
        let name = format!("{}_{}", served.model, served.version);
        let mut plan = self.container(Role::Model, &name, self.config.images.model(kind));
        plan.environment = vec![
            format!("CLIPPER_MODEL_NAME={}", served.model),
            format!("CLIPPER_MODEL_VERSION={}", served.version),
            format!("CLIPPER_IP=query_frontend-{}", self.number),
            format!("CLIPPER_INPUT_TYPE={}", served.input_type),
        ];
        plan.label("ai.clipper.model_container.label", name);
        plan
    }
}

impl ContainerPlan {
    fn label(&mut self, key: &str, value: String) {
        self.labels.insert(key.to_owned(), value);
    }

    /// With the label that tells whether a container was made as this plan says.
    fn sealed(mut self) -> ContainerPlan {
        let ContainerPlan { role, name, image, command, environment, user, binds, ports, labels: _ } = &self;
        let all = format!("{role:?}{name:?}{image:?}{command:?}{environment:?}{user:?}{binds:?}{ports:?}");
        self.label(labels::PLAN, format!("{:016x}", xxh3_64(all.as_bytes())));
        self
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Served {
        Served {
            application: "default".to_owned(),
            input_type: "strings".to_owned(),
            default_output: String::new(),
            latency_slo_micros: 50_000_000,
            model: "echo-model".to_owned(),
            version: "1".to_owned(),
            batch_size: 64,
        }
    }

    fn plan(run: &str) -> Plan {
        let config = DockerConfig { run: run.to_owned(), ..DockerConfig::default() };
        let query = SocketAddr::from(([127, 0, 0, 1], 1338));
        Plan::new(&config, NodeId(1), query, ModelKind::HashChain, &served())
    }

    fn of(plan: &Plan, role: Role) -> ContainerPlan {
        plan.containers.iter().find(|container| container.role == role).unwrap().clone()
    }

    #[test]
    fn containers_are_named_labelled_and_started_as_clippers_own_tool_does() {
        let plan = plan("r1");
        assert_eq!(plan.network, "clipper_network_1");
        assert_eq!(plan.clipper_cluster, "clipper_cluster_1");
        let roles: Vec<Role> = plan.containers.iter().map(|container| container.role).collect();
        assert_eq!(roles, Role::ALL);
        let query = of(&plan, Role::Query);
        let number = query.name.strip_prefix("query_frontend-").unwrap();
        assert!(number.parse::<u64>().unwrap() <= NUMBER_MAX);
        assert_eq!(query.image, "clipper/query_frontend:develop");
        let expected = format!(
            "--redis_ip=redis-{number} --redis_port=6379 --prediction_cache_size=1 --thread_pool_size=1 \
             --timeout_request=5 --timeout_content=300"
        );
        assert_eq!(query.command, words(&expected));
        let ports: Vec<_> = query.ports.iter().map(|port| (port.inside, port.outside.port())).collect();
        assert_eq!(ports, [(1337, 1338), (7000, 7000)]);
        for (label, value) in [
            ("ai.clipper.container.label", "clipper_cluster_1"),
            ("ai.clipper.query_frontend.label", ""),
            ("ai.clipper.query_frontend.query.port", "1338"),
            ("ai.clipper.query_frontend.rpc.port", "7000"),
            ("dev.boat.cluster", "boat"),
            ("dev.boat.node", "1"),
            ("dev.boat.run", "r1"),
            ("dev.boat.role", "query_frontend"),
        ] {
            assert_eq!(query.labels.get(label).map(String::as_str), Some(value), "{label}");
        }
        let names: Vec<String> = plan.containers.iter().map(|container| container.name.clone()).collect();
        let prefixes = ["redis", "mgmt_frontend", "query_frontend", "query_frontend_exporter"];
        let prefixes = prefixes.into_iter().chain(["metric_frontend", "echo-model_1"]);
        assert_eq!(names, prefixes.map(|prefix| format!("{prefix}-{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn the_model_container_is_told_who_it_is_and_whom_to_call() {
        let plan = plan("r1");
        let model = of(&plan, Role::Model);
        let frontend = of(&plan, Role::Query).name;
        assert_eq!(model.image, "boat/hash-chain:latest");
        let expected = [
            "CLIPPER_MODEL_NAME=echo-model".to_owned(),
            "CLIPPER_MODEL_VERSION=1".to_owned(),
            format!("CLIPPER_IP={frontend}"),
            "CLIPPER_INPUT_TYPE=strings".to_owned(),
        ];
        assert_eq!(model.environment, expected);
        assert!(model.ports.is_empty() && model.command.is_empty());
        assert_eq!(model.labels.get("ai.clipper.model_container.label").unwrap(), "echo-model_1");
        assert!(plan.prometheus_text.contains(&format!("- {}:1390", model.name)), "{}", plan.prometheus_text);
    }

    #[test]
    fn names_stay_within_a_run_and_change_between_runs() {
        let names = |run: &str| of(&plan(run), Role::Redis).name;
        assert_eq!(names("r1"), names("r1"));
        assert_ne!(names("r1"), names("r2"));
    }

    #[test]
    fn another_configuration_is_another_plan() {
        let seal = |plan: &Plan, role| of(plan, role).labels.get(labels::PLAN).cloned().unwrap();
        let first = plan("r1");
        assert_eq!(seal(&first, Role::Redis), seal(&plan("r1"), Role::Redis));
        let config = DockerConfig { run: "r1".to_owned(), redis_port: 6380, ..DockerConfig::default() };
        let other = Plan::new(&config, NodeId(1), first.query_address, ModelKind::HashChain, &served());
        assert_ne!(seal(&first, Role::Redis), seal(&other, Role::Redis));
        assert_eq!(seal(&first, Role::Management), seal(&other, Role::Management));
    }
}
