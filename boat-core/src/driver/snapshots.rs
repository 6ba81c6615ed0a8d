//! Taking snapshots: when, and by whom they are written while the applier goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::shared::Shared;
use super::{Event, wall_ms};
use crate::apply::Applier;
use crate::replica::{Input, KeptSnapshot};
use crate::snapshot::{About, Frozen, Kept, SnapshotStore};
use crate::{ClusterId, FrozenState, StateKind};

/// The thread that writes snapshots. [`SnapshotThread::finish`] ends it.
#[derive(Debug)]
pub(crate) struct SnapshotThread {
    /// `None` ends the thread.
    frozen: SyncSender<Option<Frozen>>,
    /// Whether one is being written.
    busy: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    pub(crate) fn start(store: Arc<SnapshotStore>, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (frozen, to_write) = sync_channel::<Option<Frozen>>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let (name, is_busy) = (format!("boat-{}-snapshot", shared.node), busy.clone());
        #[expect(
            clippy::disallowed_methods,
            reason = "the applier must not wait for a snapshot to be written"
        )]
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while let Ok(Some(frozen)) = to_write.recv() {
                let index = frozen.about.index;
                let written = store.write(frozen);
                is_busy.store(false, Ordering::Release);
                match written {
                    Ok(newest) => tell_taken(&store, &shared, newest),
                    Err(error) if error.is_harmless() => {
                        log::warn!("node {}: no snapshot as of entry {index}: {error}", shared.node);
                    }
                    Err(error) => return shared.inbox.push(Event::StorageFailed(error.to_string())),
                }
            }
        })?;
        Ok(SnapshotThread { frozen, busy, thread: Some(thread) })
    }

    /// Ends the thread, once what it is writing is written.
    pub(crate) fn finish(&mut self) {
        // When the thread is gone, why is in the inbox.
        let _ = self.frozen.send(None);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the snapshot thread panicked");
        }
    }
}

/// The applier's side: decides when a snapshot is due, and hands it to the thread that writes it.
#[derive(Debug, Clone)]
pub(crate) struct Taking {
    pub(crate) store: Arc<SnapshotStore>,
    shared: Arc<Shared>,
    cluster: ClusterId,
    state_kind: StateKind,
    /// The bytes of log that must have been applied since the last one.
    log_bytes_min: u64,
    log_bytes: u64,
    frozen: SyncSender<Option<Frozen>>,
    busy: Arc<AtomicBool>,
}

impl Taking {
    pub(crate) fn new(
        thread: &SnapshotThread,
        store: Arc<SnapshotStore>,
        shared: Arc<Shared>,
        cluster: ClusterId,
        state_kind: StateKind,
        log_bytes_min: u64,
    ) -> Taking {
        let (frozen, busy) = (thread.frozen.clone(), thread.busy.clone());
        Taking { store, shared, cluster, state_kind, log_bytes_min, log_bytes: 0, frozen, busy }
    }

    /// What snapshots of this predictor say they are of.
    pub(crate) fn state_kind(&self) -> StateKind {
        self.state_kind
    }

    /// So many bytes of log were applied.
    pub(crate) fn applied(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    /// The applier goes on from a snapshot, or from the first entry.
    pub(crate) fn begun(&mut self) {
        self.log_bytes = 0;
    }

    /// Whether a snapshot should be taken now: enough was applied since the last one, at least as much as the last one took,
    /// and none is being written.
    pub(crate) fn is_due(&self, applier: &Applier) -> bool {
        let newest = self.store.newest().unwrap_or_default();
        let enough = self.log_bytes >= self.log_bytes_min.max(newest.bytes);
        self.state_kind != StateKind::Replay
            && enough
            && applier.index() > newest.index
            && !self.busy.load(Ordering::Acquire)
            && self.shared.wellbeing.is_trusted()
            && self.shared.memberships.as_of(applier.index()).is_some()
    }

    /// Hands the state over to be written.
    pub(crate) fn write(&mut self, applier: &Applier, predictor: FrozenState) {
        let Some(membership) = self.shared.memberships.as_of(applier.index()) else { return };
        let about = About {
            cluster: self.cluster,
            index: applier.index(),
            term: applier.term(),
            position: applier.position(),
            digest: applier.digest(),
            taken_ms: wall_ms(),
            state_kind: self.state_kind,
            membership,
            decisions: self.shared.wellbeing.decisions(),
        };
        self.log_bytes = 0;
        self.busy.store(true, Ordering::Release);
        let frozen = Frozen { about, applier: applier.clone(), predictor };
        // One that is written now makes the next wait; a thread that has ended said why.
        if self.frozen.try_send(Some(frozen)).is_err() {
            self.busy.store(false, Ordering::Release);
        }
    }
}

/// Tells Raft of a snapshot, and up to where the log is needed no more.
fn tell_taken(store: &SnapshotStore, shared: &Shared, newest: Kept) {
    let cut_to = store.cut_to();
    log::info!(
        "node {}: took a snapshot as of position {}, {} bytes",
        shared.node,
        newest.about.position,
        newest.name.bytes
    );
    shared.tell_snapshot(&newest, false);
    shared
        .inbox
        .push(Event::Snapshot(Box::new(Input::SnapshotTaken { newest: Box::new(newest.into()), cut_to })));
}

/// The snapshot that others can be sent, as Raft has to know it.
pub(crate) fn newest(store: &SnapshotStore) -> Option<KeptSnapshot> {
    store.kept().into_iter().next().map(KeptSnapshot::from)
}
