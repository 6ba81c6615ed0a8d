//! Snapshots in a simulated process: when they are taken, written beside everything else, sent and installed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Mutant;
use super::check::{Checker, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::process::Effect;
use super::queue::{Event, Life};
use super::replay::Replay;
use super::writer::{self, Armed, Trouble};
use crate::directory::Directory;
use crate::driver::Memberships;
use crate::log::{LogError, Recovered};
use crate::quarantine::Decisions;
use crate::replica::{Input, KeptSnapshot};
use crate::snapshot::{About, Done, Frozen, Job, Kept, SnapshotStore, Transfer, raise_commit};
use crate::transport::SnapshotName;
use crate::{ClusterId, FrozenState, NodeId, RaftId, StateKind};

/// How long one piece of work on the file of a snapshot takes, at most.
const JOB_MS_MAX: u64 = 5;

/// What a process does with snapshots.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) store: Arc<SnapshotStore>,
    pub(super) memberships: Memberships,
    transfer: Transfer,
    node: NodeId,
    life: Life,
    cluster: ClusterId,
    jobs: VecDeque<Job>,
    /// On its way to the disk.
    frozen: Option<Frozen>,
    /// The entry as of which the last one was taken.
    last_index: u64,
    /// What each follower asked for last.
    last_read: BTreeMap<RaftId, (SnapshotName, u64)>,
}

/// The state of the simulated model: what a snapshot holds of it.
pub(super) const STATE_KIND: StateKind = StateKind::Snapshot;

impl Snapshots {
    /// Looks at what is on the disk. Now and then the newest one has rotted there.
    pub(super) fn open(
        context: &mut Context,
        directory: &Directory,
        (node, life): (NodeId, Life),
        cluster: ClusterId,
        recovered: &mut Recovered,
        decisions: &Decisions,
    ) -> Result<Snapshots, LogError> {
        let path = directory.snapshots_path();
        raise_commit(&**directory.files(), &path, recovered, decisions)?;
        let covered = (recovered.first_index - 1, recovered.hard_state.commit);
        let rots = context.fault(context.options.snapshot_rot_per_mille);
        rot(context, directory, covered, rots)?;
        let (store, warnings) = SnapshotStore::open(directory.files().clone(), &path, covered)?;
        if !warnings.is_empty() {
            context.count(Fault::SnapshotDamaged);
        }
        let store = Arc::new(store);
        let memberships = Memberships::default();
        memberships.push(recovered.membership.clone());
        Ok(Snapshots {
            transfer: Transfer::new(store.clone()),
            last_index: store.kept().first().map_or(0, |kept| kept.name.index),
            store,
            memberships,
            node,
            life,
            cluster,
            jobs: VecDeque::new(),
            frozen: None,
            last_read: BTreeMap::new(),
        })
    }

    /// The newest one, as Raft has to know it.
    pub(super) fn newest(&self) -> Option<KeptSnapshot> {
        self.store.kept().into_iter().next().map(KeptSnapshot::from)
    }

    /// Whether one is arriving.
    pub(super) fn is_receiving(&self) -> bool {
        self.transfer.is_receiving()
    }

    /// What would be torn by a crash now.
    pub(super) fn count_crash(&self, context: &mut Context) {
        if self.frozen.is_some() {
            context.count(Fault::CrashWithSnapshotUnwritten);
        }
        if self.transfer.is_receiving() || self.jobs.iter().any(|job| matches!(job, Job::Installed(_))) {
            context.count(Fault::CrashWhileSnapshotArrives);
        }
    }

    /// Freezes the state between two batches, if it is time.
    pub(super) fn take_if_due(&mut self, context: &mut Context, checker: &mut Checker, replay: &Replay) {
        let every = context.options.snapshot_entries;
        let applier = &replay.applier;
        let enough = applier.index() >= self.last_index + every;
        if every == 0
            || self.frozen.is_some()
            // A tainted state is outside of what is promised: what it would do to others is not looked at.
            || replay.is_or_will_be_tainted()
            || replay.is_midway()
            || replay.is_fresh
            || replay.quarantine.is_outdated()
            || applier.index() <= self.last_index
            || !enough
        {
            return;
        }
        let Some(membership) = self.memberships.as_of(applier.index()) else { return };
        checker.froze(applier.index(), replay.shadow());
        let forgets = context.options.mutant == Some(Mutant::LeaveSessionsOutOfSnapshots);
        let about = About {
            cluster: self.cluster,
            index: applier.index(),
            term: applier.term(),
            position: applier.position(),
            digest: applier.digest(),
            taken_ms: context.now_ms,
            state_kind: STATE_KIND,
            membership,
            decisions: replay.quarantine.decisions().clone(),
        };
        let applier = if forgets { applier.without_sessions() } else { applier.clone() };
        let predictor = FrozenState::from_bytes(replay.model().to_bytes());
        self.frozen = Some(Frozen { about, applier, predictor });
        let wait_ms = context.up_to(context.options.snapshot_write_ms_max);
        context.after(wait_ms, Event::SnapshotWrite(self.node, self.life));
    }

