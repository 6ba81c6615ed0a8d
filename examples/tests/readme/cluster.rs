//! The cluster of the walk-through: `three_node` itself, on ports of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::curl::Curl;
use crate::text::{Step, root, shows};

const NODES: u16 = 3;
/// The ports of one cluster: HTTP, peers and queries, one after the other.
const PORTS: u16 = 3 * NODES;
/// How many stretches of ports are tried. Few are taken.
const PORTS_TRIED_MAX: usize = 100;
/// How many times the cluster is started, should another program take a port in between.
const STARTS_MAX: usize = 5;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for the next log line before an answer that is not yet right is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How long an end by ctrl-C may take, after the README.
const END_MAX: Duration = Duration::from_secs(5);

/// A running `three_node`. Killed when it is dropped, and its nodes with it.
pub(crate) struct Cluster {
    supervisor: Child,
    http_port: u16,
    log: Receiver<String>,
    seen: Vec<String>,
    processes: BTreeMap<u16, u32>,
    temporary: tempfile::TempDir,
}

impl Cluster {
    /// Starts it in this environment, and waits until all nodes are ready.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let started = (0..STARTS_MAX).find_map(|_| Cluster::try_start(environment));
        started.expect("it starts: a port was taken each time")
    }

    /// None: a port was taken after all.
    fn try_start(environment: &[(&str, &str)]) -> Option<Self> {
        let ports = free_ports();
        let temporary = tempfile::tempdir().expect("a directory");
        let flags = [("--http-port", 0), ("--peer-port", NODES), ("--query-port", 2 * NODES)];
        let flags = flags.map(|(flag, offset)| format!("{flag}={}", ports + offset));
        let mut supervisor = Command::new(program("three_node"))
            .args(flags)
            .env("TMPDIR", temporary.path())
            .env("RUST_LOG", "info")
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("three_node starts");
        let (lines, log) = channel();
        let stderr = BufReader::new(supervisor.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let processes = BTreeMap::new();
        let seen = Vec::new();
        let mut cluster = Cluster { supervisor, http_port: ports, log, seen, processes, temporary };
        for node in 0..NODES {
            let ready = format!("node {node}: ready at position");
            if !cluster.wait_for(&[&ready, "is taken by", "Address already in use"]).contains(&ready) {
                return None;
            }
        }
        Some(cluster)
    }

    /// Does what a curl command says, until the output shows what it should.
    pub(crate) fn curl(&mut self, step: &Step) {
        let curl = Curl::parse(&step.command);
        let node = curl.port - 8080;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port + node));
        let process = self.processes.get(&node).copied();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = curl.run(address);
            match &output {
                Ok(output) if shows(output, &step.shown) => break,
                _ if Instant::now() > deadline => {
                    panic!(
                        "`{}` gave {output:?}, not {:?}\n{}",
                        step.command,
                        step.shown,
                        self.seen.join("\n")
                    )
                }
                _ => self.hear(ASK_AGAIN),
            }
        }
        if step.command.ends_with("/control") {
            self.wait_for_successor(node, process);
        }
    }

    /// Kills a node with signal 9 and waits until it was started again.
    pub(crate) fn kill(&mut self, node: u16) {
        let process = self.processes.get(&node).copied();
        signal("KILL", process.expect("it was started"));
        self.wait_for_successor(node, process);
    }

    /// Ends it by ctrl-C: in time, quietly, and with nothing left.
    pub(crate) fn end(mut self) {
        while let Ok(line) = self.log.try_recv() {
            self.seen.push(line);
        }
        let before = self.seen.len();
        signal("INT", self.supervisor.id());
        let deadline = Instant::now() + END_MAX;
        // The log ends when nobody holds its other end any more: the supervisor and all nodes are gone.
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("not over in {END_MAX:?}\n{}", self.seen.join("\n")),
            }
        }
        let said = self.seen.get(before..).unwrap_or_default();
        let loud: Vec<_> =
            said.iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        assert!(loud.is_empty(), "a clean end is a quiet one: {loud:#?}");
        let status = self.supervisor.wait().expect("it has ended");
        assert!(status.success(), "{status}");
        for port in self.http_port..self.http_port + PORTS {
            let still = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            assert!(still.is_err(), "somebody listens on {port} still");
        }
        let left: Vec<_> = std::fs::read_dir(self.temporary.path()).expect("readable").collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    fn wait_for_successor(&mut self, node: u16, former: Option<u32>) {
        let deadline = Instant::now() + PATIENCE;
        while self.processes.get(&node).copied() == former {
            assert!(Instant::now() < deadline, "node {node} was not started again");
            self.hear(ASK_AGAIN);
        }
    }

    /// Waits for the first log line that contains one of these.
    fn wait_for(&mut self, texts: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut next = 0;
        loop {
            while let Some(line) = self.seen.get(next) {
                if texts.iter().any(|text| line.contains(text)) {
                    return line.clone();
                }
                next += 1;
            }
            assert!(Instant::now() < deadline, "none of {texts:?} in\n{}", self.seen.join("\n"));
            self.hear(ASK_AGAIN);
        }
    }

    /// Takes the next log line, if one comes within `wait`.
    fn hear(&mut self, wait: Duration) {
        if let Ok(line) = self.log.recv_timeout(wait) {
            if let Some((node, process)) = started(&line) {
                self.processes.insert(node, process);
            }
            self.seen.push(line);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// Node and process of a line `node 1 started as process 10286`.
fn started(line: &str) -> Option<(u16, u32)> {
    let (before, process) = line.split_once(" started as process ")?;
    let (_, node) = before.rsplit_once("node ")?;
    Some((node.parse().ok()?, process.trim().parse().ok()?))
}

fn signal(name: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(status.expect("sh runs").success(), "kill -{name} {process}");
}

/// The first of so many ports in a row that nobody uses. The kernel draws a number, and half of it lies below what the kernel
/// gives out by itself: no connection of this machine takes such a port while a node is down.
fn free_ports() -> u16 {
    let drawn = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut tried = (0..PORTS_TRIED_MAX).map(|_| drawn().expect("a port").port() / 2);
    tried.find(|first| (*first..first + PORTS).all(free)).expect("free ports in a row")
}

/// One of the examples, as cargo builds them for `cargo test`. Asked for this test alone it does not, so here it may be built.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let path = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        let target = profile.parent().expect("target/PROFILE");
        let profile = profile.file_name().and_then(|name| name.to_str()).expect("a profile's name");
        let profile = if profile == "debug" { "dev" } else { profile };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "examples", "--example", name, "--profile", profile])
            .arg("--target-dir")
            .arg(target)
            .current_dir(root())
            .status();
        assert!(built.expect("cargo runs").success(), "{name} was not built");
    }
    path
}
