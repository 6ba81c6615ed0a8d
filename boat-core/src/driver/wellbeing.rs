//! How the node is, as its threads see it: what its predictor does, what it holds, whether its disk hangs (design D5 to D8).
//! The replica hears of it as its [`Condition`](crate::replica::Condition).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::now;
use crate::apply::Checkpoints;
use crate::quarantine::{Decisions, Quarantine, QuarantineFile, Run};
use crate::replica::{Condition, Replica};
use crate::transport::{Ailment, Ailments, Report};
use crate::{Call, Health, NodeId};

/// A sync that takes longer than this hangs.
const SYNC_HANGS_AFTER: Duration = Duration::from_millis(100);
/// For how long a disk that hung counts as one that hangs.
const SYNC_UNWELL_FOR: Duration = Duration::from_secs(5);

/// The quarantine, and where it is kept.
#[derive(Debug)]
struct Kept {
    quarantine: Quarantine,
    file: Option<QuarantineFile>,
}

/// What the applier says of its predictor.
#[derive(Debug, Clone, Default)]
struct Predictor {
    /// Rises whenever it begins anew.
    life: u64,
    index: u64,
    position: u64,
    /// How far its earlier lives had got: until then it is being rebuilt.
    rebuilt_at: u64,
    is_held: bool,
    checkpoints: Checkpoints,
}

/// A call that runs in the predictor, for those who watch over it.
#[derive(Debug, Default)]
struct Running {
    /// Which applier is the one that counts; earlier ones were given up.
    applier: u64,
    since: Option<Instant>,
}

/// What the replica has found out about this node and the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    health: Health,
    is_diverged: bool,
    stays_diverged: bool,
    digests_disagree: bool,
}

/// How the node is.
#[derive(Debug)]
pub(crate) struct Wellbeing {
    kept: Mutex<Kept>,
    changed: Notify,
    predictor: Mutex<Predictor>,
    running: Mutex<Running>,
    found: Mutex<Found>,
    wants_rebuild: AtomicBool,
    began: Instant,
    /// When the sync that runs began, in milliseconds from `began`, plus one; 0 when none runs.
    sync_since_ms: AtomicU64,
    /// Until when the disk counts as one that hangs.
    sync_unwell_until_ms: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they hold is sound whatever its holder panicked of: a model's panics are caught before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Wellbeing {
    fn default() -> Self {
        Wellbeing {
            kept: Mutex::new(Kept { quarantine: Quarantine::new(), file: None }),
            changed: Notify::new(),
            predictor: Mutex::default(),
            running: Mutex::default(),
            found: Mutex::default(),
            wants_rebuild: AtomicBool::new(false),
            began: now(),
            sync_since_ms: AtomicU64::new(0),
            sync_unwell_until_ms: AtomicU64::new(0),
        }
    }
}

/// The quarantine.
impl Wellbeing {
    /// What was kept, before anything runs. What the log has decided.
    pub(crate) fn install(&self, file: QuarantineFile) -> io::Result<Decisions> {
        let quarantine = file.read()?;
        let decisions = quarantine.decisions().clone();
        *lock(&self.kept) = Kept { quarantine, file: Some(file) };
        Ok(decisions)
    }

    /// Behind this entry nothing was answered by an earlier process or incarnation.
    pub(crate) fn doubt_up_to(&self, index: u64) {
        lock(&self.kept).quarantine.doubt_up_to(index);
        // An applier that is past it already says so again.
        self.changed.notify_waiters();
    }

