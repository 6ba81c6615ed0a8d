//! What the log holds.

use bytes::Bytes;

use crate::Membership;

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A command, or nothing: a new leader's first entry is empty.
    Normal,
    /// A membership change in Boat's own encoding; empty to leave a joint change.
    MembershipChange,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its place in the log, counted from 1.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// How to read `data`.
    pub kind: EntryKind,
    /// The encoded command.
    pub data: Bytes,
}

/// What Raft must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardState {
    /// The latest term seen.
    pub term: u64,
    /// The Raft id voted for in `term`; 0 for none.
    pub vote: u64,
    /// The highest index known to be committed.
    pub commit: u64,
}

/// Where a log begins: behind an entry that a snapshot stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LogStart {
    /// That entry's index.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// One atomic addition to the log: all of it is there after a crash, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogWrite {
    /// Where the log begins from now on, before the entries of this write are added. Where the entry there is the log's
    /// own, what stands before it and itself are let go of; where the log does not reach it, or holds another one there,
    /// the whole log is: a snapshot is taken in its place, with the hard state and the membership of the same write.
    pub start: Option<LogStart>,
    /// Contiguous entries. A first index at or below the last one replaces what stood there and behind.
    pub entries: Vec<LogEntry>,
    /// The hard state from now on, where it changed.
    pub hard_state: Option<HardState>,
    /// The membership from now on, where a change was committed.
    pub membership: Option<Membership>,
}

impl LogWrite {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.start.is_none()
            && self.entries.is_empty()
            && self.hard_state.is_none()
            && self.membership.is_none()
    }
}
