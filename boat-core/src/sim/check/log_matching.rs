//! Log matching (Raft, figure 3): two entries with one index and term are the same, and so is all that stands before them.
//! It holds for what is on a disk or has been sent: what a node lost before that never was.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::super::context::Checked;
use super::require;
use crate::RaftId;
use crate::log::{EntryKind, LogEntry};

/// What stands for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) term: u64,
    kind: EntryKind,
    pub(super) hash: u64,
}

impl Print {
    pub(super) fn of(entry: &LogEntry) -> Print {
        Print { term: entry.term, kind: entry.kind, hash: xxh3_64(&entry.data) }
    }
}

/// Every entry that any node had on its disk or sent, by index and term, with the term before it.
#[derive(Debug, Default)]
pub(super) struct LogMatching(BTreeMap<(u64, u64), (Print, u64)>);

impl LogMatching {
    /// These entries stand one after the other behind `before` (an index and its term).
    pub(super) fn stand(
        &mut self,
        id: RaftId,
        before: (u64, u64),
        entries: impl IntoIterator<Item = Print>,
    ) -> Checked {
        let (mut index, mut term_before) = before;
        for print in entries {
            index += 1;
            let entry = (print, term_before);
            let known = *self.0.entry((index, print.term)).or_insert(entry);
            require(known == entry, "log matching", || {
                format!("entry {index} of term {} is {entry:?} at {id}, and was {known:?}", print.term)
            })?;
            term_before = print.term;
        }
        Ok(())
    }
}
