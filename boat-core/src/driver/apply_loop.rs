//! The applier's thread: pulls committed entries, runs them through the predictor and answers who waits.
//!
//! A restart, a lost backend and normal service are one loop: a predictor that is fresh or comes from a snapshot, and the log
//! behind that.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::futures::Notified;

use super::feed::{Feed, Pulled};
use super::progress::Progress;
use super::shared::{AppliedView, Shared};
use super::snapshots::Taking;
use super::{Event, keeper};
use crate::apply::{Applied, Applier, Batch, SessionLimits};
use crate::log::{LogEntry, LogError, LogReader};
use crate::quarantine::{CRASHES_MAX, RUN_CALLS_MAX, Run};
use crate::replica::RequestId;
use crate::{Call, CallOutcome, Predictor, PredictorError};

/// The calls admitted at once, about: a whole entry always fits.
const BATCH_CALLS_MAX: usize = RUN_CALLS_MAX;
/// The bytes of entries taken from the feed at once, about.
const PULL_BYTES_MAX: usize = 4 << 20;
/// The bytes of entries, at most, that are worth no change of threads.
const HELPED_BYTES_MAX: usize = 64 << 10;
/// How long to wait before an unavailable backend is tried again: doubled each time, from the first to the second.
pub(super) const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How long to wait before a state that is lost again and again is rebuilt once more, at the longest.
const REBUILD_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a pass over the log ended.
pub(super) enum End {
    /// The node stops.
    Stopped,
    /// The predictor's state is gone: it has to see everything again.
    StateLost(String),
    /// A snapshot took the log's place: it goes on from there.
    Installed,
    /// The state cannot be had from what is on this disk any more: the directory is set aside.
    Damaged(String),
    /// The predictor's state is not to be used any more: it has to see everything again.
    Outdated,
    /// Another applier has taken this one's place, because a call took too long.
    GivenUp,
    /// The log cannot be read: the node stops.
    Unreadable(LogError),
    /// What must be durable is not: the node stops.
    Storage(std::io::Error),
    /// Something that must not be: the node stops.
    Fatal(String),
}

/// What a batch leads to, in lists that are made once.
#[derive(Default)]
pub(crate) struct Lists {
    outcomes: Vec<CallOutcome>,
    answers: Vec<(RequestId, Applied)>,
    /// For whom somebody waited here.
    answered: Vec<RequestId>,
}

/// The applier: owns the predictor.
pub(crate) struct ApplyLoop<P> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) predictor: P,
    pub(crate) reader: LogReader,
    pub(crate) limits: SessionLimits,
    pub(crate) snapshots: Taking,
    /// The predictor's state has proved to be wrong: snapshots may hold it.
    pub(crate) distrusts: bool,
    /// How long the predictor may take for one call, or for a batch.
    pub(crate) call_limit: Duration,
    /// Which applier of this node this is; only the last one counts.
    pub(crate) number: u64,
    /// The one before was given up because a call took too long.
    pub(crate) gave_up: bool,
    /// Which sessions the handles were told of.
    pub(crate) published_sessions: Option<u64>,
    /// Empty between batches; kept for their room.
    pub(crate) lists: Lists,
}

