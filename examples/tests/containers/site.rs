//! A `three_node` on Docker, under a name and on ports of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::client::Client;
use super::cluster::{Cluster, QUIET, Setup, three_node};
use super::docker::{PREFIX, TAG, docker, try_docker};
use super::poll;
use super::ports::Ports;
use super::program::Program;

/// A name and ports; what was started under it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) cluster: String,
    pub(crate) ports: Ports,
    clipper: Ports,
    prometheus: Ports,
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(name: &str) -> Site {
        Site {
            cluster: format!("{name}-{}", std::process::id()),
            ports: Ports::reserve(),
            clipper: Ports::reserve(),
            prometheus: Ports::reserve(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The flags that say where everything is, and of which images it is made.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let port = |address: std::net::SocketAddr| address.port().to_string();
        let image = |name: &str| format!("{PREFIX}/{name}:{TAG}");
        let flags = [
            ("--backend", "docker".to_owned()),
            ("--cluster", self.cluster.clone()),
            ("--management-port", port(self.clipper.http(0))),
            ("--rpc-port", port(self.clipper.peer(0))),
            ("--redis-port", port(self.clipper.query(0))),
            ("--prometheus-port", port(self.prometheus.http(0))),
            ("--clipper-registry", PREFIX.to_owned()),
            ("--clipper-tag", TAG.to_owned()),
            ("--redis-image", image("redis")),
            ("--prometheus-image", image("prometheus")),
        ];
        flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    /// Starts a cluster with a hash chain, and waits until all nodes serve.
    pub(crate) fn start(&self) -> Cluster<'_> {
        let arguments = self.setup_arguments("hash-chain", &[]);
        Cluster::start(&self.ports, self.setup("hash-chain", &arguments))
    }

    /// Starts one node alone, and waits until it serves.
    pub(crate) fn start_one(&self) -> Program {
        let arguments = self.setup_arguments("hash-chain", &["--num-nodes", "1"]);
        let program = three_node(&self.ports, self.setup("hash-chain", &arguments));
        let mut client = Client::new(self.ports.http(0));
        poll("the node is ready", || client.get("/readyz").ok().filter(|reply| reply.status == 200));
        program
    }

    /// The arguments with the model's image.
    pub(crate) fn setup_arguments(&self, model: &str, more: &[&str]) -> Vec<String> {
        let mut arguments = self.arguments();
        arguments.extend(["--model-image".to_owned(), format!("{PREFIX}/{model}:{TAG}")]);
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        arguments
    }

    pub(crate) fn setup<'a>(&'a self, model: &'a str, arguments: &'a [String]) -> Setup<'a> {
        let temporary = Some(self.directory.path());
        Setup { model: Some(model), temporary, log: Some(QUIET), more: arguments, ..Setup::default() }
    }

    /// Where a node's Clipper is managed.
    pub(crate) fn management(&self, node: u16) -> std::net::SocketAddr {
        self.clipper.http(node)
    }

    /// The running container of a node for this.
    #[track_caller]
    pub(crate) fn container(&self, node: u16, role: &str) -> String {
        self.find(node, role).unwrap_or_else(|| panic!("node {node} has no {role}"))
    }

    pub(crate) fn find(&self, node: u16, role: &str) -> Option<String> {
        let filters = [
            format!("label=dev.boat.cluster={}", self.cluster),
            format!("label=dev.boat.node={node}"),
            format!("label=dev.boat.role={role}"),
        ];
        let mut arguments = vec!["ps", "--quiet", "--no-trunc"];
        arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        let found = docker(&arguments);
        assert!(found.lines().count() <= 1, "node {node} has several: {found}");
        found.lines().next().map(str::to_owned)
    }

    /// Runs `clean` for this cluster.
    pub(crate) fn clean(&self, more: &[&str]) -> Output {
        let mut command = Command::new(program("clean"));
        command.args(["--cluster", &self.cluster]).args(more).env("TMPDIR", self.directory.path());
        command.output().unwrap()
    }

    /// What lies in the directory for temporary files.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

/// A program of this package.
pub(crate) fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

impl Drop for Site {
    fn drop(&mut self) {
        let filter = format!("label=dev.boat.cluster={}", self.cluster);
        let list = |arguments: &[&str]| {
            let found =
                Command::new("docker").args(arguments).args(["--filter", &filter, "--quiet"]).output();
            let found = found.map(|found| String::from_utf8_lossy(&found.stdout).into_owned());
            found.unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for container in list(&["ps", "--all"]) {
            try_docker(&["rm", "--force", "--volumes", &container]);
        }
        for network in list(&["network", "ls"]) {
            try_docker(&["network", "rm", &network]);
        }
    }
}
