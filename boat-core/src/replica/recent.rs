//! The last entries of the log, in memory: for followers that are a little behind.

use std::collections::VecDeque;

use crate::log::LogEntry;

/// Entries in one piece. A single queue would be copied whole when it grows, within some request's time.
const PIECE_ENTRIES: usize = 512;
/// So many entries are kept at most, however short: each takes some hundred bytes besides its own.
const ENTRIES_MAX: usize = 1 << 16;

/// The last entries, contiguous.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// None is empty, and all between the first and the last are full.
    pieces: VecDeque<VecDeque<LogEntry>>,
    entries: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    /// Keeps about `bytes_max` bytes of entries.
    pub(super) fn new(bytes_max: usize) -> Self {
        Recent { bytes_max, ..Recent::default() }
    }

    /// The index of the first.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.pieces.front().and_then(VecDeque::front).map(|entry| entry.index)
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: LogEntry) {
        self.entries += 1;
        self.bytes += entry.data.len();
        if let Some(last) = self.pieces.back_mut().filter(|last| last.len() < PIECE_ENTRIES) {
            return last.push_back(entry);
        }
        let mut piece = VecDeque::with_capacity(PIECE_ENTRIES);
        piece.push_back(entry);
        self.pieces.push_back(piece);
    }

    /// Drops those from this index on.
    pub(super) fn truncate(&mut self, index: u64) {
        while let Some(last) = self.pieces.back_mut() {
            while last.back().is_some_and(|entry| entry.index >= index)
                && let Some(entry) = last.pop_back()
            {
                self.entries -= 1;
                self.bytes -= entry.data.len();
            }
            if !last.is_empty() {
                return;
            }
            self.pieces.pop_back();
        }
    }

    /// Drops those up to this index.
    pub(super) fn cut(&mut self, index: u64) {
        while self.pop_front_up_to(index) {}
    }

    /// Drops the oldest past the bounds on memory; those above `keep_above` stay whatever they take.
    pub(super) fn trim(&mut self, keep_above: u64) {
        while (self.bytes > self.bytes_max || self.entries > ENTRIES_MAX) && self.pop_front_up_to(keep_above)
        {
        }
    }

    /// Drops all.
    pub(super) fn clear(&mut self) {
        *self = Recent::new(self.bytes_max);
    }

    /// False: the first is above `index`, or there is none.
    fn pop_front_up_to(&mut self, index: u64) -> bool {
        let Some(first) = self.pieces.front_mut() else { return false };
        if first.front().is_none_or(|entry| entry.index > index) {
            return false;
        }
        let Some(entry) = first.pop_front() else { return false };
        self.entries -= 1;
        self.bytes -= entry.data.len();
        if first.is_empty() {
            self.pieces.pop_front();
        }
        true
    }

    /// Those from `low` on, which is not before the first.
    pub(super) fn from(&self, low: u64) -> impl Iterator<Item = &LogEntry> {
        let skip = low.saturating_sub(self.first_index().unwrap_or(low));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let first = self.pieces.front().map_or(0, VecDeque::len);
        let (piece, within) = match skip.checked_sub(first) {
            None => (0, skip),
            Some(behind) => (1 + behind / PIECE_ENTRIES, behind % PIECE_ENTRIES),
        };
        self.pieces.iter().skip(piece).flatten().skip(within)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::log::EntryKind;

    fn entry(index: u64) -> LogEntry {
        LogEntry { index, term: 1, kind: EntryKind::Normal, data: Bytes::from_static(&[0; 10]) }
    }

    fn recent(indexes: impl IntoIterator<Item = u64>, bytes_max: usize) -> Recent {
        let mut recent = Recent::new(bytes_max);
        indexes.into_iter().for_each(|index| recent.push(entry(index)));
        recent
    }

    fn indexes(recent: &Recent, low: u64) -> Vec<u64> {
        recent.from(low).map(|entry| entry.index).collect()
    }

    /// Beside a plain list, with pieces that begin and end anywhere.
    #[test]
    fn it_holds_what_a_list_would() {
        const LAST: u64 = 3_000;
        for cut_to in [0, 1, 511, 512, 700, 1_023, 1_024, 2_048, LAST] {
            for truncate_at in [cut_to + 1, 513, 1_024, 1_025, 2_000, LAST + 1] {
                let mut recent = recent(1..=LAST, usize::MAX);
                recent.cut(cut_to);
                recent.truncate(truncate_at);
                let next = truncate_at.max(cut_to + 1);
                (next..next + 600).for_each(|index| recent.push(entry(index)));
                let all: Vec<u64> = (cut_to + 1..next + 600).collect();
                for skip in [0, 1, 511, 512, 513, 1_100, all.len() - 1, all.len()] {
                    let Some(expected) = all.get(skip..) else { continue };
                    let low = cut_to + 1 + skip as u64;
                    assert_eq!(indexes(&recent, low), expected, "{cut_to} {truncate_at} {skip}");
                }
                assert_eq!((recent.entries, recent.bytes), (all.len(), 10 * all.len()));
                assert_eq!(recent.first_index(), Some(cut_to + 1));
            }
        }
    }

    #[test]
    fn bytes_and_entries_are_bounded_but_for_what_is_needed() {
        let mut full = recent(1..=2_000, 5_000);
        full.trim(100);
        assert_eq!(full.first_index(), Some(101));
        full.trim(2_000);
        assert_eq!((full.first_index(), full.bytes), (Some(1_501), 5_000));
        let mut short = recent(1..=ENTRIES_MAX as u64 + 7, usize::MAX);
        short.trim(u64::MAX);
        assert_eq!((short.first_index(), short.entries), (Some(8), ENTRIES_MAX));
        short.clear();
        assert_eq!((short.first_index(), short.entries, short.bytes), (None, 0, 0));
        assert_eq!(indexes(&short, 1), [0; 0]);
    }
}
