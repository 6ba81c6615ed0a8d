//! Three nodes and the links between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boat_clipper::ModelKind;
use rustix::process::Signal;
use serde_json::Value;

use super::client::Connection;
use super::node::Node;
use super::proxy::{Direction, Mode, listen};
use super::{Failure, say, tmpfs};

/// How many nodes there are.
pub(crate) const NODES: u16 = 3;
/// The node whose directory lies on a small disk of its own, where one can be made.
pub(crate) const SMALL_DISK: u16 = 2;
/// How long the cluster may take to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// How often is looked whether something has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a node may take to tell its state.
const STATUS_MAX: Duration = Duration::from_secs(1);
/// How big the small disk is, and how much more for each minute: the log is kept whole.
const DISK_BYTES: (u64, u64) = (48 << 20, 16 << 20);
/// The ports on which nodes listen for their peers and for clients.
const PORTS: (u16, u16) = (8000, 8080);
/// What keeps the logs small enough for a small disk.
const SMALL: [(&str, &str); 5] = [
    ("--request-bytes-max", "65536"),
    ("--command-bytes-max", "65536"),
    ("--proposal-bytes-max", "1048576"),
    ("--segment-bytes", "4194304"),
    ("--free-bytes-min", "8388608"),
];

/// The nodes, their processes and the links between them.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    links: BTreeMap<(u16, u16), Direction>,
    /// Nodes that are meant to be down.
    down: BTreeSet<u16>,
    /// Where the small disk is, if there is one.
    small_disk: Option<PathBuf>,
}

impl Cluster {
    /// Starts three nodes with their data below `path`, and waits until they serve.
    pub(crate) async fn start(path: &Path, minutes: f64, model: ModelKind) -> Result<Self, Failure> {
        let numbers = || 0..NODES;
        let pairs = numbers().flat_map(|from| numbers().map(move |to| (from, to)));
        let pairs: Vec<(u16, u16)> = pairs.filter(|(from, to)| from != to).collect();
        let links: BTreeMap<_, _> = pairs.iter().map(|pair| (*pair, Direction::new())).collect();
        let mut routes = BTreeMap::<u16, Vec<String>>::new();
        for (from, to) in pairs {
            let (Some(forth), Some(back)) = (links.get(&(from, to)), links.get(&(to, from))) else {
                continue;
            };
            let address = listen(Node::address(to, PORTS.0), forth.clone(), back.clone()).await?;
            routes.entry(from).or_default().push(format!("{to}={address}"));
        }
        let members: Vec<String> =
            numbers().map(|node| format!("{node}={}", Node::address(node, PORTS.0))).collect();
        let mut nodes = Vec::new();
        for node in numbers() {
            let data = path.join(format!("node-{node}"));
            std::fs::create_dir(&data)?;
            let flags = [
                ("--node-id", node.to_string()),
                ("--members", members.join(",")),
                ("--peer-routes", routes.remove(&node).unwrap_or_default().join(",")),
                ("--data-dir", data.display().to_string()),
                ("--http-address", Node::address(node, PORTS.1).to_string()),
                ("--backend", "none".to_owned()),
                ("--model", model.to_string()),
            ];
            let flags = flags.into_iter().chain(SMALL.map(|(flag, value)| (flag, value.to_owned())));
            // What keeps no state says so, and then answers queries.
            let stateless = (model == ModelKind::Echo).then(|| "--stateless".to_owned());
            let flags = flags.flat_map(|(flag, value)| [flag.to_owned(), value]).chain(stateless).collect();
            nodes.push(Node::new(node, flags, data, path.join(format!("node-{node}.log"))));
        }
        let small_disk = path.join(format!("node-{SMALL_DISK}"));
        let bytes = DISK_BYTES.0 + (minutes.max(0.0) * DISK_BYTES.1 as f64) as u64;
        let small_disk = tmpfs::mount(&small_disk, bytes).then_some(small_disk);
        if small_disk.is_none() {
            say("SKIPPED: full disks, for no tmpfs can be mounted here");
        }
        let mut cluster = Cluster { nodes, links, down: BTreeSet::new(), small_disk };
        cluster.expect_whole().await?;
        Ok(cluster)
    }

