//! Log matching (Raft, figure 3): two entries with one index and term are the same, and so is all that stands before them.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::super::context::Checked;
use super::memory::Memory;
use super::require;
use crate::RaftId;
use crate::log::{EntryKind, LogEntry, LogWrite};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    kind: EntryKind,
    hash: u64,
    term_before: u64,
}

/// What stands for an entry's content.
pub(super) fn print(entry: &LogEntry) -> u64 {
    xxh3_64(&entry.data)
}

/// Every entry that any node ever wrote, by index and term.
#[derive(Debug, Default)]
pub(super) struct LogMatching(BTreeMap<(u64, u64), Print>);

impl LogMatching {
    pub(super) fn written(&mut self, id: RaftId, write: &LogWrite, memory: &Memory) -> Checked {
        let Some(first) = write.entries.first() else { return Ok(()) };
        let mut term_before = memory.term_written(id, first.index - 1);
        for entry in &write.entries {
            let print = Print { kind: entry.kind, hash: print(entry), term_before };
            let known = *self.0.entry((entry.index, entry.term)).or_insert(print);
            require(known == print, "log matching", || {
                format!("entry {} of term {} is {print:?} at {id}, and was {known:?}", entry.index, entry.term)
            })?;
            term_before = entry.term;
        }
        Ok(())
    }
}
