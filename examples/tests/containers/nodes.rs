//! Nodes in containers on a private network: cut off, killed, paused, and restarted one by one, under load. What clients were told and
//! what the containers hold in the end is a history, which is judged.

use std::time::Duration;

use super::cluster::{Cluster, NODES};
use super::docker::{Engine, PREFIX, TAG, docker, try_docker};
use super::held::read_log;
use super::load::Load;
use super::ports::Ports;
use super::program::Program;

/// How many answers must come between two faults, and while one lasts.
const BETWEEN: usize = 30;

/// How long a paused node stays paused: several election timeouts.
const PAUSE: Duration = Duration::from_secs(2);

/// Networks that are tried, as their third number: one may be in use.
const SUBNETS_MAX: u8 = 64;

/// Three containers, and the private network between them. Clients come in over the engine's own network, which stays.
struct Nodes {
    name: String,
    subnet: u8,
}

impl Nodes {
    fn start(ports: &Ports) -> Nodes {
        let name = format!("boat-nodes-{}", std::process::id());
        let nodes = Nodes { subnet: network(&name), name };
        for node in 0..NODES {
            nodes.create(node, ports);
        }
        (0..NODES).for_each(|node| nodes.docker(&["start"], node));
        nodes
    }

    fn create(&self, node: u16, ports: &Ports) {
        let member = |node: u16| format!("{node}={}:8000", self.address(node));
        let members = (0..NODES).map(member).collect::<Vec<_>>().join(",");
        let (publish, image) = (format!("{}:8080", ports.http(node)), format!("{PREFIX}/node:{TAG}"));
        let (label, container) = (format!("dev.boat.test={}", self.name), self.container(node));
        let number = node.to_string();
        docker(&[
            "create",
            "--name",
            &container,
            "--label",
            &label,
            "--publish",
            &publish,
            &image,
            "--node-id",
            &number,
            "--members",
            &members,
            "--http-address",
            "0.0.0.0:8080",
            "--peer-address",
            "0.0.0.0:8000",
            "--model",
            "hash-chain",
            "--allow-control",
        ]);
        self.connect(node);
    }

    fn address(&self, node: u16) -> String {
        format!("10.213.{}.{}", self.subnet, 10 + node)
    }

    fn container(&self, node: u16) -> String {
        format!("{}-{node}", self.name)
    }

    #[track_caller]
    fn docker(&self, doing: &[&str], node: u16) {
        let container = self.container(node);
        let mut arguments = doing.to_vec();
        arguments.push(&container);
        docker(&arguments);
    }

    fn connect(&self, node: u16) {
        self.docker(&["network", "connect", "--ip", &self.address(node), &self.name], node);
    }

    /// Ends all nodes, and copies their data out of the containers.
    fn stop(&self) -> Vec<(u16, tempfile::TempDir)> {
        let copy = |node| {
            self.docker(&["stop"], node);
            let directory = tempfile::tempdir().unwrap();
            let data = format!("{}:/data/.", self.container(node));
            docker(&["cp", &data, directory.path().to_str().unwrap()]);
            (node, directory)
        };
        (0..NODES).map(copy).collect()
    }

    fn disconnect(&self, node: u16) {
        self.docker(&["network", "disconnect", &self.name], node);
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in 0..NODES {
            if std::thread::panicking() {
                let container = self.container(node);
                let log =
                    std::process::Command::new("docker").args(["logs", "--tail", "40", &container]).output();
                let log = log.map(|log| String::from_utf8_lossy(&log.stderr).into_owned());
                eprintln!("node {node}:\n{}", log.unwrap_or_default());
            }
            try_docker(&["rm", "--force", "--volumes", &self.container(node)]);
        }
        try_docker(&["network", "rm", &self.name]);
    }
}

/// Makes a network whose addresses can be chosen; its number.
fn network(name: &str) -> u8 {
    for subnet in 0..SUBNETS_MAX {
        let range = format!("10.213.{subnet}.0/24");
        let label = format!("dev.boat.test={name}");
        let made = std::process::Command::new("docker")
            .args(["network", "create", "--internal", "--label", &label, "--subnet", &range, name])
            .output()
            .unwrap();
        if made.status.success() {
            return subnet;
        }
    }
    panic!("no free network");
}

#[test]
fn nodes_in_containers_lose_nothing() {
    let Some(engine) = Engine::get("nodes_in_containers_lose_nothing") else { return };
    let before = engine.inventory();
    let ports = Ports::reserve();
    let nodes = Nodes::start(&ports);
    // The nodes are the engine's: the program is only there because a cluster has one.
    let program = Program::start("clean", &["--help".to_owned()], &[]);
    let cluster = Cluster { program, ports: &ports };
    cluster.expect_ready();
    let load = Load::start(&cluster);
    load.expect_more(BETWEEN);

    for round in 0..2 {
        // The leader first: its clients still reach it, and must not be told what the others did not agree on.
        let node = (cluster.leader() + round) % NODES;
        nodes.disconnect(node);
        load.expect_more(BETWEEN);
        nodes.connect(node);
        cluster.expect_ready();
        load.expect_more(BETWEEN);
    }
    let node = cluster.leader();
    nodes.docker(&["kill"], node);
    load.expect_more(BETWEEN);
    nodes.docker(&["start"], node);
    cluster.expect_ready();
    load.expect_more(BETWEEN);

    let node = cluster.leader();
    nodes.docker(&["pause"], node);
    std::thread::sleep(PAUSE);
    nodes.docker(&["unpause"], node);
    load.expect_more(BETWEEN);

    for node in 0..NODES {
        nodes.docker(&["restart"], node);
        cluster.expect_ready();
        load.expect_more(BETWEEN);
    }
    let mut history = load.stop();
    history.probe(&cluster, "after the faults");
    history.expect_one_chain();
    history.expect_on_every_node(&cluster);
    let held = nodes.stop();
    for (node, directory) in &held {
        read_log(*node, directory.path(), &history.records).unwrap();
    }
    history.expect_sound(std::iter::empty());
    drop(nodes);
    assert_eq!(engine.inventory(), before);
}
