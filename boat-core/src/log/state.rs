//! What the log knows beside its entries: rebuilt from the last segment on opening, kept up to date by every append.

use super::catalog::{Catalog, Span};
use super::format::membership;
use super::format::sections::Sections;
use super::{HardState, LogStart, LogWrite, Watermark};
use crate::Membership;

/// Memberships that may stand above the commit at once. Raft allows one change at a time, in two steps.
const MEMBERSHIPS_MAX: usize = 16;

/// Hard state, memberships, and which terms begin where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LogState {
    pub(crate) hard_state: HardState,
    /// The one as of the commit, if a change was committed, then those above it.
    pub(crate) memberships: Vec<Membership>,
    /// The first index of each term, both rising.
    pub(crate) term_starts: Vec<(u64, u64)>,
    pub(crate) first_index: u64,
    pub(crate) last_index: u64,
}

impl LogState {
    /// The state that a segment's header tells of, when the log ended before `next_index`.
    pub(crate) fn from_sections(sections: &Sections, next_index: u64) -> LogState {
        LogState {
            hard_state: sections.hard_state,
            memberships: sections.memberships.clone(),
            term_starts: sections.term_starts.clone(),
            first_index: sections.first_index.unwrap_or(1),
            last_index: next_index.saturating_sub(1),
        }
    }

    /// What the header of a segment repeats of this; spans and points are the catalog's.
    pub(crate) fn sections(&self) -> Sections {
        Sections {
            hard_state: self.hard_state,
            memberships: self.memberships.clone(),
            term_starts: self.term_starts.clone(),
            first_index: Some(self.first_index).filter(|first_index| *first_index > 1),
            ..Sections::default()
        }
    }

    /// What the footer of `segment` says when it is sealed now.
    pub(crate) fn footer_sections(&self, catalog: &Catalog, segment: u64) -> Sections {
        let here = |span: &&Span| span.segment == segment;
        let spans: Vec<Span> = catalog.spans().iter().filter(here).copied().collect();
        let first_index = spans.first().map_or(u64::MAX, |span| span.first_index);
        let term_starts =
            self.term_starts.iter().filter(|(start, _)| *start >= first_index).copied().collect();
        Sections { spans, points: catalog.points().to_vec(), term_starts, ..self.sections() }
    }

    /// The term of the entry at `index`, from the one before the first on; 0 where there is none below.
    pub(crate) fn term(&self, index: u64) -> u64 {
        let behind = self.term_starts.partition_point(|(start, _)| *start <= index);
        behind.checked_sub(1).and_then(|at| self.term_starts.get(at)).map_or(0, |(_, term)| *term)
    }

    pub(crate) fn last_term(&self) -> u64 {
        self.term(self.last_index)
    }

    /// How far a log with this state is, when its last segment reaches up to `segment_bytes`.
    pub(crate) fn reached(&self, segment: u64, segment_bytes: u64) -> Watermark {
        Watermark {
            term: self.hard_state.term,
            vote: self.hard_state.vote,
            last_index: self.last_index,
            last_term: self.last_term(),
            segment,
            segment_bytes,
        }
    }

