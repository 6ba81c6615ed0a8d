//! The snapshots of one node, in files.

use std::path::Path;
use std::sync::Arc;

use crate::apply::{Applier, SessionLimits};
use crate::log::files::Files;
use crate::log::{LogError, Recovered};
use crate::quarantine::Decisions;
use crate::replica::{Input, KeptSnapshot, Output};
use crate::snapshot::{About, Done, Frozen, Job, SnapshotStore, Transfer, raise_commit};
use crate::{ClusterId, FrozenState, Membership, StateKind};

/// What became of an output that is about the file of a snapshot.
#[derive(Debug)]
pub enum Carried {
    /// It is not about one.
    Nothing,
    /// The replica is to be told this.
    Tell(Box<Input>),
    /// The applier goes on from this snapshot.
    Installed,
}

/// The snapshots in one directory.
#[derive(Debug)]
pub struct Snapshots {
    store: Arc<SnapshotStore>,
    transfer: Transfer,
}

impl Snapshots {
    /// Looks at what is in `directory`, beside a log that was just opened: its commit is raised to what snapshots prove.
    ///
    /// # Errors
    /// Those of the node's own start.
    pub fn open(
        files: Arc<dyn Files>,
        directory: &Path,
        recovered: &mut Recovered,
        decisions: &Decisions,
    ) -> Result<Snapshots, LogError> {
        raise_commit(&*files, directory, recovered, decisions)?;
        let covered = (recovered.first_index - 1, recovered.hard_state.commit);
        let (store, _) = SnapshotStore::open(files, directory, covered)?;
        let store = Arc::new(store);
        Ok(Snapshots { transfer: Transfer::new(store.clone()), store })
    }

    /// The newest one, as a replica has to know it.
    pub fn newest(&self) -> Option<KeptSnapshot> {
        self.store.kept().into_iter().next().map(KeptSnapshot::from)
    }

    /// Up to where the log may be cut: behind the older of two; 0 while there is no more than one.
    pub fn cut_to(&self) -> u64 {
        self.store.cut_to()
    }

    /// Writes a snapshot of an applier and the model behind it.
    ///
    /// # Errors
    /// [`LogError::Io`]: the node must stop.
    pub fn take(
        &self,
        applier: &Applier,
        membership: Membership,
        decisions: Decisions,
        model: Vec<u8>,
    ) -> Result<KeptSnapshot, LogError> {
        let about = About {
            cluster: ClusterId(1),
            index: applier.index(),
            term: applier.term(),
            position: applier.position(),
            digest: applier.digest(),
            taken_ms: 0,
            state_kind: StateKind::Snapshot,
            membership,
            decisions,
        };
        let predictor = FrozenState::from_bytes(model);
        let kept = self.store.write(Frozen { about, applier: applier.clone(), predictor })?;
        Ok(kept.into())
    }

    /// Does what an output asks for, if it is about the file of a snapshot.
    ///
    /// # Errors
    /// [`LogError::Io`]: the node must stop.
    pub fn carry_out(&mut self, output: Output) -> Result<Carried, LogError> {
        let Some(job) = Job::of(output) else { return Ok(Carried::Nothing) };
        Ok(match self.transfer.carry_out(job)? {
            Done::Tell(input) => Carried::Tell(Box::new(input)),
            Done::Installed(Some(_)) => Carried::Installed,
            Done::Installed(None) => Carried::Nothing,
        })
    }

    /// Reads the newest one: the applier's state and the model's.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub fn restore(&self, limits: SessionLimits) -> Result<Option<(Applier, Vec<u8>)>, LogError> {
        let Some(newest) = self.store.newest() else { return Ok(None) };
        self.store.reader(newest.index)?.states(limits).map(Some)
    }
}
