//! What the driver, the applier and the handles know of each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::feed::Feed;
use super::inbox::Inbox;
use super::lane::Lanes;
use super::memberships::Memberships;
use super::queries::Queries;
use super::waiters::Waiters;
use super::wellbeing::Wellbeing;
use crate::digest::Digest;
use crate::event::{EventSender, NodeEvent};
use crate::replica::{OutsideView, Replica};
use crate::snapshot::Kept;
use crate::{Alarm, BackendStatus, Error, Genesis, Membership, NodeId, Phase, ReplayProgress};

/// Consensus as the driver last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ConsensusView {
    pub(crate) leader: Option<NodeId>,
    pub(crate) is_leader: bool,
    pub(crate) is_member: bool,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) membership: Membership,
    pub(crate) connected: Vec<NodeId>,
    pub(crate) waiting_for: Vec<NodeId>,
    pub(crate) cluster: Option<crate::ClusterId>,
    /// What this node was told while it is outside the membership.
    pub(crate) outside: Option<OutsideView>,
    /// An index at which a leader was heard to have committed in its own term: once applied, nothing older is missing.
    pub(crate) caught_up_index: Option<u64>,
}

/// What was applied, as the applier last saw it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AppliedView {
    pub(crate) index: u64,
    pub(crate) position: u64,
    pub(crate) digest: Digest,
    pub(crate) sessions: usize,
    pub(crate) key_table_full: bool,
}

/// The newest snapshot, as it was last known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SnapshotView {
    pub(crate) index: u64,
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    pub(crate) taken_ms: u64,
}

/// How a node ended: `None` after a shutdown.
pub(crate) type Ended = Option<Arc<Error>>;