    /// The log has decided something. True: the predictor has run what is quarantined now, and must begin anew.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(crate) fn decided(&self, decisions: Decisions) -> io::Result<bool> {
        let mut kept = lock(&self.kept);
        kept.quarantine.decided(decisions);
        kept.write()?;
        let is_outdated = kept.quarantine.is_outdated();
        drop(kept);
        if is_outdated {
            self.rebuild();
        }
        self.changed.notify_waiters();
        Ok(is_outdated)
    }

    /// The leader asks to hold a request.
    ///
    /// # Errors
    /// The disk does not take the promise.
    pub(crate) fn hold(&self, position: u64, round: u32) -> io::Result<()> {
        let mut kept = lock(&self.kept);
        if kept.quarantine.hold(position, round) { kept.write() } else { Ok(()) }
    }

    /// What to do with the calls that come next. They run from now on, if they do, for this applier.
    pub(crate) fn begin(&self, applier: u64, calls: &[Call]) -> Run {
        let mut running = lock(&self.running);
        if running.applier != applier {
            return Run::Held;
        }
        let run = lock(&self.kept).quarantine.begin(calls);
        if matches!(run, Run::Calls(_)) {
            running.since = Some(now());
        }
        run
    }

    /// The calls that ran have ended; these with outcomes. False: the applier was given up meanwhile, and must end.
    pub(crate) fn ended(&self, applier: u64, calls: &[Call]) -> bool {
        let mut running = lock(&self.running);
        if running.applier != applier {
            return false;
        }
        running.since = None;
        let mut kept = lock(&self.kept);
        kept.quarantine.ended(calls);
        let decisions = kept.quarantine.decisions();
        let ran = calls.first().zip(calls.last()).map(|(first, last)| (first.position, last.position));
        if ran.is_some_and(|(first, last)| decisions.quarantined(first, last).next().is_some()) {
            // It was quarantined while it ran.
            self.rebuild();
        }
        true
    }

    /// The predictor has lost its state while these calls ran. True: one of them is held now.
    ///
    /// # Errors
    /// The disk does not take the hold.
    pub(crate) fn lost(&self, ran: &[Call], timed_out: bool) -> io::Result<bool> {
        lock(&self.running).since = None;
        let mut kept = lock(&self.kept);
        let holds = kept.quarantine.lost(ran, timed_out);
        if holds {
            kept.write()?;
        }
        Ok(holds)
    }

    /// Waits for a decision, from the moment of this call on.
    pub(crate) fn decision(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether the log has decided to quarantine the request at this position, and this node knows it.
    pub(crate) fn is_quarantined(&self, position: u64) -> bool {
        lock(&self.kept).quarantine.decisions().is_quarantined(position)
    }
}

impl Kept {
    fn write(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(&self.quarantine))
    }
}

