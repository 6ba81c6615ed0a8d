//! What outlives a node's process: its log, its snapshots, and what it has to remember of requests that crash models. The files are
//! the real ones, on a disk in memory.

use std::path::Path;
use std::sync::Arc;

use boat_core::Membership;
use boat_core::apply::{Applier, SessionLimits};
use boat_core::log::files::{CallKind, Fault, SimFiles, read_file, write_file_atomically};
use boat_core::log::{Log, LogConfig, LogEntry, LogError, LogReader, LogWrite};
use boat_core::proof::{Carried, Snapshots};
use boat_core::quarantine::{Decisions, Quarantine};
use boat_core::replica::{KeptSnapshot, Output, ReplicaStart};

use super::model::Memory;

const LOG: &str = "data/log";
const SNAPSHOTS: &str = "data/snapshots";
const QUARANTINE: &str = "data/quarantine";
const QUARANTINE_BYTES_MAX: usize = 1 << 20;
/// What a loss of power tears, of all that was not synced.
const SEED: u64 = 5;

/// Everything that a snapshot holds of applier and model.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) applier: Applier,
    pub(crate) model: Memory,
}

/// One node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    files: SimFiles,
    founders: Membership,
    /// What the process has open.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    log: Log,
    reader: LogReader,
    snapshots: Snapshots,
}

impl Disk {
    /// The disk of a node that knows who founded its cluster, and nothing else.
    pub(crate) fn new(founders: Membership) -> Disk {
        Disk { files: SimFiles::new(), founders, open: None }
    }

    /// A disk with the same on it.
    pub(crate) fn copy(&self) -> Disk {
        Disk { files: self.files.copy(), founders: self.founders.clone(), open: None }
    }

    /// What the process had open is closed with it.
    pub(crate) fn close(&mut self) {
        self.open = None;
        self.files.kill();
    }

    /// The machine loses power.
    pub(crate) fn lose_power(&mut self) {
        self.open = None;
        self.files.crash(SEED);
    }

    /// The next sync of a file fails.
    pub(crate) fn fail_sync(&self) {
        self.files.fail(CallKind::SyncData, 0, Fault::Error);
    }

    /// Opens what is there: what a replica starts from.
    pub(crate) fn open(&mut self) -> Result<ReplicaStart, LogError> {
        self.close();
        let files = Arc::new(self.files.clone());
        let config = LogConfig { segment_bytes: 16 << 10, allocate_bytes: 4 << 10, ..LogConfig::default() };
        let (log, mut recovered) = Log::open(files.clone(), Path::new(LOG), config, self.founders.clone())?;
        let quarantine = self.quarantine();
        let snapshots = Snapshots::open(files, Path::new(SNAPSHOTS), &mut recovered, quarantine.decisions())?;
        let newest = snapshots.newest();
        self.open = Some(Open { reader: log.reader(), log, snapshots });
        Ok(ReplicaStart::of(recovered, newest))
    }

    fn opened(&self) -> &Open {
        self.open.as_ref().unwrap()
    }

    fn opened_mut(&mut self) -> &mut Open {
        self.open.as_mut().unwrap()
    }

    /// Writes to the log; what is not synced is lost with the power.
    pub(crate) fn write(&mut self, write: &LogWrite, sync: bool) -> Result<(), LogError> {
        let log = &mut self.opened_mut().log;
        log.append(write)?;
        if sync { log.sync(0) } else { log.flush() }
    }

    pub(crate) fn entry(&self, index: u64) -> Option<LogEntry> {
        let reader = &self.opened().reader;
        let is_there = (reader.first_index()..=reader.last_index()).contains(&index);
        is_there.then(|| self.entries(index, index + 1, u64::MAX).remove(0))
    }

    pub(crate) fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Vec<LogEntry> {
        // The log may have been cut meanwhile: then nothing is there.
        self.opened().reader.entries(low, high, bytes_max).unwrap_or_default()
    }

    /// Where the log begins: behind this entry.
    pub(crate) fn start_index(&self) -> u64 {
        self.opened().reader.first_index() - 1
    }

    /// Takes a snapshot.
    pub(crate) fn save(
        &self,
        saved: &Saved,
        membership: Membership,
        decisions: Decisions,
    ) -> Result<KeptSnapshot, LogError> {
        self.opened().snapshots.take(&saved.applier, membership, decisions, saved.model.to_bytes())
    }

    /// The entry of the oldest of two snapshots.
    pub(crate) fn oldest_snapshot(&self) -> u64 {
        self.opened().snapshots.cut_to()
    }

    /// What the newest snapshot holds.
    pub(crate) fn saved(&self) -> Option<Saved> {
        let (applier, model) = self.opened().snapshots.restore(SessionLimits::default()).unwrap()?;
        Some(Saved { applier, model: Memory::from_bytes(&model) })
    }

    /// Does what an output asks for, if it is about the file of a snapshot.
    pub(crate) fn carry_out(&mut self, output: Output) -> Result<Carried, LogError> {
        self.opened_mut().snapshots.carry_out(output)
    }

    pub(crate) fn keep(&mut self, quarantine: &Quarantine) {
        write_file_atomically(&self.files, Path::new(QUARANTINE), &quarantine.encode()).unwrap();
    }

    pub(crate) fn quarantine(&self) -> Quarantine {
        match read_file(&self.files, Path::new(QUARANTINE), QUARANTINE_BYTES_MAX) {
            Ok(bytes) => Quarantine::decode(&bytes).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Quarantine::new(),
            Err(error) => panic!("{error}"),
        }
    }
}
