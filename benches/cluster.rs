//! Three nodes as processes of their own: this program, started once more for each.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use boat_clipper::{Backend, BackendConfig, BackendKind, ModelKind};
use boat_core::config::NodeConfig;
use boat_core::supervisor::watch_parent;
use boat_core::{NodeId, run_node};
use boat_transport::TcpTransport;
use rustix::process::Signal;

use crate::{Http, Ports, Process, Result, wait_for};

/// How many nodes there are.
pub const NODES: u16 = 3;
/// The first argument of a node's process.
const NODE: &str = "--node";
/// Where a node's ports stand in the block: HTTP from 0, peers from 3, queries from 6.
const PEERS: u16 = NODES;
const QUERIES: u16 = 2 * NODES;

/// Three nodes that share this machine.
#[derive(Debug)]
pub struct Cluster {
    ports: Ports,
    directory: PathBuf,
    backend: BackendKind,
    nodes: Vec<Option<Process>>,
}

impl Cluster {
    /// Starts them, with their data below `directory`, and waits until all serve. The model is the hash chain.
    ///
    /// # Errors
    /// When they do not.
    pub fn start(directory: &Path, backend: BackendKind) -> Result<Cluster> {
        let ports = Ports::reserve()?;
        let nodes = (0..NODES).map(|_| None).collect();
        let mut cluster = Cluster { ports, directory: directory.to_owned(), backend, nodes };
        (0..NODES).try_for_each(|node| cluster.start_node(node))?;
        (0..NODES).try_for_each(|node| cluster.wait_ready(node))?;
        Ok(cluster)
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_node(&mut self, node: u16) -> Result<()> {
        let mut members = Vec::new();
        for member in 0..NODES {
            members.push(format!("{member}={}", self.ports.address(PEERS + member)?));
        }
        let arguments: [OsString; 7] = [
            NODE.into(),
            node.to_string().into(),
            members.join(",").into(),
            self.directory.join(format!("node-{node}")).into(),
            self.http(node)?.to_string().into(),
            self.backend.to_string().into(),
            self.ports.address(QUERIES + node)?.to_string().into(),
        ];
        let process = Process::start_self(&arguments)?;
        *self.nodes.get_mut(usize::from(node)).ok_or("there is no such node")? = Some(process);
        Ok(())
    }

    /// Waits until a node serves.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn wait_ready(&self, node: u16) -> Result<()> {
        wait_for(&format!("node {node} is ready"), || {
            let reply = Http::connect(self.http(node)?).and_then(|mut http| http.get("/readyz"));
            Ok(reply.ok().filter(|reply| reply.status == 200).map(drop))
        })
    }

    /// Where a node serves HTTP.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn http(&self, node: u16) -> Result<SocketAddr> {
        self.ports.address(node)
    }

    /// A node's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process(&self, node: u16) -> Result<&Process> {
        let process = self.nodes.get(usize::from(node)).and_then(Option::as_ref);
        process.ok_or_else(|| format!("node {node} does not run").into())
    }

    /// Sends a node's process a signal that ends it, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self, node: u16, signal: Signal) -> Result<()> {
        self.process(node)?.send(signal)?;
        self.reap(node)
    }

    /// Waits for the end of a process that was sent a signal.
    ///
    /// # Errors
    /// When it does not end.
    pub fn reap(&mut self, node: u16) -> Result<()> {
        let process = self.nodes.get_mut(usize::from(node)).and_then(Option::take);
        process.ok_or("the node does not run")?.wait()
    }

    /// What a node says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self, node: u16) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&Http::connect(self.http(node)?)?.get("/status")?.body)?)
    }

    /// The position of the last request that a node has applied.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn position(&self, node: u16) -> Result<u64> {
        Ok(self.status(node)?.get("position").and_then(serde_json::Value::as_u64).unwrap_or_default())
    }

    /// Which node leads. Only those that run and are not stopped may be asked.
    ///
    /// # Errors
    /// When none does for a minute.
    pub fn leader(&self) -> Result<u16> {
        wait_for("a node leads", || {
            let leads = |node: &u16| {
                self.process(*node).is_ok()
                    && self.status(*node).is_ok_and(|status| status.get("is_leader") == Some(&true.into()))
            };
            Ok((0..NODES).find(leads))
        })
    }
}

/// Runs as one node, where this process was started to be one. A bench's `main` calls it first.
///
/// # Errors
/// Why the node ended, if that was not asked for.
pub fn run_if_node() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, node, members, data_dir, http_address, backend, query_address] = arguments.as_slice() else {
        return Ok(false);
    };
    if role != NODE {
        return Ok(false);
    }
    watch_parent()?;
    let node_id = NodeId(node.parse()?);
    let backend = BackendConfig {
        node: node_id,
        kind: backend.parse()?,
        model: ModelKind::HashChain,
        query_address: query_address.parse()?,
        ..BackendConfig::default()
    };
    let config = NodeConfig {
        node_id,
        members: members.parse()?,
        data_dir: data_dir.into(),
        http_address: http_address.parse()?,
        backend,
        ..NodeConfig::default()
    };
    let config = config.check()?;
    // As the program `node` does it.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let transport = TcpTransport::bind(config.peer_listen_address()).await?;
        let backend = Backend::from_config(config.backend.clone()).await?;
        run_node(config, transport, backend, |_| axum::Router::new()).await?;
        Ok(true)
    })
}
