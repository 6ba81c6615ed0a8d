//! What is done with the files of snapshots that go to other nodes and come from them.

use std::sync::Arc;

use bytes::Bytes;

use super::store::Kept;
use super::{Incoming, SnapshotName, SnapshotStore};
use crate::RaftId;
use crate::log::LogError;
use crate::log::files::File;
use crate::replica::{Input, KeptSnapshot, Output};

/// How many snapshots are kept open to be sent, though they may have been dropped meanwhile.
const OPEN_MAX: usize = 4;

/// Something to do with the file of a snapshot.
#[derive(Debug)]
pub(crate) enum Job {
    Read { to: RaftId, snapshot: SnapshotName, offset: u64, bytes: usize },
    Begin(SnapshotName),
    Write { snapshot: SnapshotName, offset: u64, bytes: Bytes },
    Finish(SnapshotName),
    Installed(KeptSnapshot),
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// The replica is to be told this.
    Tell(Input),
    /// The applier goes on from this snapshot; `None`: it is gone.
    Installed(Option<Kept>),
}

impl Job {
    /// What an output asks for, if it is about the file of a snapshot.
    pub(crate) fn of(output: Output) -> Option<Job> {
        Some(match output {
            Output::ReadSnapshot { to, snapshot, offset, bytes } => Job::Read { to, snapshot, offset, bytes },
            Output::BeginSnapshot(snapshot) => Job::Begin(snapshot),
            Output::WriteSnapshot { snapshot, offset, bytes } => Job::Write { snapshot, offset, bytes },
            Output::FinishSnapshot(snapshot) => Job::Finish(snapshot),
            Output::Installed(kept) => Job::Installed(*kept),
            _ => return None,
        })
    }
}

/// Reads the parts of snapshots that go out, and writes those that come in.
#[derive(Debug)]
pub(crate) struct Transfer {
    store: Arc<SnapshotStore>,
    /// The snapshots that were read last.
    open: Vec<(SnapshotName, Arc<dyn File>)>,
    incoming: Option<(SnapshotName, Incoming)>,
}

impl Transfer {
    pub(crate) fn new(store: Arc<SnapshotStore>) -> Self {
        Transfer { store, open: Vec::new(), incoming: None }
    }

    /// Whether a snapshot is arriving.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_receiving(&self) -> bool {
        self.incoming.is_some()
    }

    /// Does one job.
    ///
    /// # Errors
    /// [`LogError::Io`]: the node must stop.
    pub(crate) fn carry_out(&mut self, job: Job) -> Result<Done, LogError> {
        Ok(Done::Tell(match job {
            Job::Read { to, snapshot, offset, bytes } => {
                let bytes = self.read(snapshot, offset, bytes);
                Input::SnapshotRead { to, snapshot, offset, bytes }
            }
            Job::Begin(snapshot) => {
                self.incoming = None;
                let begun = unless_full(Incoming::begin(&self.store, snapshot))?;
                let bytes = begun.as_ref().map(Incoming::bytes);
                self.incoming = begun.map(|incoming| (snapshot, incoming));
                Input::SnapshotWritten { snapshot, bytes }
            }
            Job::Write { snapshot, offset, bytes } => {
                Input::SnapshotWritten { snapshot, bytes: self.write(snapshot, offset, &bytes)? }
            }
            Job::Finish(snapshot) => {
                Input::SnapshotFinished { snapshot, kept: self.finish(snapshot)?.map(Box::new) }
            }
            Job::Installed(kept) => return Ok(Done::Installed(self.store.installed(kept.name.index)?)),
        }))
    }

    /// A part of a snapshot; `None` if it is not there any more, or cannot be read: then another one is offered.
    fn read(&mut self, snapshot: SnapshotName, offset: u64, bytes: usize) -> Option<Bytes> {
        let known = self.open.iter().position(|(name, _)| *name == snapshot);
        let (_, file) = match known {
            Some(place) => self.open.remove(place),
            None => {
                let newest = self.store.kept().into_iter().find(|kept| kept.name == snapshot)?;
                (snapshot, self.store.file(newest.name.index).ok()?)
            }
        };
        let mut buffer = vec![0; bytes];
        let read = file.read_at(&mut buffer, offset);
        self.open.insert(0, (snapshot, file));
        self.open.truncate(OPEN_MAX);
        (read.ok()? == bytes).then(|| buffer.into())
    }

    fn write(&mut self, snapshot: SnapshotName, offset: u64, bytes: &[u8]) -> Result<Option<u64>, LogError> {
        let incoming = self.incoming.as_mut().filter(|(name, _)| *name == snapshot);
        let Some((_, incoming)) = incoming else { return Ok(None) };
        let written = unless_full(incoming.put(offset, bytes))?;
        Ok(written.map(|()| incoming.bytes()))
    }

    fn finish(&mut self, snapshot: SnapshotName) -> Result<Option<KeptSnapshot>, LogError> {
        let Some((_, incoming)) = self.incoming.take().filter(|(name, _)| *name == snapshot) else {
            return Ok(None);
        };
        match incoming.finish(&self.store) {
            Ok(about) => Ok(Some(Kept { name: snapshot, about }.into())),
            Err(error) if error.is_damage() => {
                log::warn!("a snapshot arrived damaged, and is asked for again: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl From<Kept> for KeptSnapshot {
    fn from(Kept { name, about }: Kept) -> Self {
        KeptSnapshot { name, membership: about.membership, decisions: about.decisions }
    }
}

/// A full disk ends a transfer, not the node.
fn unless_full<T>(result: Result<T, LogError>) -> Result<Option<T>, LogError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_harmless() => Ok(None),
        Err(error) => Err(error),
    }
}