    /// Why `write` may not come next.
    pub(crate) fn check(&self, write: &LogWrite) -> Result<(), &'static str> {
        if let Some(start) = write.start {
            let commit = write.hard_state.unwrap_or(self.hard_state).commit;
            self.check_start(start, commit)?;
            let mut after = self.clone();
            after.begin_behind(start);
            return after.check(&LogWrite { start: None, ..write.clone() });
        }
        let mut last_index = self.last_index;
        if let Some(first) = write.entries.first() {
            self.check_first(first.index)?;
            let mut term = self.term(first.index - 1);
            for (index, entry) in (first.index..).zip(&write.entries) {
                if entry.index != index {
                    return Err("its entries are not contiguous");
                }
                if entry.term < term {
                    return Err("its terms fall");
                }
                term = entry.term;
                last_index = index;
            }
        }
        if write.hard_state.unwrap_or(self.hard_state).commit > last_index {
            return Err("its commit lies beyond the last entry");
        }
        write.membership.as_ref().map_or(Ok(()), |change| self.check_membership(change, last_index))
    }

    /// Whether the log may begin behind `start`, in a write whose commit is `commit`.
    pub(crate) fn check_start(&self, start: LogStart, commit: u64) -> Result<(), &'static str> {
        if start.index + 1 < self.first_index {
            return Err("it begins before what is there any more");
        }
        if start.index > commit {
            return Err("it begins behind the commit");
        }
        if !self.holds(start) && (start.index < self.hard_state.commit || start.term == 0) {
            return Err("it lets go of committed entries");
        }
        Ok(())
    }

    /// Whether the log holds this entry, or begins behind it.
    pub(crate) fn holds(&self, LogStart { index, term }: LogStart) -> bool {
        index <= self.last_index && index + 1 >= self.first_index && self.term(index) == term
    }

    /// The log begins behind `start`. True: nothing of what was there goes on.
    pub(crate) fn begin_behind(&mut self, start: LogStart) -> bool {
        let whole = !self.holds(start);
        if whole {
            self.term_starts = vec![(start.index, start.term)];
            self.memberships.clear();
            self.last_index = start.index;
        } else {
            let behind = self.term_starts.partition_point(|(first, _)| *first <= start.index);
            self.term_starts.drain(..behind.saturating_sub(1));
        }
        self.first_index = start.index + 1;
        whole
    }

    fn check_first(&self, index: u64) -> Result<(), &'static str> {
        if index > self.last_index + 1 {
            return Err("it leaves a gap behind the last entry");
        }
        if index <= self.hard_state.commit || index < self.first_index {
            return Err("it overwrites a committed entry");
        }
        Ok(())
    }

    fn check_membership(&self, change: &Membership, last_index: u64) -> Result<(), &'static str> {
        if change.index > last_index {
            return Err("its membership lies beyond the last entry");
        }
        if self.memberships.last().is_some_and(|last| change.index < last.index) {
            return Err("its membership is older than the one that is there");
        }
        if self.memberships.len() >= MEMBERSHIPS_MAX {
            return Err("too many membership changes above the commit");
        }
        membership::check(change)
    }

    /// An entry is added; what stood at its index and behind is gone.
    pub(crate) fn push_entry(&mut self, index: u64, term: u64) {
        if index <= self.last_index {
            let live = self.term_starts.partition_point(|(start, _)| *start < index);
            self.term_starts.truncate(live);
            self.memberships.retain(|membership| membership.index < index);
        }
        self.last_index = index;
        if self.term_starts.last().is_none_or(|(_, last)| *last != term) {
            self.term_starts.push((index, term));
        }
    }

    /// Hard state and membership are replaced. Comes after the entries of the same write.
    pub(crate) fn set(&mut self, hard_state: Option<HardState>, membership: Option<Membership>) {
        if let Some(membership) = membership {
            self.memberships.retain(|known| known.index != membership.index);
            self.memberships.push(membership);
        }
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state;
        }
        let commit = self.hard_state.commit;
        let committed = self.memberships.partition_point(|membership| membership.index <= commit);
        self.memberships.drain(..committed.saturating_sub(1));
    }

    /// The membership as of the commit, unless it is still the genesis.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.memberships.first().filter(|membership| membership.index <= self.hard_state.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Membership {
        Membership { index, ..Membership::default() }
    }

    #[test]
    fn memberships_follow_the_commit_and_fall_with_their_entries() {
        let mut state = LogState { first_index: 1, ..LogState::default() };
        (1..=9).for_each(|index| state.push_entry(index, 1 + index / 5));
        assert_eq!(state.term_starts, [(1, 1), (5, 2)]);
        state.set(None, Some(at(3)));
        assert_eq!(state.membership(), None);
        state.set(Some(HardState { term: 2, vote: 0, commit: 4 }), Some(at(8)));
        assert_eq!(state.membership(), Some(&at(3)));
        assert_eq!(state.memberships, [at(3), at(8)]);
        state.push_entry(7, 3);
        assert_eq!(state.memberships, [at(3)]);
        assert_eq!((state.last_index, state.last_term(), state.term(6), state.term(4)), (7, 3, 2, 1));
    }
}
