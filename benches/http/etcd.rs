//! The peer: etcd, where Debian's `etcd-server` (or another) is installed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use benches::{Http, NODES, Ports, Process, Result, request, wait_for};

use crate::BODY_BYTES;

/// Three etcd that share this machine, with their defaults.
pub(crate) struct Etcd {
    leader: SocketAddr,
    _ports: Ports,
    _processes: Vec<Process>,
}

impl Etcd {
    /// Starts them and waits for a leader; `None` where it is not installed.
    pub(crate) fn start(directory: &Path) -> Result<Option<Etcd>> {
        if !is_installed() {
            return Ok(None);
        }
        let ports = Ports::reserve()?;
        let mut cluster = Vec::new();
        for node in 0..NODES {
            cluster.push(format!("n{node}=http://{}", ports.address(NODES + node)?));
        }
        let mut processes = Vec::new();
        for node in 0..NODES {
            let clients = format!("http://{}", ports.address(node)?);
            let peers = format!("http://{}", ports.address(NODES + node)?);
            let mut command = Command::new("etcd");
            command
                .args(["--name", &format!("n{node}")])
                .arg("--data-dir")
                .arg(directory.join(format!("n{node}")))
                .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
                .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
                .args(["--initial-cluster", &cluster.join(","), "--logger", "zap", "--log-level", "fatal"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            processes.push(Process::start(&mut command)?);
        }
        let leader = wait_for("an etcd leads", || {
            for node in 0..NODES {
                let address = ports.address(node)?;
                if leads(address).unwrap_or(false) {
                    return Ok(Some(address));
                }
            }
            Ok(None)
        })?;
        Ok(Some(Etcd { leader, _ports: ports, _processes: processes }))
    }

    pub(crate) fn leader(&self) -> SocketAddr {
        self.leader
    }

    /// A put of a value as long as the others' bodies.
    pub(crate) fn put(&self) -> Vec<u8> {
        let (key, value) = (BASE64_STANDARD.encode("key"), BASE64_STANDARD.encode([b'x'; BODY_BYTES]));
        post(self.leader, "/v3/kv/put", &format!(r#"{{"key":"{key}","value":"{value}"}}"#))
    }
}

fn is_installed() -> bool {
    let version = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn leads(address: SocketAddr) -> Result<bool> {
    let reply = Http::connect(address)?.exchange(&post(address, "/v3/maintenance/status", "{}"))?;
    let status: serde_json::Value = serde_json::from_slice(&reply.body)?;
    let own = status.pointer("/header/member_id");
    Ok(own.is_some() && status.get("leader") == own)
}

fn post(host: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    request("POST", path, host, "content-type: application/json\r\n", body.as_bytes())
}