    /// Writes the one that was frozen.
    pub(super) fn write(&mut self, context: &mut Context) -> Result<Vec<Effect>, LogError> {
        let Some(frozen) = self.frozen.take() else { return Ok(Vec::new()) };
        self.last_index = frozen.about.index;
        match self.store.write(frozen) {
            Ok(newest) => {
                context.count(Fault::SnapshotTaken);
                let cut_to = self.store.cut_to();
                Ok(vec![Effect::Input(Input::SnapshotTaken { newest: Box::new(newest.into()), cut_to })])
            }
            Err(error) if error.is_harmless() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Queues work on the file of a snapshot.
    pub(super) fn push(&mut self, context: &mut Context, job: Job) {
        if let Job::Read { to, snapshot, offset, .. } = &job
            && self.last_read.insert(*to, (*snapshot, *offset)) == Some((*snapshot, *offset))
        {
            context.count(Fault::SnapshotPieceAgain);
        }
        self.jobs.push_back(job);
        if self.jobs.len() == 1 {
            let wait_ms = context.up_to(JOB_MS_MAX);
            context.after(wait_ms, Event::SnapshotJob(self.node, self.life));
        }
    }

    /// Does the next piece of work. With it comes the snapshot that was installed.
    pub(super) fn work(&mut self, context: &mut Context) -> Result<(Vec<Effect>, Option<Kept>), Trouble> {
        let Some(job) = self.jobs.pop_front() else { return Ok((Vec::new(), None)) };
        let begins = matches!(job, Job::Begin(_));
        let done = self.transfer.carry_out(job)?;
        if !self.jobs.is_empty() {
            let wait_ms = context.up_to(JOB_MS_MAX);
            context.after(wait_ms, Event::SnapshotJob(self.node, self.life));
        }
        match done {
            Done::Tell(input) => {
                if begins && matches!(input, Input::SnapshotWritten { bytes: Some(1..), .. }) {
                    context.count(Fault::SnapshotResumed);
                }
                Ok((vec![Effect::Input(input)], None))
            }
            Done::Installed(Some(kept)) => {
                context.count(Fault::SnapshotInstalled);
                self.last_index = kept.name.index;
                self.frozen = None;
                Ok((Vec::new(), Some(kept)))
            }
            Done::Installed(None) => Err(Trouble::Wrong(Violation {
                invariant: "what is installed is there",
                what: format!("node {}", self.node),
            })),
        }
    }

    /// What a failed call to the disk means here.
    pub(super) fn failed(
        &self,
        context: &mut Context,
        armed: Option<Armed>,
        error: &dyn std::fmt::Display,
    ) -> Checked<Effect> {
        let armed = writer::judge(context, armed, error)?;
        Ok(Effect::Die(super::death::Death::of(armed)))
    }
}

/// Flips a bit of the newest snapshot, where there is an older one to fall back to.
fn rot(
    context: &mut Context,
    directory: &Directory,
    covered: (u64, u64),
    rots: bool,
) -> Result<(), LogError> {
    let (files, path) = (directory.files(), directory.snapshots_path());
    let known = crate::snapshot::list(&**files, &path)?;
    let usable: Vec<u64> =
        known.into_iter().filter(|index| (covered.0..=covered.1).contains(index)).collect();
    let (Some(newest), true, true) = (usable.first(), rots, usable.len() > 1) else { return Ok(()) };
    let path = crate::snapshot::path(&path, *newest);
    let file = files.open(&path).map_err(LogError::io("open", &path))?;
    let bytes = file.len().map_err(LogError::io("read", &path))?;
    let (at, mut byte) = (context.up_to(bytes.saturating_sub(1)), [0]);
    file.read_at(&mut byte, at).map_err(LogError::io("read", &path))?;
    file.write_at(&byte.map(|byte| byte ^ 1), at).map_err(LogError::io("write", &path))?;
    file.sync_data().map_err(LogError::io("sync", &path))
}
