//! How fast Raft's clock runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::error::bound;

/// Section `[timing]`: Raft's clock. Ticks are counted from the last message of the leader; nodes may differ in these
/// values, but elections go best when they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// How long one tick is, in milliseconds. Default 20; 1 to 1,000.
    pub tick_ms: u64,
    /// After how many ticks a leader sends its next heartbeat. Default 3; 1 to 100.
    pub heartbeat_ticks: u32,
    /// After how many ticks without a word from the leader a node campaigns; the actual time is drawn from one to two
    /// times this. Default 15 (300 ms); at least two heartbeats, at most 1,000.
    pub election_ticks: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { tick_ms: 20, heartbeat_ticks: 3, election_ticks: 15 }
    }
}

impl Timing {
    /// How long one tick is.
    pub fn tick(&self) -> Duration {
        Duration::from_millis(self.tick_ms)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        bound("timing.tick_ms", self.tick_ms, 1..=1_000)?;
        bound("timing.heartbeat_ticks", self.heartbeat_ticks, 1..=100)?;
        bound("timing.election_ticks", self.election_ticks, 2 * self.heartbeat_ticks..=1_000)
    }
}
