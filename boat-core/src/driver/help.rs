//! Taking the driver's turn where an event is handed in. Waking the driver's thread costs more than most turns do, so whoever
//! hands something in takes the turn itself while nobody else is at it. What goes to the log is then left to the log's thread,
//! where a disk may be waited for; and where something is promised or decided about crashes, which is rare and has to be synced first,
//! all that the turn came to is left to the driver's thread.
//!
//! Appliers that declare themselves quick run behind the turn, on the same thread, but for those of other nodes in this process that
//! got more than a little to do: nobody here waits for their answers. A driver's own thread runs none.
//!
//! Nothing is left lying: an event is put into the inbox before somebody tries to have the driver, and whoever has it looks into
//! the inbox again after giving it back.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, TryLockError};

use super::inbox::Inbox;
use super::lane::Help;
use super::{Driver, Event};
use crate::Error;

/// How many turns somebody takes in a row before the driver's thread goes on: its own work waits for them.
const TURNS_MAX: u32 = 16;
/// How many drivers may be stepped within each other's turns, on a transport that delivers where it sends.
const DEPTH_MAX: u32 = 8;
/// The bytes of entries, at most, that are not worth waking another node's applier for.
const NESTED_BYTES_MAX: usize = 1 << 10;

/// What came of trying to help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helped {
    /// What was there has been seen, or is about to be.
    Done,
    /// The driver's thread has to look.
    Unfinished,
}

/// Takes the driver's turn until nothing waits in its inbox.
pub(super) fn help(driver: &Mutex<Driver>, inbox: &Inbox) -> Helped {
    let Some(level) = Level::enter() else { return Helped::Unfinished };
    for _ in 0..TURNS_MAX {
        let mut held = match driver.try_lock() {
            Ok(held) => held,
            // Whoever holds it looks again.
            Err(TryLockError::WouldBlock) => return Helped::Done,
            Err(TryLockError::Poisoned(_)) => return Helped::Unfinished,
        };
        let applier = held.hold_applier();
        if catch_unwind(AssertUnwindSafe(|| held.help())).is_err() {
            held.end(Err(Error::Internal("the driver panicked; its message is above".to_owned())));
        }
        let has_ended = held.has_ended();
        let runs_here = !level.is_nested() || held.bytes_to_apply() <= NESTED_BYTES_MAX;
        drop(held);
        level.apply_later(applier, inbox, runs_here);
        if has_ended {
            return Helped::Unfinished;
        }
        if inbox.is_quiet() {
            return Helped::Done;
        }
    }
    Helped::Unfinished
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Whether this is a driver's thread, which runs no model: one that hangs must not keep it from its ticks.
    static IS_DRIVERS: Cell<bool> = const { Cell::new(false) };
    /// Appliers that were brought something on this thread, each with its node's inbox.
    static APPLIERS: RefCell<Vec<(Help, Inbox)>> = const { RefCell::new(Vec::new()) };
}

/// One level of drivers within each other's turns. Appliers run behind the outermost turn: nobody has a driver while he runs a
/// model.
pub(super) struct Level(());

impl Level {
    /// `None` where too many turns are under way on this thread.
    pub(super) fn enter() -> Option<Self> {
        let depth = DEPTH.get();
        (depth < DEPTH_MAX).then(|| {
            DEPTH.set(depth + 1);
            Level(())
        })
    }

    /// The level of a driver's own thread.
    pub(super) fn of_driver() -> Option<Self> {
        IS_DRIVERS.set(true);
        Level::enter()
    }

    /// Whether this is a turn within another node's.
    fn is_nested(&self) -> bool {
        DEPTH.get() > 1
    }

    /// Lets the applier do what a turn brought it, once no turn is under way on this thread. `runs_here`: on this thread, too, unless
    /// it is a driver's.
    fn apply_later(&self, applier: Option<Help>, inbox: &Inbox, runs_here: bool) {
        let Some(applier) = applier.filter(|_| !IS_DRIVERS.get()) else { return };
        APPLIERS.with_borrow_mut(|appliers| {
            if !runs_here {
                // An earlier turn, which brought little, may have kept it for later.
                appliers.retain(|(known, _)| !known.is_same(&applier));
            } else if !appliers.iter().any(|(known, _)| known.is_same(&applier)) {
                appliers.push((applier, inbox.clone()));
            }
        });
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        let depth = DEPTH.get().saturating_sub(1);
        DEPTH.set(depth);
        while depth == 0
            && let Some((applier, inbox)) = APPLIERS.with_borrow_mut(Vec::pop)
        {
            if applier.help().is_err() {
                inbox.push(Event::ApplierFailed("the applier or its model panicked".to_owned()));
            }
        }
    }
}

/// The promise to take the driver's turn soon. When it is dropped, it is kept by the driver's thread.
#[must_use = "somebody has to take the turn"]
pub(crate) struct Promise<'a>(Option<&'a Inbox>);

impl<'a> Promise<'a> {
    pub(super) fn new(inbox: &'a Inbox) -> Self {
        Promise(Some(inbox))
    }

    /// Lets other tasks of this runtime hand in what they have, and takes the turn.
    pub(crate) async fn keep(mut self) {
        tokio::task::yield_now().await;
        if let Some(inbox) = self.0.take() {
            inbox.help();
        }
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if let Some(inbox) = self.0.take() {
            inbox.call();
        }
    }
}