impl<P: Predictor> ApplyLoop<P> {
    /// Runs until the feed stops.
    pub(crate) async fn run(mut self) {
        let (mut lost_at, mut wait) = (0, RETRY_WAIT.0);
        if std::mem::take(&mut self.gave_up) {
            self.say_lost(format!("a call of the model took longer than {:?}", self.call_limit));
        }
        loop {
            match self.pass().await {
                End::Stopped | End::GivenUp => return,
                End::Storage(error) => {
                    return self.shared.inbox.push(Event::StorageFailed(error.to_string()));
                }
                End::Outdated => {
                    self.distrusts = true;
                    self.shared.replayed.store(false, Ordering::Release);
                    self.shared.set_backend(|backend| backend.rebuilds += 1);
                }
                End::Installed => {}
                End::Damaged(why) => return self.shared.inbox.push(Event::LogDamaged(why)),
                End::Unreadable(error) => return self.shared.inbox.push(super::unreadable(&error)),
                End::Fatal(why) => return self.shared.inbox.push(Event::ApplierFailed(why)),
                End::StateLost(why) => {
                    self.say_lost(why);
                    // Lost again at the same place: something there breaks it every time.
                    let position = self.shared.applied().position;
                    wait = if position > lost_at { RETRY_WAIT.0 } else { (wait * 2).min(REBUILD_WAIT_MAX) };
                    lost_at = lost_at.max(position);
                    tokio::select! {
                        () = self.shared.feed.stopped() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                }
            }
        }
    }

    fn say_lost(&self, why: String) {
        log::warn!("node {}: {why}; rebuilding it", self.shared.node);
        self.shared.replayed.store(false, Ordering::Release);
        self.shared.set_backend(|backend| {
            backend.healthy = false;
            backend.error = Some(why);
            backend.rebuilds += 1;
        });
    }

    /// The applier that takes this one's place when a call of the model never ends; `None` where a call gives the thread back.
    pub(crate) fn spare(&self) -> Option<Self> {
        Some(ApplyLoop {
            shared: self.shared.clone(),
            predictor: self.predictor.spare()?,
            reader: self.reader.clone(),
            limits: self.limits,
            snapshots: self.snapshots.clone(),
            distrusts: self.distrusts,
            call_limit: self.call_limit,
            number: self.number,
            gave_up: false,
            published_sessions: None,
            lists: Lists::default(),
        })
    }

    /// One life of the predictor: from fresh or a snapshot, through the log behind that, and on.
    async fn pass(&mut self) -> End {
        let mut applier = match self.begin().await {
            Ok(applier) => applier,
            Err(end) => return end,
        };
        self.published_sessions = None;
        self.shared.wellbeing.fresh();
        self.shared.wellbeing.restored(applier.position());
        self.publish(&applier);
        let mut batch = Batch::default();
        let mut progress = Progress::start(&self.shared);
        loop {
            self.catch_up_if_done(&applier, &mut progress);
            if let Err(end) = self.answer_queries(&applier).await {
                return end;
            }
            let pulled = self.shared.feed.pull(applier.index() + 1, PULL_BYTES_MAX).await;
            if self.shared.wellbeing.wants_rebuild() {
                return End::Outdated;
            }
            let applied = match pulled {
                Pulled::Stopped => return End::Stopped,
                Pulled::Installed => return End::Installed,
                Pulled::Entries(entries) => {
                    let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
                    if bytes > HELPED_BYTES_MAX {
                        self.shared.lanes.own_thread().await;
                    }
                    self.apply(&mut applier, &mut batch, &entries, &mut progress).await
                }
                Pulled::InLog(last) => self.scan(&mut applier, &mut batch, last, &mut progress).await,
            };
            if let Err(end) = applied {
                return end;
            }
        }
    }

    async fn scan(
        &mut self,
        applier: &mut Applier,
        batch: &mut Batch,
        last: u64,
        progress: &mut Progress,
    ) -> Result<(), End> {
        // What a snapshot is about to take the place of is not there any more: the feed says when it has.
        let unreadable = |feed: &Feed, next, error| match error {
            LogError::OutOfRange { .. } if feed.awaits_install(next) => Ok(()),
            error => Err(End::Unreadable(error)),
        };
        self.shared.lanes.own_thread().await;
        let next = applier.index() + 1;
        let mut scan = match self.reader.scan_ahead(next, last + 1) {
            Ok(scan) => scan,
            Err(error) => return unreadable(&self.shared.feed, next, error),
        };
        let mut entries = Vec::new();
        loop {
            match scan.next_block(&mut entries) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => return unreadable(&self.shared.feed, scan.next_index(), error),
            }
            if self.shared.feed.is_stopped() {
                return Err(End::Stopped);
            }
            self.apply(applier, batch, &entries, progress).await?;
        }
    }

