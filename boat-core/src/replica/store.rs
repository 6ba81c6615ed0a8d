//! What Raft reads: the recent entries in memory, the terms of all others, and a way to ask for what is only on disk.

use std::cell::RefCell;

use raft::eraftpb::{ConfState, Entry, HardState as RaftHardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::message::{entry_of_log, entry_to_log};
use super::recent::Recent;
use super::{KeptSnapshot, ReplicaStart};
use crate::log::{HardState, LogEntry, LogStart};
use crate::{Membership, RaftId};

/// How many ranges may be fetched from disk at one time: one for each lagging follower.
pub(crate) const FETCHES_MAX: usize = 64;

/// A follower that lacks more bytes than the longest packed entry has is far behind: it is sent so many parts of that length, each
/// in its turn, for others share its disk and the leader's cores.
const LAG_PARTS: usize = 16;
/// A length that counts for the longest entry's where that is shorter: smaller parts would only take longer.
const FAR_BYTES_MIN: usize = 16 << 10;

/// A range that Raft wants and memory does not hold, or that goes to a follower far behind.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) low: u64,
    /// Equal to `low` where nothing has to be read.
    pub(super) high: u64,
    pub(super) bytes_max: u64,
    context: Option<GetEntriesContext>,
}

#[derive(Debug, Default)]
struct Fetches {
    /// Asked for, and not handed out as an output yet.
    wanted: Vec<Wanted>,
    /// Handed out, and waiting for their entries.
    underway: Vec<Wanted>,
    /// Here: served once, then dropped.
    arrived: Option<Vec<LogEntry>>,
}

/// Raft's view of the log, in memory. The log itself is written by somebody else, from the replica's outputs.
#[derive(Debug)]
pub(super) struct Store {
    hard_state: HardState,
    conf_state: ConfState,
    /// The entry before the first.
    start: LogStart,
    /// The newest snapshot.
    snapshot: Option<KeptSnapshot>,
    /// Where each term begins: (first index, term), rising in both.
    term_starts: Vec<(u64, u64)>,
    last_index: u64,
    /// The last entries, up to `last_index`.
    recent: Recent,
    /// Who lacks more bytes than these is far behind.
    far_bytes: usize,
    fetches: RefCell<Fetches>,
}

impl Store {
    pub(super) fn new(start: ReplicaStart, recent_bytes_max: usize, command_bytes_max: usize) -> Self {
        let ReplicaStart { hard_state, membership, start, snapshot, term_starts, last_index, tail } = start;
        let mut store = Store {
            hard_state,
            conf_state: conf_state_of(&membership),
            start,
            snapshot,
            term_starts,
            last_index,
            recent: Recent::new(recent_bytes_max),
            far_bytes: command_bytes_max.max(FAR_BYTES_MIN),
            fetches: RefCell::default(),
        };
        tail.into_iter().for_each(|entry| store.recent.push(entry));
        store
    }

