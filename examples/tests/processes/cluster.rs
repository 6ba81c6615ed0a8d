//! `three_node` and its nodes.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::client::Client;
use super::poll;
use super::ports::Ports;
use super::program::{Program, send};

/// How many nodes there are.
pub(crate) const NODES: u16 = 3;

/// The log without a line for each request.
pub(crate) const QUIET: &str =
    "info,boat=warn,boat_core=info,boat_transport=info,boat_clipper=info,boat_clipper::outcome=warn";

/// A running `three_node`.
#[derive(Debug)]
pub(crate) struct Cluster<'a> {
    pub(crate) program: Program,
    pub(crate) ports: &'a Ports,
}

/// How to start one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Setup<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) data_dir: Option<&'a Path>,
    /// Where temporary directories are made.
    pub(crate) temporary: Option<&'a Path>,
    pub(crate) log: Option<&'a str>,
    /// Arguments besides.
    pub(crate) more: &'a [String],
}

impl<'a> Cluster<'a> {
    /// Starts it, and waits until all nodes serve.
    pub(crate) fn start(ports: &'a Ports, setup: Setup<'_>) -> Self {
        let cluster = Cluster { program: three_node(ports, setup), ports };
        cluster.expect_ready();
        cluster
    }

    pub(crate) fn client(&self, node: u16) -> Client {
        Client::new(self.ports.http(node))
    }

    pub(crate) fn clients(&self) -> Vec<Client> {
        (0..NODES).map(|node| self.client(node)).collect()
    }

    /// The process of a node, as its supervisor told last.
    pub(crate) fn pid(&self, node: u16) -> u32 {
        let line = self.program.output.last(&started(node)).expect("it was started");
        line.rsplit(' ').next().and_then(|pid| pid.parse().ok()).expect("a process id")
    }

    /// Kills nodes with signal 9, and waits until they serve again.
    #[track_caller]
    pub(crate) fn kill(&self, nodes: &[u16]) {
        let mark = self.program.output.mark();
        let pids: Vec<u32> = nodes.iter().map(|node| self.pid(*node)).collect();
        pids.iter().for_each(|pid| send(*pid, Signal::KILL));
        nodes.iter().for_each(|node| self.expect_back(*node, mark));
    }

    /// Waits until a node that ended after so many lines serves again.
    #[track_caller]
    pub(crate) fn expect_back(&self, node: u16, mark: usize) {
        let ended = self.program.output.expect_after(mark, &format!("node {node} (process "));
        assert!(ended.contains("signal: 9 (SIGKILL)"), "{ended}");
        self.program.output.expect_after(mark, &started(node));
        self.expect_node_ready(node);
    }

    #[track_caller]
    pub(crate) fn expect_ready(&self) {
        (0..NODES).for_each(|node| self.expect_node_ready(node));
    }

    #[track_caller]
    fn expect_node_ready(&self, node: u16) {
        let mut client = self.client(node);
        poll(&format!("node {node} is ready"), || {
            client.get("/readyz").ok().filter(|reply| reply.status == 200)
        });
    }

    pub(crate) fn status(&self, node: u16) -> Option<Value> {
        self.client(node).get("/status").ok().map(|reply| reply.json())
    }

    /// Which node leads.
    #[track_caller]
    pub(crate) fn leader(&self) -> u16 {
        let leads = |node: &u16| self.status(*node).is_some_and(|status| status["is_leader"] == true);
        poll("somebody leads", || (0..NODES).find(leads))
    }

    /// Waits until all are voters and have applied the same, and gives the position and the digest.
    #[track_caller]
    pub(crate) fn expect_agreement(&self) -> (u64, String) {
        poll("all nodes agree", || {
            let all: Vec<Value> = (0..NODES).filter_map(|node| self.status(node)).collect();
            let first = all.first().filter(|_| all.len() == usize::from(NODES))?;
            let voters =
                first["members"].as_array()?.iter().filter(|member| member["role"] == "voter").count();
            let key = ["position", "digest", "cluster", "leader", "ready"];
            let same = all.iter().all(|status| key.iter().all(|key| status[key] == first[key]));
            let settled = same && voters == usize::from(NODES) && first["ready"] == true;
            settled.then_some((first["position"].as_u64()?, first["digest"].as_str()?.to_owned()))
        })
    }
}

/// The line by which the supervisor tells of a start.
fn started(node: u16) -> String {
    format!("node {node} started as process")
}

/// Starts the program without waiting for its nodes.
pub(crate) fn three_node(ports: &Ports, setup: Setup<'_>) -> Program {
    let mut arguments: Vec<String> =
        [("--http-port", ports.http(0)), ("--peer-port", ports.peer(0)), ("--query-port", ports.query(0))]
            .iter()
            .flat_map(|(flag, first)| [(*flag).to_owned(), first.port().to_string()])
            .collect();
    let mut add = |flag: &str, value: &str| arguments.extend([flag.to_owned(), value.to_owned()]);
    if let Some(model) = setup.model {
        add("--model", model);
    }
    if let Some(directory) = setup.data_dir {
        add("--data-dir", directory.to_str().unwrap());
    }
    arguments.extend_from_slice(setup.more);
    let mut environment = Vec::new();
    environment.extend(setup.temporary.map(|path| ("TMPDIR", path.to_str().unwrap())));
    environment.extend(setup.log.map(|log| ("RUST_LOG", log)));
    Program::start("three_node", &arguments, &environment)
}