/// The predictor's lives.
impl Wellbeing {
    /// The predictor is to begin anew as soon as the applier looks.
    pub(crate) fn rebuild(&self) {
        self.wants_rebuild.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether the predictor is to begin anew.
    pub(crate) fn wants_rebuild(&self) -> bool {
        self.wants_rebuild.load(Ordering::Acquire)
    }

    /// The predictor begins anew.
    pub(crate) fn fresh(&self) {
        self.wants_rebuild.store(false, Ordering::Release);
        let mut kept = lock(&self.kept);
        kept.quarantine.fresh();
        let rebuilt_at = kept.quarantine.passed();
        drop(kept);
        let mut predictor = lock(&self.predictor);
        *predictor = Predictor { life: predictor.life + 1, rebuilt_at, ..Predictor::default() };
    }

    /// The predictor begins anew, from a snapshot as of this position.
    pub(crate) fn restored(&self, position: u64) {
        lock(&self.kept).quarantine.restored(position);
    }

    /// What the log has decided, as far as this node knows.
    pub(crate) fn decisions(&self) -> Decisions {
        lock(&self.kept).quarantine.decisions().clone()
    }

    /// Whether the predictor's state is what it should be, as far as this node knows.
    pub(crate) fn is_trusted(&self) -> bool {
        !self.wants_rebuild() && !self.is_diverged() && !lock(&self.kept).quarantine.is_outdated()
    }

    /// The predictor has got this far.
    pub(crate) fn advanced(&self, index: u64, position: u64, checkpoints: &Checkpoints) {
        lock(&self.kept).quarantine.reached(index);
        let mut predictor = lock(&self.predictor);
        (predictor.index, predictor.position) = (index, position);
        predictor.checkpoints.follow(checkpoints);
    }

    /// The request that comes next is held, or is not any more.
    pub(crate) fn set_held(&self, is_held: bool) {
        lock(&self.predictor).is_held = is_held;
    }

    /// The applier that counts.
    pub(crate) fn applier(&self) -> u64 {
        lock(&self.running).applier
    }

    /// Gives up an applier whose call has run for longer than `limit`. The number of the one to start instead.
    ///
    /// # Errors
    /// The disk does not take a hold.
    pub(crate) fn give_up_applier(&self, limit: Duration) -> io::Result<Option<u64>> {
        let mut running = lock(&self.running);
        let hangs = running.since.is_some_and(|since| now().duration_since(since) >= limit);
        if !hangs {
            return Ok(None);
        }
        running.since = None;
        running.applier += 1;
        let mut kept = lock(&self.kept);
        if kept.quarantine.hung() {
            kept.write()?;
        }
        Ok(Some(running.applier))
    }
}

/// The disk.
impl Wellbeing {
    fn now_ms(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// A sync begins.
    pub(crate) fn sync_begins(&self) {
        self.sync_since_ms.store(self.now_ms() + 1, Ordering::Release);
    }

    /// The sync has ended.
    pub(crate) fn sync_ended(&self) {
        self.sync_hangs();
        self.sync_since_ms.store(0, Ordering::Release);
    }

    /// Whether a sync hangs, or one did a short while ago.
    fn sync_hangs(&self) -> bool {
        let (now_ms, since_ms) = (self.now_ms(), self.sync_since_ms.load(Ordering::Acquire));
        let limit_ms = SYNC_HANGS_AFTER.as_millis() as u64;
        if since_ms > 0 && now_ms + 1 > since_ms + limit_ms {
            let until_ms = now_ms + SYNC_UNWELL_FOR.as_millis() as u64;
            self.sync_unwell_until_ms.fetch_max(until_ms, Ordering::AcqRel);
        }
        now_ms < self.sync_unwell_until_ms.load(Ordering::Acquire)
    }
}

/// What is told.
impl Wellbeing {
    /// How this node is. `is_available`: its backend answers.
    pub(crate) fn condition(&self, is_available: bool) -> Condition {
        let predictor = lock(&self.predictor).clone();
        let kept = lock(&self.kept);
        let passed = kept.quarantine.passed();
        let ailments = Ailments::NONE
            .with(Ailment::BackendUnavailable, !is_available)
            // Not by what has passed by now: calls of the batch that runs have, and the applier says so only at its end.
            .with(Ailment::Rebuilding, predictor.position < predictor.rebuilt_at)
            .with(Ailment::SyncHangs, self.sync_hangs())
            .with(Ailment::Holding, predictor.is_held);
        let report = Report {
            ailments,
            position: predictor.position,
            passed,
            decided_index: kept.quarantine.decisions().index(),
            checkpoints: predictor.checkpoints.latest(),
            holds: kept.quarantine.holds(),
            asks: None,
            forces: None,
        };
        let remembered = predictor.checkpoints.all();
        Condition { index: predictor.index, report, life: predictor.life, remembered }
    }

    /// Takes what the replica has found. True: something is different now.
    pub(crate) fn found(&self, replica: &Replica) -> bool {
        let waits_for = |(_, nodes): (u64, &[NodeId])| nodes.to_vec();
        let found = Found {
            health: Health {
                ailments: replica.ailments().iter().map(Ailment::name).collect(),
                held_positions: lock(&self.kept)
                    .quarantine
                    .holds()
                    .iter()
                    .map(|hold| hold.position)
                    .collect(),
                quarantine_waits_for: replica.blocked().map(waits_for).unwrap_or_default(),
            },
            is_diverged: replica.is_diverged(),
            stays_diverged: replica.stays_diverged(),
            digests_disagree: replica.digests_disagree(),
        };
        let mut known = lock(&self.found);
        let is_news = *known != found;
        *known = found;
        is_news
    }