    async fn apply(
        &mut self,
        applier: &mut Applier,
        batch: &mut Batch,
        entries: &[LogEntry],
        progress: &mut Progress,
    ) -> Result<(), End> {
        for (n, entry) in entries.iter().enumerate() {
            let admitted = applier.admit(batch, entry);
            admitted.map_err(|error| End::Fatal(format!("entry {}: {error}", entry.index)))?;
            if batch.calls.len() >= BATCH_CALLS_MAX || n + 1 == entries.len() {
                if self.shared.feed.is_stopped() {
                    return Err(End::Stopped);
                }
                self.run_batch(applier, batch).await?;
                self.answer_queries(applier).await?;
                progress.advanced(&self.shared, applier);
            }
        }
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        self.snapshots.applied(bytes as u64);
        self.snapshot_if_due(applier).await
    }

    async fn run_batch(&mut self, applier: &mut Applier, batch: &mut Batch) -> Result<(), End> {
        let serving = self.shared.replayed.load(Ordering::Acquire);
        if serving && log::log_enabled!(target: "boat", log::Level::Info) {
            for call in &batch.calls {
                let body = String::from_utf8_lossy(&call.body);
                log::info!(target: "boat", "Boat {}: Request received from raft: {body}", self.shared.node);
            }
        }
        let mut lists = std::mem::take(&mut self.lists);
        self.predict(batch, &mut lists.outcomes).await?;
        let Lists { outcomes, answers, answered } = &mut lists;
        let somebody_waits = !self.shared.waiters.is_empty();
        applier.complete(batch, outcomes.drain(..), |origin, hash, applied| {
            if somebody_waits {
                answers.push((RequestId::of(origin, hash), applied.clone()));
            }
        });
        self.publish(applier);
        // A model that goes another way than a majority's must not answer; who waits hears that nobody knows.
        if !answers.is_empty() && !self.shared.wellbeing.stays_diverged() {
            self.shared.waiters.answer(answers, answered);
            self.shared.inbox.push_answered(answered);
        }
        answers.clear();
        self.lists = lists;
        Ok(())
    }

    /// Runs all calls of a batch, but for those that are quarantined, and adds their outcomes to `done`, which is empty.
    async fn predict(&mut self, batch: &Batch, done: &mut Vec<CallOutcome>) -> Result<(), End> {
        let mut wait = RETRY_WAIT.0;
        while let Some(calls) = batch.calls.get(done.len()..).filter(|calls| !calls.is_empty()) {
            if self.shared.wellbeing.wants_rebuild() {
                return Err(End::Outdated);
            }
            // Made before looking: a decision in between is not missed.
            let shared = self.shared.clone();
            let decision = shared.wellbeing.decision();
            match shared.wellbeing.begin(self.number, calls) {
                Run::Quarantined => done.push(CallOutcome::Quarantined),
                Run::Held => self.wait_for(decision).await?,
                Run::Calls(count) => {
                    let calls = calls.get(..count).unwrap_or(calls);
                    self.run_calls(calls, done, &mut wait).await?;
                }
            }
        }
        if !self.shared.backend().healthy {
            self.healthy();
        }
        Ok(())
    }

    /// Waits until the log decides about the request that comes next.
    async fn wait_for(&mut self, decision: Notified<'_>) -> Result<(), End> {
        if self.shared.wellbeing.applier() != self.number {
            return Err(End::GivenUp);
        }
        self.shared.wellbeing.set_held(true);
        let waited = tokio::select! {
            () = self.shared.feed.stopped() => Err(End::Stopped),
            () = decision => Ok(()),
        };
        self.shared.wellbeing.set_held(false);
        waited
    }

