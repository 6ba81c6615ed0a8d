//! What is to run for one node: every name, image, argument, variable, label and port, as Clipper's own admin tool gives them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use boat_core::NodeId;
use xxhash_rust::xxh3::xxh3_64;

use super::DockerConfig;
use super::config::is_name;
use super::labels::{self, Owner, Role};
use super::prometheus;
use crate::deployment::{ModelId, ModelVersion};

/// Clipper numbers containers from 0 to this.
const NUMBER_MAX: u64 = 100_000;

/// How much of a model's name stands in the name of its container, where it is one that Clipper's tool would not take.
const NAME_CHARS_MAX: usize = 32;

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
    pub(crate) prometheus_address: SocketAddr,
    /// All but models, in the order in which they are started.
    pub(crate) containers: Vec<ContainerPlan>,
    pub(crate) prometheus_config: PathBuf,
    /// What stands at the end of all names.
    number: u64,
}

impl Plan {
    pub(crate) fn new(config: &DockerConfig, node: NodeId, query_address: SocketAddr) -> Plan {
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
        let containers =
            [draft.redis(), draft.management(), draft.query(), draft.exporter(), draft.prometheus()];
        Plan {
            network: format!("clipper_network{suffix}"),
            clipper_cluster,
            query_address,
            management_address: SocketAddr::new(config.publish_ip, config.management_port),
            prometheus_address: SocketAddr::new(config.publish_ip, config.prometheus_port),
            containers: containers.into_iter().map(ContainerPlan::sealed).collect(),
            prometheus_config,
            number,
            owner,
        }
    }

    /// The container of a version of a model, whose `container_name` is an image.
    pub(crate) fn model(&self, model: &ModelVersion) -> ContainerPlan {
        let id = model.id();
        let mut labels = self.owner.labels(&self.clipper_cluster);
        labels.insert(labels::ROLE.to_owned(), Role::Model.name().to_owned());
        let environment = vec![
            format!("CLIPPER_MODEL_NAME={}", id.model_name),
            format!("CLIPPER_MODEL_VERSION={}", id.model_version),
            format!("CLIPPER_IP=query_frontend-{}", self.number),
            format!("CLIPPER_INPUT_TYPE={}", model.input_type),
        ];
        let (name, image) = (self.model_name(&id), model.container_name.clone());
        let mut plan = ContainerPlan { environment, ..ContainerPlan::new(Role::Model, name, image, labels) };
        plan.label("ai.clipper.model_container.label", format!("{}_{}", id.model_name, id.model_version));
        plan.sealed()
    }

    /// What the container of a version of a model is called.
    pub(crate) fn model_name(&self, id: &ModelId) -> String {
        let ModelId { model_name, model_version } = id;
        let number = self.number;
        if is_name(model_name) && is_name(model_version) {
            return format!("{model_name}_{model_version}-{number}");
        }
        // Clipper's tool takes no such name. What Docker takes of it, and a hash that tells it from others.
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let plain: String = model_name.chars().filter(plain).take(NAME_CHARS_MAX).collect();
        let hash = xxh3_64(format!("{model_name}:{model_version}").as_bytes());
        format!("model_{plain}_{hash:016x}-{number}")
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
        ContainerPlan::new(role, format!("{prefix}-{}", self.number), image, labels)
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
}

impl ContainerPlan {
    fn new(role: Role, name: String, image: String, labels: HashMap<String, String>) -> ContainerPlan {
        ContainerPlan {
            role,
            name,
            image,
            command: Vec::new(),
            environment: Vec::new(),
            user: None,
            binds: Vec::new(),
            ports: Vec::new(),
            labels,
        }
    }

    /// By what a container is told from all others of its node.
    pub(crate) fn key(&self) -> (Role, String) {
        (self.role, self.name.clone())
    }

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

    fn model(name: &str, version: &str) -> ModelVersion {
        ModelVersion {
            model_name: name.to_owned(),
            model_version: version.to_owned(),
            labels: Vec::new(),
            input_type: crate::InputType::Strings,
            container_name: "boat/hash-chain:latest".to_owned(),
            model_data_path: String::new(),
            batch_size: 64,
        }
    }

    fn plan(run: &str) -> Plan {
        let config = DockerConfig { run: run.to_owned(), ..DockerConfig::default() };
        let query = SocketAddr::from(([127, 0, 0, 1], 1338));
        Plan::new(&config, NodeId(1), query)
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
        assert_eq!(roles, Role::ALL[..5]);
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
        let prefixes = prefixes.into_iter().chain(["metric_frontend"]);
        assert_eq!(names, prefixes.map(|prefix| format!("{prefix}-{number}")).collect::<Vec<_>>());
    }

    #[test]
    fn the_model_container_is_told_who_it_is_and_whom_to_call() {
        let plan = plan("r1");
        let model = plan.model(&model("echo-model", "1"));
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
        let number = frontend.strip_prefix("query_frontend-").unwrap();
        assert_eq!(model.name, format!("echo-model_1-{number}"));
    }

    #[test]
    fn models_with_names_that_docker_does_not_take_have_names_all_the_same() {
        let plan = plan("r1");
        let name = |name: &str, version: &str| plan.model(&model(name, version)).name;
        let names =
            [name("a_b", "c"), name("a", "b_c"), name("ä b/..", "1"), name("", ""), name("redis", "1")];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        assert!(names.iter().all(|name| name.chars().all(is_fine) && name.len() < 100), "{names:?}");
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
        let other = Plan::new(&config, NodeId(1), first.query_address);
        assert_ne!(seal(&first, Role::Redis), seal(&other, Role::Redis));
        assert_eq!(seal(&first, Role::Management), seal(&other, Role::Management));
    }
}