    /// Takes entries that Raft appended; a first index at or below the last one replaces what stood there and behind.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.recent.truncate(first.index);
        self.term_starts.retain(|(start, _)| *start < first.index);
        for entry in entries {
            if self.term_starts.last().is_none_or(|(_, term)| *term != entry.term) {
                self.term_starts.push((entry.index, entry.term));
            }
            self.recent.push(entry_to_log(entry));
            self.last_index = entry.index;
        }
    }

    /// The log begins behind `start` now, an entry that it holds: what stands before is let go of.
    pub(super) fn cut(&mut self, start: LogStart) {
        self.start = start;
        self.recent.cut(start.index);
        let behind = self.term_starts.partition_point(|(first, _)| *first <= start.index);
        self.term_starts.drain(..behind.saturating_sub(1));
    }

    /// A snapshot takes the place of the whole log.
    pub(super) fn install(&mut self, kept: KeptSnapshot) {
        self.start = LogStart { index: kept.name.index, term: kept.name.term };
        self.last_index = kept.name.index;
        self.term_starts = vec![(kept.name.index, kept.name.term)];
        self.recent.clear();
        self.conf_state = conf_state_of(&kept.membership);
        self.snapshot = Some(kept);
    }

    /// The newest snapshot.
    pub(super) fn snapshot_kept(&self) -> Option<&KeptSnapshot> {
        self.snapshot.as_ref()
    }

    /// Another snapshot is the newest.
    pub(super) fn set_snapshot(&mut self, kept: KeptSnapshot) {
        self.snapshot = Some(kept);
    }

    /// Lets go of old entries past the bound on memory; those above `keep_above` stay whatever they take.
    pub(super) fn trim(&mut self, keep_above: u64) {
        self.recent.trim(keep_above);
    }

    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == 0 {
            return Some(0);
        }
        if index > self.last_index || index < self.start.index {
            return None;
        }
        let after = self.term_starts.partition_point(|(start, _)| *start <= index);
        after.checked_sub(1).and_then(|place| self.term_starts.get(place)).map(|(_, term)| *term)
    }

    /// The ranges to fetch from disk that nobody was asked for yet.
    pub(super) fn take_wanted(&mut self) -> Vec<(u64, u64, u64)> {
        let fetches = self.fetches.get_mut();
        let wanted = std::mem::take(&mut fetches.wanted);
        let ranges = wanted.iter().map(|wanted| (wanted.low, wanted.high, wanted.bytes_max)).collect();
        fetches.underway.extend(wanted);
        ranges
    }

    /// Takes the entries of a fetched range. The returned contexts are to be shown to Raft, which then asks again.
    pub(super) fn arrive(&mut self, low: u64, entries: Vec<LogEntry>) -> Option<GetEntriesContext> {
        let fetches = self.fetches.get_mut();
        let place = fetches.underway.iter().position(|wanted| wanted.low == low)?;
        let mut wanted = fetches.underway.swap_remove(place);
        fetches.arrived = Some(entries);
        wanted.context.take()
    }

    /// Drops what [`Store::arrive`] brought: Raft has had its chance.
    pub(super) fn forget_arrived(&mut self) {
        self.fetches.get_mut().arrived = None;
    }

    fn first_recent(&self) -> u64 {
        self.recent.first_index().unwrap_or(self.last_index + 1)
    }

    fn fetched(&self, low: u64, high: u64, bytes_max: u64) -> Option<Vec<Entry>> {
        let fetches = self.fetches.borrow();
        let arrived = fetches.arrived.as_ref()?;
        let start = low.checked_sub(arrived.first()?.index)?;
        let from = arrived.get(usize::try_from(start).ok()?..)?;
        let found: Vec<Entry> = limit(from.iter().take_while(|entry| entry.index < high), bytes_max);
        if found.is_empty() { None } else { Some(found) }
    }

    fn want(&self, low: u64, high: u64, bytes_max: u64, context: GetEntriesContext) {
        // What stands behind is in memory, and may not even be written yet.
        let high = high.min(self.first_recent()).max(low);
        // The same range for another follower, or one too many: Raft asks again after the next heartbeat.
        if self.awaits(low) {
            return;
        }
        let mut fetches = self.fetches.borrow_mut();
        if fetches.wanted.len() + fetches.underway.len() < FETCHES_MAX {
            fetches.wanted.push(Wanted { low, high, bytes_max, context: Some(context) });
        }
    }

    /// Whether a follower that is far behind may be sent the next part: once for each answer to what was wanted.
    fn take_turn(&self) -> bool {
        self.fetches.borrow_mut().arrived.take().is_some()
    }

    /// Whether the range that begins here is asked for already.
    fn awaits(&self, low: u64) -> bool {
        let fetches = self.fetches.borrow();
        fetches.wanted.iter().chain(&fetches.underway).any(|known| known.low == low)
    }

    /// Whether whoever needs the entries from `low` on, which memory holds, is far behind.
    fn is_far_behind(&self, low: u64) -> bool {
        let mut bytes = 0;
        self.recent.from(low).any(|entry| {
            bytes += entry.data.len();
            bytes > self.far_bytes
        })
    }

    /// The bytes to send at once to a follower that is far behind.
    fn part_bytes(&self) -> u64 {
        (self.far_bytes / LAG_PARTS) as u64
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let HardState { term, vote, commit } = self.hard_state;
        let hard_state = RaftHardState { term, vote, commit, ..RaftHardState::default() };
        Ok(RaftState::new(hard_state, self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let first = self.first_recent();
        if low >= first {
            let is_paced = context.can_async() && (self.awaits(low) || self.is_far_behind(low));
            let bytes_max = if is_paced { bytes_max.min(self.part_bytes()) } else { bytes_max };
            if is_paced && !self.take_turn() {
                self.want(low, low, bytes_max, context);
                return Err(raft::Error::Store(StorageError::LogTemporarilyUnavailable));
            }
            return Ok(limit(self.recent.from(low).take_while(|entry| entry.index < high), bytes_max));
        }
        if low <= self.start.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if let Some(found) = self.fetched(low, high, bytes_max) {
            return Ok(found);
        }
        if context.can_async() {
            self.want(low, high, self.part_bytes(), context);
            return Err(raft::Error::Store(StorageError::LogTemporarilyUnavailable));
        }
        // Everything above the last entry handed to the applier stays in memory, and nothing else is read this way.
        Err(raft::Error::Store(StorageError::Unavailable))
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing =
            if index < self.start.index { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_at(index).ok_or(raft::Error::Store(missing))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    /// What Raft is told of the newest snapshot. Its contents travel beside Raft.
    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let unavailable = raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        let kept = self.snapshot.as_ref().filter(|kept| kept.name.index >= self.start.index);
        let kept = kept.ok_or(unavailable)?;
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (kept.name.index, kept.name.term);
        metadata.set_conf_state(conf_state_of(&kept.membership));
        Ok(snapshot)
    }
}

/// The first entries, at least one, that take no more than `bytes_max` together.
fn limit<'a>(entries: impl Iterator<Item = &'a LogEntry>, bytes_max: u64) -> Vec<Entry> {
    let mut bytes = 0_u64;
    let mut found = Vec::new();
    for entry in entries {
        bytes += entry.data.len() as u64;
        if bytes > bytes_max && !found.is_empty() {
            break;
        }
        found.push(entry_of_log(entry));
    }
    found
}

/// Raft's form of a membership.
pub(super) fn conf_state_of(membership: &Membership) -> ConfState {
    let ids = |ids: &[RaftId]| ids.iter().map(|id| id.0).collect::<Vec<u64>>();
    let mut conf_state = ConfState::default();
    conf_state.set_voters(ids(&membership.voters));
    conf_state.set_learners(ids(&membership.learners));
    conf_state.set_voters_outgoing(ids(&membership.voters_outgoing));
    conf_state.set_learners_next(ids(&membership.learners_next));
    conf_state.auto_leave = membership.auto_leave;
    conf_state
}

/// Entries as the log writes them.
pub(super) fn to_log(entries: &[Entry]) -> Vec<LogEntry> {
    entries.iter().map(entry_to_log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::HardState;

    /// Entries of 4 KiB each, in memory, of a log whose commands have 16 at most: a part has a quarter of one, so one entry.
    fn store(entries: u64) -> Store {
        let start = ReplicaStart {
            hard_state: HardState::default(),
            membership: Membership::default(),
            start: LogStart::default(),
            snapshot: None,
            term_starts: Vec::new(),
            last_index: 0,
            tail: Vec::new(),
        };
        let mut store = Store::new(start, usize::MAX, 16 << 10);
        let entry = |index| Entry { index, term: 1, data: vec![0; 4 << 10].into(), ..Entry::default() };
        store.append(&(1..=entries).map(entry).collect::<Vec<_>>());
        store
    }

    fn indexes(store: &Store, low: u64) -> raft::Result<Vec<u64>> {
        let entries = store.entries(low, 100, None, GetEntriesContext::empty(true))?;
        Ok(entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn who_is_near_gets_everything_at_once() {
        assert_eq!(indexes(&store(10), 7).unwrap(), [7, 8, 9, 10]);
    }

    #[test]
    fn who_is_far_behind_waits_for_each_part() {
        let mut store = store(10);
        for low in [1, 2] {
            let later = StorageError::LogTemporarilyUnavailable;
            assert_eq!(indexes(&store, low), Err(raft::Error::Store(later)));
            assert!(indexes(&store, low).is_err(), "asked for once");
            assert_eq!(store.take_wanted(), [(low, low, 1_024)], "nothing has to be read");
            assert!(store.arrive(low, Vec::new()).is_some());
            assert_eq!(indexes(&store, low).unwrap(), [low]);
        }
    }

    #[test]
    fn what_nobody_can_wait_for_comes_at_once() {
        let store = store(10);
        let entries = store.entries(1, 100, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(entries.len(), 10);
    }
}