    /// What a person is shown.
    pub(crate) fn health(&self) -> Health {
        lock(&self.found).health.clone()
    }

    /// Whether this node's digest differs from a majority's.
    pub(crate) fn is_diverged(&self) -> bool {
        lock(&self.found).is_diverged
    }

    /// Whether it still does after it was rebuilt as often as is tried: it must not answer.
    pub(crate) fn stays_diverged(&self) -> bool {
        lock(&self.found).stays_diverged
    }

    /// Whether digests differ, and nobody can say who is right.
    pub(crate) fn digests_disagree(&self) -> bool {
        lock(&self.found).digests_disagree
    }

    /// How many requests the log has had quarantined, as far as this node knows.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "only the metrics tell it"))]
    pub(crate) fn quarantined(&self) -> usize {
        lock(&self.kept).quarantine.decisions().quarantined(1, u64::MAX).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_takes_long_makes_the_disk_unwell_for_a_while() {
        let wellbeing = Wellbeing::default();
        wellbeing.sync_begins();
        wellbeing.sync_ended();
        assert!(!wellbeing.sync_hangs());
        // As if it had begun long ago.
        let ago = |seconds| now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let mut long_ago = Wellbeing { began: ago(10), ..Wellbeing::default() };
        long_ago.sync_since_ms.store(1, Ordering::Release);
        assert!(long_ago.sync_hangs());
        long_ago.sync_ended();
        assert!(long_ago.sync_hangs(), "a while after it, too");
        long_ago.began = ago(20);
        assert!(!long_ago.sync_hangs());
    }

    fn call(position: u64) -> Call {
        Call {
            position,
            predictions_before: 0,
            kind: crate::RequestKind::Predict,
            body: bytes::Bytes::new(),
            time_ms: 0,
            seed: 0,
        }
    }

    #[test]
    fn a_predictor_is_rebuilt_until_it_is_where_it_was_and_not_while_a_batch_runs() {
        let wellbeing = Wellbeing::default();
        let is_rebuilding =
            || wellbeing.condition(true).report.ailments.iter().any(|ailment| ailment == Ailment::Rebuilding);
        wellbeing.fresh();
        assert!(!is_rebuilding());
        for position in 1..=2 {
            assert_eq!(wellbeing.begin(0, &[call(position)]), Run::Calls(1));
            assert!(wellbeing.ended(0, &[call(position)]));
            assert!(!is_rebuilding(), "it has run what was not published yet");
            wellbeing.advanced(position, position, &Checkpoints::default());
        }
        wellbeing.fresh();
        assert!(is_rebuilding());
        wellbeing.advanced(1, 1, &Checkpoints::default());
        assert!(is_rebuilding());
        wellbeing.advanced(2, 2, &Checkpoints::default());
        assert!(!is_rebuilding());
    }

    #[test]
    fn an_applier_that_was_given_up_counts_no_more() {
        let wellbeing = Wellbeing::default();
        let calls = [call(1)];
        assert_eq!(wellbeing.begin(0, &calls), Run::Calls(1));
        assert_eq!(wellbeing.give_up_applier(Duration::from_secs(100)).unwrap(), None);
        assert_eq!(wellbeing.give_up_applier(Duration::ZERO).unwrap(), Some(1));
        assert!(!wellbeing.ended(0, &calls));
        assert_eq!(wellbeing.give_up_applier(Duration::ZERO).unwrap(), None, "nothing runs");
        assert_eq!(wellbeing.begin(1, &calls), Run::Calls(1));
        assert!(wellbeing.ended(1, &calls));
    }
}
