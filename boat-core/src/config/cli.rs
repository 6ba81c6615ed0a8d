//! One node's configuration from flags, environment and file: what stands nearest wins, in the order flag, `BOAT_*`
//! variable, TOML file (`--config`), default.
//!
//! ```
//! use boat_core::config::cli::{NodeFlags, with_defaults};
//! use clap::{CommandFactory, FromArgMatches, Parser};
//!
//! #[derive(Parser)]
//! struct Node {
//!     #[command(flatten)]
//!     node: NodeFlags,
//! }
//!
//! let line = ["node", "--node-id", "1", "--members", "0=a:8000,1=b:8000", "--data-dir", "boat-1", "--tick-ms", "10"];
//! let matches = with_defaults(Node::command()).get_matches_from(line);
//! let config = Node::from_arg_matches(&matches)?.node.load::<boat_core::config::NoBackend>()?.check()?;
//! assert_eq!((config.timing.tick_ms, config.timing.heartbeat_ticks), (10, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{ConfigError, HttpOptions, Limits, NodeConfig, SessionLimits, Timing};
use crate::{MemberList, NodeId};

/// The longest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Declares one section's flags: one optional flag and variable per field, named as the field.
macro_rules! flags {
    ($(#[$about:meta])* $name:ident overrides $config:ty {
        $($(#[doc = $help:literal])* $field:ident: $type:ty, $env:literal, $value:literal;)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
        pub struct $name {
            $($(#[doc = $help])* #[arg(long, env = $env, value_name = $value)] pub $field: Option<$type>,)*
        }

        impl $name {
            fn apply(self, config: &mut $config) {
                $(if let Some(value) = self.$field { config.$field = value; })*
            }
        }
    };
}

flags! {
    /// Flags of the section `[timing]`.
    TimingFlags overrides Timing {
        /// How long one tick of Raft's clock is, in milliseconds
        tick_ms: u64, "BOAT_TICK_MS", "MS";
        /// Ticks between a leader's heartbeats
        heartbeat_ticks: u32, "BOAT_HEARTBEAT_TICKS", "TICKS";
        /// Ticks without a word from the leader after which a node campaigns
        election_ticks: u32, "BOAT_ELECTION_TICKS", "TICKS";
    }
}

flags! {
    /// Flags of the section `[limits]`.
    LimitsFlags overrides Limits {
        /// How many requests may wait for their answers
        proposals_max: usize, "BOAT_PROPOSALS_MAX", "COUNT";
        /// How many bytes of requests may wait for their answers
        proposal_bytes_max: usize, "BOAT_PROPOSAL_BYTES_MAX", "BYTES";
        /// How many bytes one request may have; the same on all nodes
        request_bytes_max: usize, "BOAT_REQUEST_BYTES_MAX", "BYTES";
        /// How many bytes of requests go into one entry of the log
        command_bytes_max: usize, "BOAT_COMMAND_BYTES_MAX", "BYTES";
        /// How long one file of the log is
        segment_bytes: usize, "BOAT_SEGMENT_BYTES", "BYTES";
        /// How many bytes of log are applied between two snapshots
        snapshot_log_bytes: u64, "BOAT_SNAPSHOT_LOG_BYTES", "BYTES";
        /// How many bytes of snapshots are sent to other nodes in a second
        snapshot_bytes_per_second: u64, "BOAT_SNAPSHOT_BYTES_PER_SECOND", "BYTES";
        /// How many bytes of entries are sent in a second to nodes that lag behind
        catch_up_bytes_per_second: u64, "BOAT_CATCH_UP_BYTES_PER_SECOND", "BYTES";
        /// How long a request waits for a leader to appear
        leader_wait_ms: u64, "BOAT_LEADER_WAIT_MS", "MS";
        /// How long the model may take for one call
        call_ms_max: u64, "BOAT_CALL_MS_MAX", "MS";
        /// How many bytes must be free on the disk for the node to accept anything new
        free_bytes_min: u64, "BOAT_FREE_BYTES_MIN", "BYTES";
    }
}

flags! {
    /// Flags of the section `[sessions]`. The same on all nodes.
    SessionFlags overrides SessionLimits {
        /// How many outcomes of one session are kept; the same on all nodes
        session_outcomes_max: usize, "BOAT_SESSION_OUTCOMES_MAX", "COUNT";
        /// How many sessions there may be; the same on all nodes
        sessions_max: usize, "BOAT_SESSIONS_MAX", "COUNT";
        /// When a session without requests expires; the same on all nodes
        session_age_ms_max: u64, "BOAT_SESSION_AGE_MS_MAX", "MS";
        /// How long an Idempotency-Key is remembered; the same on all nodes
        key_age_ms: u64, "BOAT_KEY_AGE_MS", "MS";
        /// How many bytes the remembered keys may take; the same on all nodes
        key_table_bytes_max: usize, "BOAT_KEY_TABLE_BYTES_MAX", "BYTES";
    }
}

flags! {
    /// Flags of the section `[http]`, but for `--allow-control` and `--allow-admin`.
    HttpFlags overrides HttpOptions {
        /// How long a request waits for its outcome
        request_timeout_ms: u64, "BOAT_REQUEST_TIMEOUT_MS", "MS";
        /// How long a request may ask to wait (`Prefer: wait=SECONDS`)
        request_timeout_ms_max: u64, "BOAT_REQUEST_TIMEOUT_MS_MAX", "MS";
        /// How long a request's head may take, and a connection be idle
        header_timeout_ms: u64, "BOAT_HEADER_TIMEOUT_MS", "MS";
        /// How long a request's body may take
        body_timeout_ms: u64, "BOAT_BODY_TIMEOUT_MS", "MS";
        /// How long a client may take no byte of its answer
        write_timeout_ms: u64, "BOAT_WRITE_TIMEOUT_MS", "MS";
        /// How long a shutdown waits for the answers in flight
        shutdown_timeout_ms: u64, "BOAT_SHUTDOWN_TIMEOUT_MS", "MS";
        /// How many bytes a request's head may have
        header_bytes_max: usize, "BOAT_HEADER_BYTES_MAX", "BYTES";
        /// How many connections are served at a time
        connections_max: u32, "BOAT_CONNECTIONS_MAX", "COUNT";
    }
}

/// The flags of one node, to be flattened into a program's own. A flag that is not given leaves what the file says. Flags
/// that follow it stand under its last heading in the help, unless they have one of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct NodeFlags {
    /// A TOML file with the same names as the flags, in sections timing, limits, sessions, http and backend
    #[arg(long, env = "BOAT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This node's number, counted from 0
    #[arg(long, env = "BOAT_NODE_ID", value_name = "ID")]
    pub node_id: Option<NodeId>,
    /// All nodes and where their peers reach them, as in 0=10.0.0.1:8000,1=10.0.0.2:8000
    #[arg(long, env = "BOAT_MEMBERS", value_name = "ID=HOST:PORT,...")]
    pub members: Option<MemberList>,
    /// Join a cluster that is there already; `members` need name no more than this node and some of its members
    #[arg(long, env = "BOAT_JOIN", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub join: Option<bool>,
    /// The directory that holds the node's log
    #[arg(long, env = "BOAT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the HTTP frontend listens
    #[arg(long, env = "BOAT_HTTP_ADDRESS", value_name = "IP:PORT")]
    pub http_address: Option<SocketAddr>,
    /// Where this node listens for its peers, if not where `members` says
    #[arg(long, env = "BOAT_PEER_ADDRESS", value_name = "HOST:PORT")]
    pub peer_address: Option<String>,
    /// Where this node reaches some of its peers, if not where `members` says
    #[arg(long, env = "BOAT_PEER_ROUTES", value_name = "ID=HOST:PORT,...")]
    pub peer_routes: Option<MemberList>,
    /// Let POST /control from this machine wipe the node
    #[arg(long, env = "BOAT_ALLOW_CONTROL", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_control: Option<bool>,
    /// Let requests to /admin/members and /admin/leader from this machine change who takes part, and who leads
    #[arg(long, env = "BOAT_ALLOW_ADMIN", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_admin: Option<bool>,
    /// Raft's clock.
    #[command(flatten, next_help_heading = "Timing")]
    pub timing: TimingFlags,
    /// What the node takes on.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: LimitsFlags,
    /// What is remembered of clients.
    #[command(flatten, next_help_heading = "Sessions")]
    pub sessions: SessionFlags,
    /// The frontend's limits.
    #[command(flatten, next_help_heading = "HTTP")]
    pub http: HttpFlags,
}

impl NodeFlags {
    /// The configuration: the file's (or the default, without one), and over it whatever flags and environment say.
    ///
    /// # Errors
    /// [`ConfigError`] when the file cannot be read or is no configuration. Bounds are left to [`NodeConfig::check`].
    pub fn load<B: Default + DeserializeOwned>(self) -> Result<NodeConfig<B>, ConfigError> {
        let mut config = match &self.config {
            Some(path) => read_file(path)?,
            None => NodeConfig::default(),
        };
        self.apply(&mut config);
        Ok(config)
    }

    fn apply<B>(self, config: &mut NodeConfig<B>) {
        fn set<T>(field: &mut T, flag: Option<T>) {
            if let Some(value) = flag {
                *field = value;
            }
        }
        set(&mut config.node_id, self.node_id);
        set(&mut config.members, self.members);
        set(&mut config.peer_routes, self.peer_routes);
        set(&mut config.join, self.join);
        set(&mut config.data_dir, self.data_dir);
        set(&mut config.http_address, self.http_address);
        set(&mut config.http.allow_control, self.allow_control);
        set(&mut config.http.allow_admin, self.allow_admin);
        if self.peer_address.is_some() {
            config.peer_address = self.peer_address;
        }
        self.timing.apply(&mut config.timing);
        self.limits.apply(&mut config.limits);
        self.sessions.apply(&mut config.sessions);
        self.http.apply(&mut config.http);
    }
}

/// Reads a TOML file.
///
/// # Errors
/// [`ConfigError::Unreadable`] and [`ConfigError::Malformed`], with the line and the key.
pub fn read_file<B: Default + DeserializeOwned>(path: &Path) -> Result<NodeConfig<B>, ConfigError> {
    use std::io::Read;

    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let malformed = |error: toml::de::Error| ConfigError::Malformed {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    };
    toml::from_str(&text).map_err(malformed)
}

/// Adds each flag's default to its help, read from the configuration's `Default`.
#[must_use]
pub fn with_defaults(command: clap::Command) -> clap::Command {
    let config = NodeConfig::<super::NoBackend>::default();
    let sections = [
        serde_json::to_value(config.timing),
        serde_json::to_value(config.limits),
        serde_json::to_value(config.sessions),
        serde_json::to_value(config.http),
        Ok(serde_json::json!({
            "node_id": config.node_id,
            "join": config.join,
            "http_address": config.http_address,
        })),
    ];
    let default_of = |id: &str| sections.iter().flatten().find_map(|section| section.get(id)).map(plain);
    command.mut_args(|arg| match (default_of(arg.get_id().as_str()), arg.get_help()) {
        (Some(default), Some(help)) => {
            let help = format!("{help} [default: {default}]");
            arg.help(help)
        }
        _ => arg,
    })
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
