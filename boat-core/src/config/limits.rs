//! What a node takes on at most.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::error::bound;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Section `[limits]`: what this node takes on at most. Nodes may differ, except in `request_bytes_max`: a request that one
/// node accepts must be acceptable to whichever leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many requests may wait on this node from acceptance to answer; one more is `overloaded`. As many queries may wait
    /// besides. Default 4,096; 1 to 1,048,576.
    pub proposals_max: usize,
    /// How many bytes those requests may have together. Default 64 MiB; at least `request_bytes_max`, at most 4 GiB.
    pub proposal_bytes_max: usize,
    /// How many bytes one request's body may have. Default 1 MiB; 1 byte to 8 MiB, so that an entry fits a frame of the peers. The same on all nodes.
    pub request_bytes_max: usize,
    /// How many bytes of requests are packed into one entry of the log; a single request that is longer goes alone. Default
    /// 1 MiB; 1 KiB to 8 MiB.
    pub command_bytes_max: usize,
    /// How long one segment file of the log is, in bytes. Default 64 MiB; at least twice the longer of `request_bytes_max`
    /// and `command_bytes_max`, at most 1 GiB.
    pub segment_bytes: usize,
    /// How many bytes of log are applied between two snapshots, at least; at least as many as the last snapshot has. Only for
    /// models that can be snapshotted or keep no state; of others the whole log is kept. Default 64 MiB; 64 KiB to 1 TiB.
    pub snapshot_log_bytes: u64,
    /// How many bytes of snapshots are sent to other nodes in a second, at most. Default 64 MiB; 64 KiB to 16 GiB.
    pub snapshot_bytes_per_second: u64,
    /// How many bytes of entries a leader sends in a second to nodes that lag behind by more than `command_bytes_max`, together. Where more
    /// than half as much is appended, it is twice that: who lags comes nearer. Default 16 MiB; 64 KiB to 16 GiB.
    pub catch_up_bytes_per_second: u64,
    /// How long a request waits for a leader to appear before it is answered `no_leader`, in milliseconds. Default 2,000; 0
    /// to 60,000.
    pub leader_wait_ms: u64,
    /// How long the model may take for one call, or for a batch that is handed to it together, in milliseconds. One that takes
    /// longer hangs: it is begun anew, and a request that makes it hang three times is held like one that crashes it.
    /// Default 30,000; 1 to 3,600,000.
    pub call_ms_max: u64,
    /// Below this many free bytes on the data directory's disk the node accepts nothing new (`disk_full`) until there is
    /// more again. Default 128 MiB; 0 (never) to 1 PiB. More than `proposal_bytes_max`, so that what was accepted fits.
    pub free_bytes_min: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            proposals_max: 4_096,
            proposal_bytes_max: 64 * MIB,
            request_bytes_max: MIB,
            command_bytes_max: MIB,
            segment_bytes: 64 * MIB,
            snapshot_log_bytes: 64 * MIB as u64,
            snapshot_bytes_per_second: 64 * MIB as u64,
            catch_up_bytes_per_second: 16 * MIB as u64,
            leader_wait_ms: 2_000,
            call_ms_max: 30_000,
            free_bytes_min: 128 * MIB as u64,
        }
    }
}

impl Limits {
    /// How long a request waits for a leader.
    pub fn leader_wait(&self) -> Duration {
        Duration::from_millis(self.leader_wait_ms)
    }

    /// How long the model may take for one call.
    pub fn call_limit(&self) -> Duration {
        Duration::from_millis(self.call_ms_max)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        bound("limits.proposals_max", self.proposals_max, 1..=1 << 20)?;
        bound("limits.request_bytes_max", self.request_bytes_max, 1..=8 * MIB)?;
        bound("limits.proposal_bytes_max", self.proposal_bytes_max, self.request_bytes_max..=4_096 * MIB)?;
        bound("limits.command_bytes_max", self.command_bytes_max, KIB..=8 * MIB)?;
        let segment_bytes_min = 2 * self.request_bytes_max.max(self.command_bytes_max);
        bound("limits.segment_bytes", self.segment_bytes, segment_bytes_min..=1_024 * MIB)?;
        bound("limits.snapshot_log_bytes", self.snapshot_log_bytes, 64 << 10..=1 << 40)?;
        bound("limits.snapshot_bytes_per_second", self.snapshot_bytes_per_second, 64 << 10..=16 << 30)?;
        bound("limits.catch_up_bytes_per_second", self.catch_up_bytes_per_second, 64 << 10..=16 << 30)?;
        bound("limits.leader_wait_ms", self.leader_wait_ms, 0..=60_000)?;
        bound("limits.call_ms_max", self.call_ms_max, 1..=3_600_000)?;
        bound("limits.free_bytes_min", self.free_bytes_min, 0..=1 << 50)
    }
}

/// Section `[sessions]`: how long and for how many clients answers are remembered.
///
/// **These values must be equal on all nodes.** They decide while a request is applied (which session has expired, which
/// key is forgotten), so nodes with different values would give different outcomes and diverge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionLimits {
    /// How many outcomes of one client's session are kept, so how many of its requests may be unanswered. A node's own
    /// session, for requests without a key, keeps four times `proposals_max` instead. Default 64; 1 to 65,536. Equal on all nodes.
    pub session_outcomes_max: usize,
    /// How many sessions there may be. One in eight is kept for nodes' own; clients open no more than the rest. Default 1,024;
    /// 1 to 1,048,576. Equal on all nodes.
    pub sessions_max: usize,
    /// After how much log age without a request a session expires, in milliseconds. Default 600,000 (10 minutes); 1,000 to
    /// 604,800,000 (a week). Equal on all nodes.
    pub session_age_ms_max: u64,
    /// For how much log age an `Idempotency-Key` is remembered at least, in milliseconds. Default 600,000 (10 minutes);
    /// 1,000 to 604,800,000 (a week). Equal on all nodes.
    pub key_age_ms: u64,
    /// How many bytes the table of remembered keys may take. Default 256 MiB; 64 KiB to 64 GiB. Equal on all nodes.
    pub key_table_bytes_max: usize,
}

const WEEK_MS: u64 = 7 * 24 * 3_600 * 1_000;

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits {
            session_outcomes_max: 64,
            sessions_max: 1_024,
            session_age_ms_max: 600_000,
            key_age_ms: 600_000,
            key_table_bytes_max: 256 * MIB,
        }
    }
}

impl SessionLimits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        bound("sessions.session_outcomes_max", self.session_outcomes_max, 1..=1 << 16)?;
        bound("sessions.sessions_max", self.sessions_max, 1..=1 << 20)?;
        bound("sessions.session_age_ms_max", self.session_age_ms_max, 1_000..=WEEK_MS)?;
        bound("sessions.key_age_ms", self.key_age_ms, 1_000..=WEEK_MS)?;
        bound("sessions.key_table_bytes_max", self.key_table_bytes_max, 64 * KIB..=65_536 * MIB)
    }
}
