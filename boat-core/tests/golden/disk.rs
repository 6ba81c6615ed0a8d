//! What outlives a node's process.

use boat_core::Membership;
use boat_core::log::{HardState, LogEntry, LogStart, LogWrite};
use boat_core::quarantine::Quarantine;
use boat_core::replica::{KeptSnapshot, ReplicaStart};

/// One node's disk, which keeps what was written in order and at once, unless it hangs.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    start: LogStart,
    entries: Vec<LogEntry>,
    hard_state: HardState,
    membership: Membership,
    pub(crate) snapshot: Option<KeptSnapshot>,
    quarantine: Vec<u8>,
}

impl Disk {
    /// The disk of a node that knows who founded its cluster, and nothing else.
    pub(crate) fn new(founders: Membership) -> Disk {
        Disk {
            start: LogStart::default(),
            entries: Vec::new(),
            hard_state: HardState::default(),
            membership: founders,
            snapshot: None,
            quarantine: Quarantine::new().encode(),
        }
    }

    pub(crate) fn write(&mut self, write: LogWrite) {
        if let Some(start) = write.start {
            let held = self.entry(start.index).is_some_and(|entry| entry.term == start.term);
            let cut = if held { (start.index - self.start.index) as usize } else { self.entries.len() };
            self.entries.drain(..cut);
            self.start = start;
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate((first.index - self.start.index) as usize - 1);
            self.entries.extend(write.entries);
        }
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        self.membership = write.membership.unwrap_or_else(|| self.membership.clone());
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&LogEntry> {
        let behind = index.checked_sub(self.start.index)?;
        self.entries.get((behind as usize).checked_sub(1)?)
    }

    pub(crate) fn entries(&self, low: u64, high: u64) -> Vec<LogEntry> {
        (low..high).map_while(|index| self.entry(index).cloned()).collect()
    }

    /// Where the log begins: behind this entry.
    pub(crate) fn start(&self) -> LogStart {
        self.start
    }

    pub(crate) fn committed(&self) -> u64 {
        self.hard_state.commit
    }

    /// What a replica starts from.
    pub(crate) fn replica_start(&self) -> ReplicaStart {
        let mut term_starts: Vec<(u64, u64)> = Vec::new();
        let before = (self.start.index > 0).then_some((self.start.index, self.start.term));
        for (index, term) in before.into_iter().chain(self.entries.iter().map(|e| (e.index, e.term))) {
            if term_starts.last().is_none_or(|(_, last)| *last != term) {
                term_starts.push((index, term));
            }
        }
        let is_behind = |entry: &&LogEntry| entry.index > self.hard_state.commit;
        ReplicaStart {
            hard_state: self.hard_state,
            membership: self.membership.clone(),
            start: self.start,
            snapshot: self.snapshot.clone(),
            term_starts,
            last_index: self.start.index + self.entries.len() as u64,
            tail: self.entries.iter().filter(is_behind).cloned().collect(),
        }
    }

    pub(crate) fn keep(&mut self, quarantine: &Quarantine) {
        self.quarantine = quarantine.encode();
    }

    pub(crate) fn quarantine(&self) -> Quarantine {
        Quarantine::decode(&self.quarantine).unwrap()
    }
}
