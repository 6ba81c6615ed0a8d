//! Promise S9, memory: a log comes back with everything that was synced, and of what was written later with some number of
//! whole writes from the first on. (The model of the log: a list.)

use std::collections::{BTreeMap, VecDeque};

use super::super::context::Checked;
use super::Violation;
use super::log_matching::Print;
use crate::RaftId;
use crate::log::{HardState, LogStart, LogWrite, Recovered};

pub(super) const INVARIANT: &str = "S9 memory";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Image {
    /// The entry before the first.
    start: LogStart,
    /// The term of each entry, from the first on.
    terms: Vec<u64>,
    hard_state: HardState,
    /// The latest membership's index.
    membership: u64,
}

impl Image {
    fn apply(&mut self, write: &Writing) {
        if let Some(start) = write.start {
            if self.term(start.index) == Some(start.term) {
                self.terms.drain(..usize::try_from(start.index - self.start.index).unwrap_or(usize::MAX));
            } else {
                self.terms.clear();
            }
            self.start = start;
        }
        if let Some((first, terms)) = &write.entries {
            self.terms.truncate(usize::try_from(first - 1 - self.start.index).unwrap_or(usize::MAX));
            self.terms.extend(terms.iter().map(|print| print.term));
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        self.membership = write.membership.unwrap_or(self.membership);
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        let place = usize::try_from(index.checked_sub(self.start.index + 1)?).ok()?;
        self.terms.get(place).copied()
    }

    fn of(recovered: &Recovered) -> Image {
        let mut terms = Vec::new();
        let mut starts = recovered.term_starts.iter().peekable();
        let (mut term, before) = (0, recovered.first_index - 1);
        while let Some((_, next)) = starts.next_if(|(start, _)| *start <= before) {
            term = *next;
        }
        let start = LogStart { index: before, term };
        for index in recovered.first_index..=recovered.last_index {
            if let Some((_, next)) = starts.next_if(|(start, _)| *start == index) {
                term = *next;
            }
            terms.push(term);
        }
        Image { start, terms, hard_state: recovered.hard_state, membership: recovered.membership.index }
    }
}

#[derive(Debug)]
struct Writing {
    mark: u64,
    start: Option<LogStart>,
    entries: Option<(u64, Vec<Print>)>,
    hard_state: Option<HardState>,
    membership: Option<u64>,
}

/// What one incarnation's disk must hold.
#[derive(Debug, Default)]
struct Disk {
    synced: Image,
    writing: VecDeque<Writing>,
    /// Whether another, older disk stands in its place.
    is_another: bool,
    /// What the disk had synced that an older one took the place of. A leader counts what was acknowledged of it, and may:
    /// whoever holds the older one takes part in nothing any more.
    lost: Option<Image>,
}

/// What all disks must hold.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<RaftId, Disk>);

impl Memory {
    pub(super) fn writing(&mut self, id: RaftId, mark: u64, write: &LogWrite) {
        let entries =
            write.entries.first().map(|first| (first.index, write.entries.iter().map(Print::of).collect()));
        let membership = write.membership.as_ref().map(|membership| membership.index);
        let writing = Writing { mark, start: write.start, entries, hard_state: write.hard_state, membership };
        self.0.entry(id).or_default().writing.push_back(writing);
    }

    /// All writes up to this mark are on the disk. Their entries, each run with the index and the term before it.
    pub(super) fn synced(&mut self, id: RaftId, mark: u64) -> Vec<(u64, u64, Vec<Print>)> {
        let disk = self.0.entry(id).or_default();
        let done = disk.writing.iter().take_while(|write| write.mark <= mark).count();
        let mut runs = Vec::new();
        for write in disk.writing.drain(..done) {
            disk.synced.apply(&write);
            if let Some((first, prints)) = write.entries {
                runs.push((first - 1, disk.synced.term(first - 1).unwrap_or(0), prints));
            }
        }
        runs
    }

    pub(super) fn opened(&mut self, id: RaftId, recovered: &Recovered) -> Checked {
        let disk = self.0.entry(id).or_default();
        let found = Image::of(recovered);
        if disk.is_another {
            let lost = disk.lost.take().or(Some(std::mem::take(&mut disk.synced)));
            *disk = Disk { synced: found, lost, ..Disk::default() };
            return Ok(());
        }
        let mut expected = disk.synced.clone();
        let mut writes = disk.writing.iter();
        while expected != found {
            let Some(next) = writes.next() else {
                return Err(Violation {
                    invariant: INVARIANT,
                    what: format!(
                        "{id} comes back with {:?}, {} entries, membership {}; it had synced {:?}, {} entries, \
                         membership {}, and these writes were under way: {:?}",
                        found.hard_state,
                        found.terms.len(),
                        found.membership,
                        disk.synced.hard_state,
                        disk.synced.terms.len(),
                        disk.synced.membership,
                        disk.writing
                    ),
                });
            };
            expected.apply(next);
        }
        *disk = Disk { synced: expected, lost: disk.lost.take(), ..Disk::default() };
        Ok(())
    }

    /// An older disk takes the place of this one.
    pub(super) fn went_back(&mut self, id: RaftId) {
        self.0.entry(id).or_default().is_another = true;
    }

    /// Whether an entry is on the disk for good, or was until an older disk took its place.
    pub(super) fn is_synced(&self, id: RaftId, index: u64, term: u64) -> bool {
        let Some(disk) = self.0.get(&id) else { return false };
        let images = std::iter::once(&disk.synced).chain(&disk.lost);
        images.into_iter().any(|image| image.term(index) == Some(term))
    }
}
