//! What a log should hold: a vector and two fields.

use boat_core::Membership;
use boat_core::log::{HardState, Log, LogEntry, LogError, LogStart, LogWrite, Recovered};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    /// The entry before the first.
    pub(crate) start: LogStart,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) hard_state: HardState,
    pub(crate) memberships: Vec<Membership>,
}

impl Model {
    pub(crate) fn apply(&mut self, write: &LogWrite) {
        if let Some(start) = write.start {
            let goes_on = start.index <= self.last_index() && self.term(start.index) == start.term;
            match goes_on {
                true => drop(self.entries.drain(..(start.index - self.start.index) as usize)),
                false => (self.entries, self.memberships) = (Vec::new(), Vec::new()),
            }
            self.start = start;
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate((first.index - 1 - self.start.index) as usize);
            self.memberships.retain(|membership| membership.index < first.index);
            self.entries.extend_from_slice(&write.entries);
        }
        self.memberships.extend(write.membership.clone());
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }

    pub(crate) fn term(&self, index: u64) -> u64 {
        match index.checked_sub(self.start.index) {
            Some(0) => self.start.term,
            Some(at) => self.entries.get(at as usize - 1).map_or(0, |entry| entry.term),
            None => panic!("{index} was cut off"),
        }
    }

    fn membership(&self) -> Membership {
        let mut committed =
            self.memberships.iter().filter(|membership| membership.index <= self.hard_state.commit);
        committed.next_back().cloned().unwrap_or_default()
    }

    fn term_starts(&self) -> Vec<(u64, u64)> {
        let mut starts: Vec<(u64, u64)> = Vec::new();
        for entry in &self.entries {
            let before = if starts.is_empty() { self.start.term } else { starts[starts.len() - 1].1 };
            if entry.term != before {
                starts.push((entry.index, entry.term));
            }
        }
        starts
    }

    /// Of a log that was cut, the first one tells the term of what is before it, from wherever that began.
    fn are_term_starts(&self, found: &[(u64, u64)]) -> bool {
        if self.start.index == 0 {
            return self.term_starts() == found;
        }
        let Some(((first, term), rest)) = found.split_first() else { return false };
        *first <= self.start.index && *term == self.start.term && self.term_starts() == rest
    }

    /// Whether an opened log is this.
    pub(crate) fn is(&self, recovered: &Recovered, entries: &[LogEntry]) -> bool {
        let latest = self.memberships.last().filter(|latest| latest.index > self.hard_state.commit);
        self.entries == entries
            && self.hard_state == recovered.hard_state
            && self.membership() == recovered.membership
            && latest == recovered.membership_latest.as_ref()
            && self.are_term_starts(&recovered.term_starts)
            && self.start.index + 1 == recovered.first_index
            && self.last_index() == recovered.last_index
            && self.term(self.last_index()) == recovered.last_term
            && self.entries.get((self.hard_state.commit - self.start.index) as usize..)
                == Some(&recovered.tail)
    }
}

/// Everything that a log holds, read by a scan.
pub(crate) fn scan_all(log: &Log) -> Result<Vec<LogEntry>, LogError> {
    let reader = log.reader();
    let mut scan = reader.scan(reader.first_index(), reader.last_index() + 1)?;
    let (mut all, mut block) = (Vec::new(), Vec::new());
    while scan.next_block(&mut block)? {
        all.append(&mut block);
    }
    Ok(all)
}