/// Shared by all parts of a node.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) inbox: Inbox,
    pub(crate) waiters: Waiters,
    pub(crate) queries: Queries,
    pub(crate) feed: Feed,
    pub(super) lanes: Lanes,
    pub(crate) wellbeing: Wellbeing,
    consensus: Mutex<ConsensusView>,
    applied: Mutex<AppliedView>,
    backend: Mutex<BackendStatus>,
    replay: Mutex<Option<ReplayProgress>>,
    snapshot: Mutex<Option<SnapshotView>>,
    pub(crate) memberships: Memberships,
    sessions: Mutex<BTreeMap<u64, u64>>,
    pub(crate) stopping: AtomicBool,
    /// Whether less than the reserve is free on the disk: nothing new is accepted.
    pub(crate) disk_full: AtomicBool,
    /// Whether the applier has its predictor and is past the index to catch up to.
    pub(crate) replayed: AtomicBool,
    /// Changes whenever the phase may have.
    changes: watch::Sender<u64>,
    ended: watch::Sender<Option<Ended>>,
    pub(crate) events: EventSender,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Views are replaced whole, so they are sound whatever their holder panicked of.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(node: NodeId, waiters: Waiters, queries: Queries) -> Self {
        Shared {
            node,
            inbox: Inbox::default(),
            waiters,
            queries,
            feed: Feed::default(),
            lanes: Lanes::default(),
            wellbeing: Wellbeing::default(),
            consensus: Mutex::default(),
            applied: Mutex::default(),
            backend: Mutex::new(BackendStatus { healthy: false, error: None, rebuilds: 0 }),
            replay: Mutex::default(),
            snapshot: Mutex::default(),
            memberships: Memberships::default(),
            sessions: Mutex::default(),
            stopping: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            replayed: AtomicBool::new(false),
            changes: watch::Sender::new(0),
            ended: watch::Sender::new(None),
            events: EventSender::default(),
        }
    }

    pub(crate) fn consensus(&self) -> ConsensusView {
        lock(&self.consensus).clone()
    }

    /// Replaces the view when it differs, and wakes those who wait for a change.
    pub(crate) fn set_consensus(&self, update: impl FnOnce(&mut ConsensusView)) {
        let mut view = lock(&self.consensus);
        let before = view.clone();
        update(&mut view);
        if *view != before {
            drop(view);
            self.changed();
        }
    }

    /// Publishes what the driver sees now; cheap when nothing changed.
    pub(crate) fn publish_consensus(&self, replica: &Replica, genesis: &Genesis) {
        let mut view = lock(&self.consensus);
        view.commit = replica.commit();
        let leader = replica.leader();
        let same = view.leader == leader
            && view.term == replica.term()
            && view.membership.index == replica.membership().index
            && view.cluster.is_some()
            && view.outside.as_ref() == replica.outside()
            && view.connected.iter().eq(replica.connected())
            && view.caught_up_index.is_some();
        if same {
            return;
        }
        if view.leader != leader {
            match leader {
                Some(leader) => {
                    log::info!("node {}: node {leader} leads in term {}", self.node, replica.term())
                }
                None => log::info!("node {}: nobody leads in term {}", self.node, replica.term()),
            }
        }
        if view.leader != leader {
            self.events.tell(NodeEvent::Leader { leader, term: replica.term() });
        }
        view.leader = leader;
        view.is_leader = replica.is_leader();
        view.is_member = replica.is_member();
        view.term = replica.term();
        view.outside = replica.outside().cloned();
        view.connected = replica.connected().iter().copied().collect();
        view.cluster = Some(genesis.cluster);
        if view.membership.index != replica.membership().index || view.membership.members.is_empty() {
            view.membership = replica.membership().clone();
        }
        let first = view.caught_up_index.is_none();
        if first {
            view.caught_up_index = replica.caught_up_index();
        }
        let found = first && view.caught_up_index.is_some();
        drop(view);
        if found {
            // The applier may be waiting for entries with nothing left to apply: let it look again.
            self.feed.look_again();
        }
        self.changed();
    }

    pub(crate) fn caught_up_index(&self) -> Option<u64> {
        lock(&self.consensus).caught_up_index
    }

    pub(crate) fn applied(&self) -> AppliedView {
        *lock(&self.applied)
    }

    pub(crate) fn set_applied(&self, view: AppliedView) {
        *lock(&self.applied) = view;
    }

    pub(crate) fn backend(&self) -> BackendStatus {
        lock(&self.backend).clone()
    }

    pub(crate) fn set_backend(&self, update: impl FnOnce(&mut BackendStatus)) {
        update(&mut lock(&self.backend));
        self.changed();
    }

    /// The secret of an open session, as of what was applied here.
    pub(crate) fn session_secret(&self, session: u64) -> Option<u64> {
        lock(&self.sessions).get(&session).copied()
    }

    pub(crate) fn set_session_secrets(&self, secrets: BTreeMap<u64, u64>) {
        *lock(&self.sessions) = secrets;
    }

    pub(crate) fn replay(&self) -> Option<ReplayProgress> {
        *lock(&self.replay)
    }

    pub(crate) fn set_replay(&self, progress: Option<ReplayProgress>) {
        *lock(&self.replay) = progress;
        if let Some(progress) = progress {
            self.events.tell(NodeEvent::Replay(progress));
        }
        self.changed();
    }

    pub(crate) fn snapshot(&self) -> Option<SnapshotView> {
        *lock(&self.snapshot)
    }

    pub(crate) fn set_snapshot(&self, kept: Option<&Kept>) {
        *lock(&self.snapshot) = kept.map(|kept| SnapshotView {
            index: kept.name.index,
            position: kept.about.position,
            bytes: kept.name.bytes,
            taken_ms: kept.about.taken_ms,
        });
    }

    /// There is another snapshot on the disk: taken here, or received.
    pub(crate) fn tell_snapshot(&self, kept: &Kept, received: bool) {
        self.set_snapshot(Some(kept));
        let (position, bytes) = (kept.about.position, kept.name.bytes);
        self.events.tell(NodeEvent::Snapshot { position, bytes, received });
    }

    pub(crate) fn changed(&self) {
        self.events.compare(|| (self.phase(), self.alarms()));
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What the node is doing.
    pub(crate) fn phase(&self) -> Phase {
        let view = self.consensus();
        if self.stopping.load(Ordering::Acquire) {
            Phase::Stopping
        } else if view.cluster.is_none() {
            Phase::Founding { waiting_for: view.waiting_for }
        } else if !view.is_member {
            match view.outside {
                Some(OutsideView { place_held_at, joins_by_itself: false }) => {
                    Phase::NotAdded { place_held_at }
                }
                _ => Phase::Joining,
            }
        } else if view.leader.is_none() {
            if self.applied().index < view.commit { Phase::Replaying } else { Phase::Electing }
        } else if self.wellbeing.stays_diverged() {
            Phase::Diverged
        } else if !self.replayed.load(Ordering::Acquire) {
            Phase::Replaying
        } else {
            Phase::Ready
        }
    }

    /// What a person should look at.
    pub(crate) fn alarms(&self) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        if self.disk_full.load(Ordering::Acquire) {
            alarms.push(Alarm::DiskFull);
        }
        if !self.backend().healthy && self.consensus().cluster.is_some() {
            alarms.push(Alarm::BackendUnhealthy);
        }
        let health = self.wellbeing.health();
        let others = [
            (Alarm::RequestHeld, !health.held_positions.is_empty()),
            (Alarm::QuarantineBlocked, !health.quarantine_waits_for.is_empty()),
            (Alarm::Diverged, self.wellbeing.is_diverged()),
            (Alarm::DigestsDisagree, self.wellbeing.digests_disagree()),
        ];
        alarms.extend(others.iter().filter(|(_, raised)| *raised).map(|(alarm, _)| *alarm));
        alarms
    }

    /// Takes nothing more, and tells everybody who still waits that the node stops.
    pub(crate) fn close(&self) {
        self.waiters.close();
        self.queries.close();
    }

    /// The node has ended; only the first reason counts.
    pub(crate) fn end(&self, ended: Ended) {
        self.stopping.store(true, Ordering::Release);
        self.ended.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(ended);
            }
            first
        });
        self.changed();
        self.events.end();
    }

    pub(crate) fn ended(&self) -> watch::Receiver<Option<Ended>> {
        self.ended.subscribe()
    }
}
