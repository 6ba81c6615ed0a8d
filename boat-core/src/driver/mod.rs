//! What surrounds the replica in production: the driver, which owns it and is stepped by one thread at a time, the thread that
//! syncs the log, and the thread that applies. Clocks and threads live here and nowhere else (design D1).

mod addresses;
mod apply_loop;
mod aside;
mod asking;
mod carry_out;
mod event;
mod feed;
mod fetch_thread;
mod found;
mod free_space;
mod help;
mod inbox;
mod keeper;
mod lane;
mod log_thread;
mod mailbox;
mod memberships;
mod progress;
mod queries;
mod reception;
mod restore;
mod shared;
mod snapshots;
mod transfer_thread;
mod turn;
mod waiters;
mod wellbeing;
mod whereabouts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use self::addresses::Addresses;
pub(crate) use self::apply_loop::ApplyLoop;
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::asking::Asking;
pub(crate) use self::event::Event;
use self::fetch_thread::FetchThread;
pub(crate) use self::found::Launch;
pub(crate) use self::help::Promise;
pub(crate) use self::inbox::Offered;
use self::log_thread::{LogThread, Write};
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::memberships::Memberships;
pub(crate) use self::queries::{Queries, Told, Work};
pub(crate) use self::reception::FrontDesk;
pub(crate) use self::shared::Shared;
use self::snapshots::SnapshotThread;
use self::transfer_thread::TransferThread;
pub(crate) use self::waiters::{Known, Reply, Waiters};
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::whereabouts::Whereabouts;
use crate::log::LogError;
use crate::replica::{Fatal, OperationResult, Output, Replica, RequestId};
use crate::transport::PeerLinks;
use crate::{Birth, Error, Genesis, MemberList, OperationToken};

/// What the driver is told about its surroundings.
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) links: Arc<dyn PeerLinks>,
    pub(crate) desk: Arc<FrontDesk>,
    pub(crate) genesis: Genesis,
    pub(crate) birth: Birth,
    pub(crate) members: MemberList,
    pub(crate) tick: Duration,
    pub(crate) leader_wait: Duration,
}

/// The driver: owns the replica. A turn takes what is there, steps, and carries out. Turns are taken by the driver's thread or by
/// whoever hands something in.
pub(crate) struct Driver {
    around: Surroundings,
    replica: Replica,
    log: LogThread,
    /// What the replica wants written, until it is given to the log.
    writes: Vec<Write>,
    /// Whether somebody was told of a failure since the last look at who waits.
    failed: bool,
    fetch: FetchThread,
    transfer: TransferThread,
    snapshots: SnapshotThread,
    leave_verdict: Option<tokio::sync::oneshot::Sender<Option<bool>>>,
    /// Who waits for which operation. As bounded as the replica's.
    operators: BTreeMap<OperationToken, Vec<tokio::sync::oneshot::Sender<OperationResult>>>,
    addresses: Addresses,
    stop: Option<Instant>,
    /// Whether a tick has passed since the node's health was published.
    has_ticked: bool,
    /// The wall clock at this turn's beginning.
    wall_ms: u64,
    /// Empty between turns; kept for their room.
    events: VecDeque<Event>,
    answered: Vec<RequestId>,
    outputs: Vec<Output>,
    /// How it ended, until that is told.
    ended: Option<Result<(), Error>>,
}

impl Driver {
    pub(crate) fn new(
        around: Surroundings,
        replica: Replica,
        log: LogThread,
        fetch: FetchThread,
        (transfer, snapshots): (TransferThread, SnapshotThread),
    ) -> Self {
        let addresses = Addresses::new(around.shared.node, &around.members);
        Driver {
            around,
            replica,
            log,
            writes: Vec::new(),
            failed: false,
            fetch,
            transfer,
            snapshots,
            leave_verdict: None,
            operators: BTreeMap::new(),
            addresses,
            stop: None,
            has_ticked: false,
            wall_ms: wall_ms(),
            events: VecDeque::new(),
            answered: Vec::new(),
            outputs: Vec::new(),
            ended: None,
        }
    }

    /// Runs until the node stops. Everybody who waits has been answered when it returns.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        self.addresses.set_membership(self.replica.membership());
        self.open_feed();
        let (shared, tick) = (self.around.shared.clone(), self.around.tick);
        let driver = Arc::new(Mutex::new(self));
        shared.inbox.lend(&driver);
        let mut next_tick = now() + tick;
        loop {
            shared.inbox.wait(next_tick);
            let Ok(mut driver) = driver.lock() else {
                return Err(Error::Internal("the driver panicked; its message is above".to_owned()));
            };
            let time = now();
            let ticks = time >= next_tick;
            if ticks {
                // Ticks that were missed are not made up for: they would look like an election timeout.
                next_tick = (next_tick + tick).max(time);
            }
            let _level = help::Level::of_driver();
            if !driver.has_ended() {
                driver.turn(ticks);
            }
            if let Some(ended) = driver.ended.take() {
                // Who helps and comes too late sees it, too.
                driver.ended = Some(Ok(()));
                driver.finish();
                return ended;
            }
        }
    }

    /// Tells everybody who waits, and ends the threads.
    fn finish(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.around.shared.stopping.store(true, Ordering::Release);
        // What was sent may be applied; only after that is said of it, what never got so far may be called lost.
        self.replica.abandon(&mut outputs);
        self.fail_waiters(&mut outputs);
        self.answer_operators(&outputs);
        let left = std::mem::take(&mut self.events).into_iter().chain(self.around.shared.inbox.close());
        for event in left {
            if let Event::Propose { id, .. } = event {
                self.around.shared.waiters.fail(&id, crate::replica::Failure::NoLeader);
            }
        }
        self.around.shared.close();
        self.around.shared.feed.stop();
        self.fetch.finish();
        self.transfer.finish();
        self.snapshots.finish();
        self.log.finish();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Only the first end counts.
    pub(super) fn end(&mut self, ended: Result<(), Error>) {
        self.ended.get_or_insert(ended);
    }
}

fn storage(error: std::io::Error) -> Error {
    Error::Storage(error.to_string())
}

/// What a log that cannot be read means for the node. Damage sends the directory aside; a disk that fails may work again.
fn unreadable(error: &LogError) -> Event {
    match error {
        LogError::Corrupt { .. } | LogError::Regressed { .. } => Event::LogDamaged(error.to_string()),
        _ => Event::StorageFailed(error.to_string()),
    }
}

fn fatal(fatal: Fatal) -> Error {
    match fatal {
        Fatal::WentBack { .. } | Fatal::CommittedConflict { .. } => Error::StaleDirectory(fatal.to_string()),
        Fatal::Removed { .. } => Error::Removed(fatal.to_string()),
        Fatal::Consensus(_) => Error::Internal(fatal.to_string()),
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the driver is where time comes in")]
    Instant::now()
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the driver is where time comes in")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
