//! What a log should hold: a vector and two fields.

use boat_core::Membership;
use boat_core::log::{HardState, Log, LogEntry, LogError, LogWrite, Recovered};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Model {
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) hard_state: HardState,
    pub(crate) memberships: Vec<Membership>,
}

impl Model {
    pub(crate) fn apply(&mut self, write: &LogWrite) {
        if let Some(first) = write.entries.first() {
            self.entries.truncate(first.index as usize - 1);
            self.memberships.retain(|membership| membership.index < first.index);
            self.entries.extend_from_slice(&write.entries);
        }
        self.memberships.extend(write.membership.clone());
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn term(&self, index: u64) -> u64 {
        (index as usize).checked_sub(1).and_then(|at| self.entries.get(at)).map_or(0, |entry| entry.term)
    }

    fn membership(&self) -> Membership {
        let mut committed =
            self.memberships.iter().filter(|membership| membership.index <= self.hard_state.commit);
        committed.next_back().cloned().unwrap_or_default()
    }

    fn term_starts(&self) -> Vec<(u64, u64)> {
        let mut starts: Vec<(u64, u64)> = Vec::new();
        for entry in &self.entries {
            if starts.last().is_none_or(|(_, term)| *term != entry.term) {
                starts.push((entry.index, entry.term));
            }
        }
        starts
    }

    /// Whether an opened log is this.
    pub(crate) fn is(&self, recovered: &Recovered, entries: &[LogEntry]) -> bool {
        let latest = self.memberships.last().filter(|latest| latest.index > self.hard_state.commit);
        self.entries == entries
            && self.hard_state == recovered.hard_state
            && self.membership() == recovered.membership
            && latest == recovered.membership_latest.as_ref()
            && self.term_starts() == recovered.term_starts
            && self.last_index() == recovered.last_index
            && self.term(self.last_index()) == recovered.last_term
            && self.entries.get(self.hard_state.commit as usize..) == Some(&recovered.tail)
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
