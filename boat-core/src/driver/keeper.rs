//! The thread that keeps an applier running: a model in process that never returns from a call cannot be stopped, but its
//! thread can be given up, and another begin with a fresh model (design D6: a hang counts as a crash).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lane::Lane;
use super::{ApplyLoop, Event, Shared, now};
use crate::{Call, Predictor};

/// How much longer than its limit a call may run before its thread is given up: an asynchronous one ends by itself.
const GRACE: Duration = Duration::from_millis(500);
/// How often the keeper looks, at most.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For how long a node that stops waits for a call that runs.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Starts the applier and the thread that keeps it.
pub(crate) fn start<P: Predictor>(
    applier: ApplyLoop<P>,
    shared: &Arc<Shared>,
) -> std::io::Result<JoinHandle<()>> {
    let name = format!("boat-{}-keeper", shared.node);
    let shared = shared.clone();
    #[expect(clippy::disallowed_methods, reason = "it watches over the applier's thread")]
    std::thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = keep(applier, &shared) {
            shared.inbox.push(Event::StorageFailed(error.to_string()));
        }
    })
}

fn keep<P: Predictor>(mut applier: ApplyLoop<P>, shared: &Arc<Shared>) -> std::io::Result<()> {
    let limit = applier.call_limit + GRACE;
    loop {
        let spare = applier.spare();
        let (ended, has_ended) = channel::<()>();
        let lane = spawn(applier, shared, ended)?;
        let mut stopped = None;
        let number = loop {
            match has_ended.recv_timeout(LOOK_EVERY.min(limit)) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(lane) = lane.upgrade() {
                lane.wake_held_back();
            }
            if shared.feed.is_stopped() && now().duration_since(*stopped.get_or_insert(now())) >= STOP_WAIT {
                log::warn!("node {}: the model did not return from a call; its thread is left", shared.node);
                return Ok(());
            }
            if spare.is_some()
                && let Some(number) = shared.wellbeing.give_up_applier(limit)?
            {
                break number;
            }
        };
        let Some(next) = spare else { return Ok(()) };
        log::error!(
            "node {}: the model did not return from a call within {limit:?}; beginning anew",
            shared.node
        );
        applier = ApplyLoop { number, gave_up: true, ..next };
    }
}

fn spawn<P: Predictor>(
    applier: ApplyLoop<P>,
    shared: &Arc<Shared>,
    ended: std::sync::mpsc::Sender<()>,
) -> std::io::Result<Weak<Lane>> {
    // A failure here is the system's want of something, like a disk's: the node ends, and its supervisor decides.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let name = format!("boat-{}-apply", shared.node);
    let shared = shared.clone();
    let is_quick = applier.predictor.is_quick();
    let lane = Lane::new(applier.run(), runtime.handle().clone());
    if is_quick {
        shared.lanes.open(&lane);
    }
    let weak = Arc::downgrade(&lane);
    #[expect(
        clippy::disallowed_methods,
        reason = "the applier's own thread: a slow model must not slow consensus"
    )]
    let spawned = std::thread::Builder::new().name(name).spawn(move || {
        let ran = catch_unwind(AssertUnwindSafe(|| runtime.block_on(lane.run())));
        if ran.is_err() {
            shared.inbox.push(Event::ApplierFailed("the applier or its model panicked".to_owned()));
        }
        // The predictor and all it holds are gone by now; the keeper may have given this thread up.
        let _ = ended.send(());
    });
    spawned.map(|_| weak)
}

/// The calls of a run that may have broken the predictor: those without an outcome, or all when each has one.
pub(crate) fn suspects(calls: &[Call], outcomes: usize) -> &[Call] {
    calls.get(outcomes..).filter(|rest| !rest.is_empty()).unwrap_or(calls)
}