    /// Runs some calls. What an unavailable backend did not run comes again, after a while.
    async fn run_calls(
        &mut self,
        calls: &[Call],
        done: &mut Vec<CallOutcome>,
        wait: &mut Duration,
    ) -> Result<(), End> {
        let mut outcomes = Vec::with_capacity(calls.len());
        let shared = self.shared.clone();
        let result = {
            let mut predicted = pin!(self.predictor.predict(calls, &mut outcomes));
            // Most models answer where they are asked. A timer would cost more than some of them.
            match poll_fn(|context| Poll::Ready(predicted.as_mut().poll(context))).await {
                Poll::Ready(result) => Ok(result),
                Poll::Pending => tokio::select! {
                    biased;
                    result = tokio::time::timeout(self.call_limit, predicted) => result,
                    () = shared.feed.stopped() => return Err(End::Stopped),
                },
            }
        };
        let (given, asked) = (outcomes.len(), calls.len());
        let suspects = keeper::suspects(calls, given);
        let (why, timed_out) = match result {
            Ok(Err(PredictorError::StateLost(why))) => (why, false),
            Err(_) => (format!("a call took longer than {:?}", self.call_limit), true),
            Ok(result) => {
                if !shared.wellbeing.ended(self.number, calls.get(..given).unwrap_or(calls)) {
                    return Err(End::GivenUp);
                }
                done.append(&mut outcomes);
                return match result {
                    Ok(()) if given == asked => Ok(()),
                    Err(PredictorError::Unavailable(why)) if given <= asked => {
                        *wait = if given > 0 { RETRY_WAIT.0 } else { *wait };
                        self.unavailable(why, wait).await
                    }
                    _ => Err(End::Fatal(format!("the predictor gave {given} outcomes for {asked} calls"))),
                };
            }
        };
        if shared.wellbeing.applier() != self.number {
            return Err(End::GivenUp);
        }
        let holds = shared.wellbeing.lost(suspects, timed_out).map_err(End::Storage)?;
        if let Some(call) = suspects.first().filter(|_| holds) {
            log::error!(
                "node {}: the request at position {} crashed the model {CRASHES_MAX} times; it is held until the log decides",
                shared.node,
                call.position
            );
        }
        Err(End::StateLost(why))
    }

    pub(super) async fn reset(&mut self) -> Result<(), End> {
        let mut wait = RETRY_WAIT.0;
        let shared = self.shared.clone();
        loop {
            // A backend may need minutes to start; a node that stops does not wait for it.
            let reset = tokio::select! {
                biased;
                reset = self.predictor.reset() => reset,
                () = shared.feed.stopped() => return Err(End::Stopped),
            };
            match reset {
                Ok(()) => break,
                Err(PredictorError::Unavailable(why) | PredictorError::StateLost(why)) => {
                    self.unavailable(why, &mut wait).await?;
                }
            }
        }
        self.healthy();
        Ok(())
    }

    pub(super) fn healthy(&self) {
        self.shared.set_backend(|backend| {
            backend.healthy = true;
            backend.error = None;
        });
    }

    pub(super) async fn unavailable(&mut self, why: String, wait: &mut Duration) -> Result<(), End> {
        let known = self.shared.backend();
        if known.healthy || known.error.as_ref() != Some(&why) {
            log::warn!("node {}: {why}; trying again", self.shared.node);
            self.shared.set_backend(|backend| {
                backend.healthy = false;
                backend.error = Some(why);
            });
        }
        tokio::select! {
            () = self.shared.feed.stopped() => return Err(End::Stopped),
            () = tokio::time::sleep(*wait) => {}
        }
        *wait = (*wait * 2).min(RETRY_WAIT.1);
        Ok(())
    }

    fn publish(&mut self, applier: &Applier) {
        if self.published_sessions != Some(applier.session_changes()) {
            self.published_sessions = Some(applier.session_changes());
            self.shared.set_session_secrets(applier.session_secrets());
        }
        self.shared.wellbeing.advanced(applier.index(), applier.position(), applier.checkpoints());
        self.shared.set_applied(AppliedView {
            index: applier.index(),
            position: applier.position(),
            digest: applier.digest(),
            sessions: applier.sessions(),
            key_table_full: !applier.has_room_for_keys(),
        });
    }

    /// Once everything is applied that was committed before this node was heard of, it has replayed.
    fn catch_up_if_done(&self, applier: &Applier, progress: &mut Progress) {
        if self.shared.replayed.load(Ordering::Acquire) {
            return;
        }
        if self.shared.caught_up_index().is_some_and(|target| applier.index() >= target) {
            progress.finish(&self.shared, applier);
            self.shared.replayed.store(true, Ordering::Release);
            self.shared.changed();
        }
    }
}