    /// Where clients reach the nodes.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..NODES).map(|node| Node::address(node, PORTS.1)).collect()
    }

    /// A file that can be made to fill the small disk.
    pub(crate) fn ballast(&self) -> Option<PathBuf> {
        self.small_disk.as_ref().map(|path| path.join("ballast"))
    }

    /// Where each node's data lies.
    pub(crate) fn data(&self) -> impl Iterator<Item = (u16, &Path)> {
        (0..).zip(self.nodes.iter().map(Node::data))
    }

    /// Starts again what ended by itself, as a supervisor would.
    fn tend(&mut self) -> Result<(), Failure> {
        for (number, node) in (0..).zip(&mut self.nodes) {
            if !self.down.contains(&number) {
                node.start()?;
            }
        }
        Ok(())
    }

    /// Lets time pass.
    pub(crate) async fn wait(&mut self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.tend()?;
            tokio::time::sleep(LOOK_AGAIN.min(until.saturating_duration_since(Instant::now()))).await;
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, number: u16) -> Result<(), Failure> {
        self.down.insert(number);
        self.nodes.get_mut(usize::from(number)).map_or(Ok(()), Node::kill)
    }

    pub(crate) fn wipe(&mut self, number: u16) -> Result<(), Failure> {
        self.down.insert(number);
        self.nodes.get_mut(usize::from(number)).map_or(Ok(()), Node::wipe)
    }

    pub(crate) fn restart(&mut self, number: u16) -> Result<(), Failure> {
        self.down.remove(&number);
        self.tend()
    }

    pub(crate) fn signal(&mut self, number: u16, signal: Signal) -> Result<(), Failure> {
        self.nodes.get_mut(usize::from(number)).map_or(Ok(()), |node| node.signal(signal))
    }

    /// Sets all directions of which `chosen` says so; those from a node to another.
    pub(crate) fn set_links(&self, mode: Mode, chosen: impl Fn(u16, u16) -> bool) {
        let chosen = self.links.iter().filter(|((from, to), _)| chosen(*from, *to));
        chosen.for_each(|(_, direction)| direction.set(mode));
    }

    pub(crate) fn break_connections(&self, chosen: impl Fn(u16, u16) -> bool) {
        let chosen = self.links.iter().filter(|((from, to), _)| chosen(*from, *to));
        chosen.for_each(|(_, direction)| direction.break_connections());
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) -> Result<(), Failure> {
        self.set_links(Mode::Open, |_, _| true);
        for number in 0..NODES {
            self.signal(number, Signal::CONT)?;
        }
        if let Some(ballast) = self.ballast().filter(|ballast| ballast.exists()) {
            std::fs::remove_file(ballast)?;
        }
        self.down.clear();
        self.tend()
    }

    /// Waits until all nodes serve, and vote.
    pub(crate) async fn expect_whole(&mut self) -> Result<(), Failure> {
        self.expect("all nodes serve and vote", |all| all.iter().all(is_whole)).await.map(drop)
    }

    /// Waits until all nodes are whole and have applied the same: their states.
    pub(crate) async fn expect_agreement(&mut self) -> Result<Vec<Value>, Failure> {
        let alike = |all: &[Value]| {
            let first = all.first();
            let same = |status: &Value| {
                let keys = ["position", "digest", "cluster", "leader"];
                first.is_some_and(|first| keys.iter().all(|key| first.get(key) == status.get(key)))
            };
            all.iter().all(|status| is_whole(status) && same(status))
        };
        self.expect("all nodes agree", alike).await
    }

    async fn expect(&mut self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, Failure> {
        let asked = Instant::now();
        loop {
            self.wait(LOOK_AGAIN).await?;
            let mut all = Vec::new();
            for address in self.addresses() {
                let status = Connection::new(address).get("/status", STATUS_MAX).await;
                all.extend(status.ok().and_then(|reply| reply.json()));
            }
            if all.len() == usize::from(NODES) && holds(&all) {
                return Ok(all);
            }
            if asked.elapsed() > WHOLE_MAX {
                return Err(format!("not within {WHOLE_MAX:?}: {what}; last seen: {all:#?}").into());
            }
        }
    }

    /// Ends all nodes.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.down.extend(0..NODES);
        for node in &mut self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if let Some(path) = &self.small_disk {
            tmpfs::unmount_keeping(path);
        }
    }
}

/// Whether a node serves, and sees as many voters as there are nodes, and nobody else.
fn is_whole(status: &Value) -> bool {
    let members = status.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let voters = members.iter().filter(|member| member.get("role").is_some_and(|role| role == "voter"));
    status.get("ready").is_some_and(|ready| ready == true)
        && voters.count() == usize::from(NODES)
        && members.len() == usize::from(NODES)
}
