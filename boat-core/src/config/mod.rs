//! What a node is told when it starts: one [`NodeConfig`], from code, from a TOML file, or with the feature `cli` from
//! flags, `BOAT_*` environment and file together.
//!
//! Every default lives once, in the `Default` of its section. Unknown keys are refused. [`NodeConfig::check`] turns a
//! configuration into a [`Checked`] one; it corrects nothing.
//!
//! ```
//! use boat_core::config::NodeConfig;
//! let config: NodeConfig = NodeConfig {
//!     data_dir: "boat-0".into(),
//!     members: "0=127.0.0.1:8000,1=127.0.0.1:8001,2=127.0.0.1:8002".parse()?,
//!     ..NodeConfig::default()
//! };
//! let config = config.check()?;
//! assert_eq!(config.timing.tick_ms, 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checked;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
mod http;
mod limits;
mod timing;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use checked::Checked;
pub use error::ConfigError;
pub use http::HttpOptions;
pub use limits::{Limits, SessionLimits};
pub use timing::Timing;

use crate::{MemberList, NodeId};

/// Everything one node is told. `B` is the section `[backend]`: boat-core does not look into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, bound(deserialize = "B: Default + Deserialize<'de>"))]
pub struct NodeConfig<B = NoBackend> {
    /// This node's number, counted from 0. It must stand in `members`. Default 0.
    pub node_id: NodeId,
    /// All nodes: number and the address where the others reach it, `0=host:port,1=host:port,…`; the same list on all
    /// nodes. No default.
    #[serde(skip_serializing_if = "MemberList::is_empty")]
    pub members: MemberList,
    /// Whether this node joins a cluster that is there already, instead of founding one with the others in `members`. Then
    /// `members` need name no more than this node and some members. Has no effect once the data directory holds a cluster.
    /// Default false.
    pub join: bool,
    /// The directory that holds the node's log. It is made if it is not there. No default.
    pub data_dir: PathBuf,
    /// Where the HTTP frontend listens. Default 127.0.0.1:8080. Port 0 lets the kernel choose.
    pub http_address: SocketAddr,
    /// Where this node listens for its peers, `host:port`, when that differs from what `members` says (a machine behind
    /// address translation). Default: as in `members`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// Where this node reaches some of its peers, `id=host:port,…`, when that differs from what `members` says (a tunnel, or a
    /// proxy before them). Default: as in `members`, or as the log says of those that joined later.
    #[serde(skip_serializing_if = "MemberList::is_empty")]
    pub peer_routes: MemberList,
    /// Raft's clock.
    pub timing: Timing,
    /// What this node takes on at most.
    pub limits: Limits,
    /// What is remembered of clients. Equal on all nodes.
    pub sessions: SessionLimits,
    /// The frontend's limits.
    pub http: HttpOptions,
    /// The backend's own section.
    pub backend: B,
}

/// The section `[backend]` of a node that has none: it must be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoBackend {}

impl<B: Default> Default for NodeConfig<B> {
    fn default() -> Self {
        NodeConfig {
            node_id: NodeId(0),
            members: MemberList::default(),
            join: false,
            data_dir: PathBuf::new(),
            http_address: SocketAddr::from(([127, 0, 0, 1], 8_080)),
            peer_address: None,
            peer_routes: MemberList::default(),
            timing: Timing::default(),
            limits: Limits::default(),
            sessions: SessionLimits::default(),
            http: HttpOptions::default(),
            backend: B::default(),
        }
    }
}

impl<B> NodeConfig<B> {
    /// Checks every bound, and that what belongs together fits.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is wrong, and says what it may be.
    pub fn check(self) -> Result<Checked<Self>, ConfigError> {
        if self.members.is_empty() {
            let hint = "list every node, as in 0=10.0.0.1:8000,1=10.0.0.2:8000,2=10.0.0.3:8000";
            return Err(ConfigError::Missing { field: "members", hint });
        }
        if self.members.address(self.node_id).is_none() {
            let reason = format!("is {}, which does not stand in `members` ({})", self.node_id, self.members);
            return Err(ConfigError::Conflict { field: "node_id", reason });
        }
        if self.data_dir.as_os_str().is_empty() {
            let hint = "name the directory that holds the node's log";
            return Err(ConfigError::Missing { field: "data_dir", hint });
        }
        if let Some(address) = &self.peer_address {
            check_host_and_port("peer_address", address)?;
        }
        self.timing.check()?;
        self.limits.check()?;
        self.sessions.check()?;
        self.http.clone().check()?;
        Ok(Checked::vouch(self))
    }
}

impl<B> NodeConfig<B> {
    /// The same configuration without its backend's section, which a node does not look into.
    pub fn without_backend(self) -> NodeConfig {
        NodeConfig {
            node_id: self.node_id,
            members: self.members,
            join: self.join,
            data_dir: self.data_dir,
            http_address: self.http_address,
            peer_address: self.peer_address,
            peer_routes: self.peer_routes,
            timing: self.timing,
            limits: self.limits,
            sessions: self.sessions,
            http: self.http,
            backend: NoBackend {},
        }
    }
}

impl<B> Checked<NodeConfig<B>> {
    /// Where this node listens for its peers, `host:port`.
    pub fn peer_listen_address(&self) -> &str {
        let own = self.members.address(self.node_id).unwrap_or_default();
        self.peer_address.as_deref().unwrap_or(own)
    }

    /// The frontend's limits: they were checked with the rest.
    pub fn http_options(&self) -> Checked<HttpOptions> {
        Checked::vouch(self.http.clone())
    }
}

fn check_host_and_port(field: &'static str, address: &str) -> Result<(), ConfigError> {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(ConfigError::Conflict { field, reason: format!("is `{address}`, which is not host:port") }),
    }
}

#[cfg(test)]
mod tests;
