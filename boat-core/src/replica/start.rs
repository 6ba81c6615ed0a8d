//! What a replica is set up with, and starts from.

use super::KeptSnapshot;
use crate::log::{HardState, LogEntry, LogStart, Recovered};
use crate::{Member, Membership};

/// How a replica is set up. Ticks are the driver's; [`Input::Tick`](super::Input::Tick) says when one has
/// passed.
#[derive(Debug, Clone)]
pub struct ReplicaConfig {
    /// This incarnation and where its peers reach it.
    pub own: Member,
    /// Ticks between heartbeats. Default 3.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader before an election, at least; at most twice as many. Default 15.
    pub election_ticks: usize,
    /// The bytes of requests packed into one entry, at most. Default 1 MiB.
    pub command_bytes_max: usize,
    /// The bytes of requests forwarded by other nodes that wait here, at most. Default 64 MiB.
    pub forwarded_bytes_max: usize,
    /// The bytes of recent entries kept in memory for slow followers, of 65,536 entries at most. Default 32 MiB.
    pub recent_bytes_max: usize,
    /// The bytes of snapshots sent to others in one tick, at most; a single piece always goes. Default 1 MiB.
    pub snapshot_bytes_per_tick: usize,
    /// How long one piece of a snapshot is, at most, in bytes. Default 256 KiB.
    pub snapshot_piece_bytes: usize,
    /// What election timeouts and requests' random numbers are drawn from.
    pub seed: u64,
}

impl ReplicaConfig {
    /// The defaults, for this incarnation.
    pub fn new(own: Member, seed: u64) -> Self {
        ReplicaConfig {
            own,
            heartbeat_ticks: 3,
            election_ticks: 15,
            command_bytes_max: 1 << 20,
            forwarded_bytes_max: 64 << 20,
            recent_bytes_max: 32 << 20,
            snapshot_bytes_per_tick: 1 << 20,
            snapshot_piece_bytes: 256 << 10,
            seed,
        }
    }
}

/// What a replica starts from: what the log held when it was opened.
#[derive(Debug, Clone, Default)]
pub struct ReplicaStart {
    /// Term, vote and commit.
    pub hard_state: HardState,
    /// The membership as of that commit.
    pub membership: Membership,
    /// Where the log begins: behind this entry; behind 0 where nothing was cut.
    pub start: LogStart,
    /// The newest snapshot that others can be sent.
    pub snapshot: Option<KeptSnapshot>,
    /// Where each term begins: (first index, term).
    pub term_starts: Vec<(u64, u64)>,
    /// The last entry's index; that of `start` for an empty log.
    pub last_index: u64,
    /// All entries behind the commit.
    pub tail: Vec<LogEntry>,
}

impl ReplicaStart {
    /// What an opened log gives, and the newest snapshot beside it.
    pub fn of(recovered: Recovered, snapshot: Option<KeptSnapshot>) -> Self {
        let index = recovered.first_index.saturating_sub(1);
        let before = recovered.term_starts.partition_point(|(start, _)| *start <= index);
        let before = before.checked_sub(1).and_then(|place| recovered.term_starts.get(place));
        ReplicaStart {
            hard_state: recovered.hard_state,
            membership: recovered.membership,
            start: LogStart { index, term: before.map_or(0, |(_, term)| *term) },
            snapshot,
            term_starts: recovered.term_starts,
            last_index: recovered.last_index,
            tail: recovered.tail,
        }
    }
}
