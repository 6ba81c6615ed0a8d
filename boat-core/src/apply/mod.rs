//! The applier's bookkeeping: from committed commands to positions, outcomes and the running digest.
//!
//! Plain functions over plain state. [`Applier::admit`] decides what each request of an entry is: new, a retry, or refused;
//! the new ones become [`Call`]s for the predictor. [`Applier::complete`] takes the predictor's outcomes, folds them into
//! the digest, remembers them and answers. Everything decided here is a function of the log alone, so it is the same on
//! every node and at every replay.

mod checkpoints;
mod due;
mod keys;
mod session;
mod state;
mod time;
mod window;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use self::checkpoints::Checkpoints;
pub(crate) use self::due::{Due, Until};
use self::keys::Keys;
use self::session::{Known, Sessions};
pub(crate) use self::state::ApplierReader;
use self::time::LogTime;
use crate::codec::{Malformed, Reader, share};
use crate::digest::{Digest, RequestHash};
use crate::log::{EntryKind, LogEntry};
use crate::{Call, CallOutcome, CommandView, Origin, OriginView, RequestKind, RequestView};

/// The bounds of what is remembered about clients. They decide what is applied, so they are part of the genesis and the
/// same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// How many sessions may be open. Default 1,024.
    pub sessions_max: u32,
    /// How many outcomes one session may ask to have kept. Default 65,536.
    pub session_outcomes_max: u32,
    /// After how much log age without a request a session expires, in milliseconds. Default 10 minutes.
    pub session_age_ms_max: u64,
    /// How long a key is remembered at least, in milliseconds of log age. Default 10 minutes.
    pub key_age_ms: u64,
    /// How many bytes the table of keys may take, about. Default 256 MiB.
    pub key_table_bytes_max: u64,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits {
            sessions_max: 1024,
            session_outcomes_max: 65_536,
            session_age_ms_max: 600_000,
            key_age_ms: 600_000,
            key_table_bytes_max: 256 << 20,
        }
    }
}

/// What applying a request gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The request's position.
    pub position: u64,
    /// The term of the entry that carried it first.
    pub term: u64,
    /// What the predictor said.
    pub result: CallOutcome,
}

impl Default for Outcome {
    /// No outcome of any request: position 0, with an empty output.
    fn default() -> Self {
        Outcome { position: 0, term: 0, result: CallOutcome::Output(Bytes::new()) }
    }
}

/// Why a committed request was not applied. It has no position and never will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Its session is not in the table.
    SessionExpired {
        /// Which session.
        session: u64,
    },
    /// Its client had acknowledged the outcome.
    OutcomeForgotten,
    /// Its key or sequence number was used for another request.
    KeyReused {
        /// Where that one stands; 0 while it is being applied.
        position: u64,
    },
    /// Its session has too many outcomes that its client has not acknowledged.
    WindowFull {
        /// How many are kept.
        outcomes_max: usize,
    },
    /// Too many keys are remembered.
    KeyTableFull,
    /// Too many sessions are open.
    TooManySessions,
}

/// What became of a request: the answer to whoever waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its outcome, or why it has none.
    pub result: Result<Outcome, Refused>,
    /// Whether it had been applied before the entry that this answers. False for all who wait for it when it is applied, whoever of
    /// them asked first: an entry does not tell.
    pub replayed: bool,
}

/// What is remembered of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It was applied, and this is its outcome.
    Outcome(Outcome),
    /// Its number in its session is free, as far as this node has applied.
    Nothing,
    /// Its session has expired, or its client has said that it needs the outcome no more.
    Forgotten,
    /// Nothing, and nothing tells why: it was never applied here, or is no longer remembered.
    Unknown,
}

/// What a request waits for while its batch runs.
#[derive(Debug, Default)]
enum Decision {
    /// The predictor's next outcome.
    Call,
    /// Nothing: a session was opened.
    Opened,
    /// The outcome of the same request, earlier in the batch.
    #[default]
    Joined,
    /// Nothing. Rare, so apart.
    Known(Box<Result<Outcome, Refused>>),
}

#[derive(Debug)]
struct Slot {
    origin: Origin,
    hash: RequestHash,
    decision: Decision,
    term: u64,
}

impl Default for Slot {
    fn default() -> Self {
        let (origin, decision) = (Origin::Opening(0), Decision::default());
        Slot { origin, hash: RequestHash::default(), decision, term: 0 }
    }
}

/// Requests on their way through the predictor: the calls to make, and who waits for which.
#[derive(Debug, Default)]
pub struct Batch {
    /// What the predictor is to run, in order.
    pub calls: Vec<Call>,
    slots: Vec<Slot>,
    last: Option<(u64, u64)>,
}

impl Batch {
    /// Whether no entry was admitted.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// How many requests were admitted, retries and refused ones included.
    pub fn requests(&self) -> usize {
        self.slots.len()
    }
}

/// The state that applying leaves behind, besides the predictor's own.
#[derive(Debug, Clone, Default)]
pub struct Applier {
    limits: SessionLimits,
    position: u64,
    predictions: u64,
    index: u64,
    term: u64,
    digest: Digest,
    checkpoints: Checkpoints,
    time: LogTime,
    sessions: Sessions,
    keys: Keys,
    /// The position that the next admitted request gets, less one: ahead of `position` while a batch runs.
    admitted: u64,
    /// The term of the entry that is being admitted.
    admitted_term: u64,
}

impl Applier {
    /// An applier that has applied nothing.
    pub fn new(limits: SessionLimits) -> Self {
        Applier { limits, ..Applier::default() }
    }

    /// For a mutant of the simulator: the same without what it knows of clients.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn without_sessions(&self) -> Self {
        Applier { sessions: Sessions::default(), keys: Keys::default(), ..self.clone() }
    }

    /// The position of the last applied request.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The digest after [`Applier::position`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The digests that are remembered, to be compared with those of other nodes.
    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    /// The last applied entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Log time after the last admitted entry, in milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        self.time.time_ms
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Rises whenever a session is opened or expires.
    pub fn session_changes(&self) -> u64 {
        self.sessions.changes()
    }

    /// The open sessions, and the random number that each was opened with: known to its owner alone.
    pub fn session_secrets(&self) -> BTreeMap<u64, u64> {
        self.sessions.secrets()
    }

    /// Whether the table of keys takes another one.
    pub fn has_room_for_keys(&self) -> bool {
        self.keys.has_room(&self.limits)
    }

    /// The outcome that is remembered for a request of this origin.
    pub fn outcome(&self, origin: &Origin) -> Option<&Outcome> {
        match origin {
            Origin::Opening(_) => None,
            Origin::Session { request, .. } => self.sessions.outcome(*request),
            Origin::Key(key) => self.keys.outcome(key),
        }
    }

    /// What is remembered of a request of this origin, whatever it asked.
    pub(crate) fn remembered(&self, origin: &Origin) -> Remembered {
        if let Some(outcome) = self.outcome(origin) {
            return Remembered::Outcome(outcome.clone());
        }
        match origin {
            Origin::Session { request, .. } if request.session > self.position => Remembered::Unknown,
            Origin::Session { request, .. } if self.sessions.is_forgotten(*request) => Remembered::Forgotten,
            Origin::Session { .. } => Remembered::Nothing,
            Origin::Opening(_) | Origin::Key(_) => Remembered::Unknown,
        }
    }

    /// Adds `entry`, the one after the last admitted, to `batch`.
    ///
    /// # Errors
    /// [`Malformed`] when the entry's data is no command: it was not written by this software, and nothing of it is
    /// admitted.
    pub fn admit(&mut self, batch: &mut Batch, entry: &LogEntry) -> Result<(), Malformed> {
        batch.last = Some((entry.index, entry.term));
        self.admitted_term = entry.term;
        if entry.kind != EntryKind::Normal || entry.data.is_empty() {
            return Ok(());
        }
        let command = CommandView::new(&entry.data)?;
        command.requests().try_for_each(|request| request.map(drop))?;
        self.time.advance(command.stamp_ms);
        self.sessions.expire(self.time.age_ms, &self.limits);
        self.keys.expire(self.time.age_ms, &self.limits);
        batch.slots.reserve(command.requests().count_max());
        batch.calls.reserve(command.requests().count_max());
        for request in command.requests() {
            self.admit_request(batch, entry, &request?, command.seed);
        }
        Ok(())
    }

    fn admit_request(&mut self, batch: &mut Batch, entry: &LogEntry, request: &RequestView<'_>, seed: u64) {
        let (hash, term) = (request.hash(), entry.term);
        // The body is made long before it is moved, and the slot filled in where it stands: see `window::Slot`.
        let body = share(&entry.data, request.body);
        batch.slots.push(Slot::default());
        let decision = match self.look_up(request.kind, &request.origin, hash) {
            Ok(Known::New) => self.admit_new(&mut batch.calls, request, body, seed),
            Ok(Known::Running) => Decision::Joined,
            Ok(Known::Done(outcome)) => Decision::Known(Box::new(Ok(outcome))),
            Err(refused) => Decision::Known(Box::new(Err(refused))),
        };
        if let Some(slot) = batch.slots.last_mut() {
            slot.hash = hash;
            slot.term = term;
            slot.decision = decision;
            slot.origin = request.origin.share(&entry.data);
        }
    }

    /// Gives a new request its position.
    fn admit_new(
        &mut self,
        calls: &mut Vec<Call>,
        request: &RequestView<'_>,
        body: Bytes,
        seed: u64,
    ) -> Decision {
        self.admitted += 1;
        let (position, kind) = (self.admitted, request.kind);
        if kind == RequestKind::OpenSession {
            let outcomes_max = opening_outcomes_max(&body).min(self.limits.session_outcomes_max);
            let secret = match request.origin {
                OriginView::Opening(nonce) => nonce,
                OriginView::Session { .. } | OriginView::Key(_) => 0,
            };
            self.sessions.open(
                (position, self.admitted_term),
                outcomes_max as usize,
                secret,
                self.time.age_ms,
            );
            return Decision::Opened;
        }
        let predictions_before = self.predictions;
        self.predictions += u64::from(kind == RequestKind::Predict);
        calls.push(Call { position, predictions_before, kind, body, time_ms: self.time.time_ms, seed });
        Decision::Call
    }

    fn look_up(
        &mut self,
        kind: RequestKind,
        origin: &OriginView<'_>,
        hash: RequestHash,
    ) -> Result<Known, Refused> {
        match origin {
            // The origin and the kind belong together; an opening under a key would be a session that nobody can name.
            OriginView::Opening(_) if kind != RequestKind::OpenSession => {
                Err(Refused::SessionExpired { session: 0 })
            }
            OriginView::Opening(nonce) => match self.sessions.opened_with(*nonce) {
                Some((position, term)) => {
                    let result = CallOutcome::Output(Bytes::new());
                    Ok(Known::Done(Outcome { position, term, result }))
                }
                None if self.sessions.has_room(&self.limits) => Ok(Known::New),
                None => Err(Refused::TooManySessions),
            },
            _ if kind == RequestKind::OpenSession => Err(Refused::SessionExpired { session: 0 }),
            OriginView::Session { request, lowest_unanswered } => {
                self.sessions.begin(*request, *lowest_unanswered, hash, self.time.age_ms)
            }
            OriginView::Key(key) => self.keys.begin(key, hash, self.time.age_ms, &self.limits),
        }
    }

    /// Takes the predictor's `outcomes`, one for each call of `batch` and in its order, and tells `answer` what became of
    /// each request. Leaves `batch` empty.
    ///
    /// # Panics
    /// When there are fewer outcomes than calls: the caller keeps a batch until all its calls ran.
    pub fn complete(
        &mut self,
        batch: &mut Batch,
        outcomes: impl IntoIterator<Item = CallOutcome, IntoIter: ExactSizeIterator>,
        mut answer: impl FnMut(&Origin, RequestHash, &Applied),
    ) {
        let mut outcomes = outcomes.into_iter();
        assert_eq!(batch.calls.len(), outcomes.len(), "one outcome for each call");
        for slot in batch.slots.drain(..) {
            let result = match &slot.decision {
                Decision::Call => outcomes.next().unwrap_or_else(no_outcome),
                Decision::Opened => CallOutcome::Output(Bytes::new()),
                Decision::Joined | Decision::Known(_) => {
                    answer(&slot.origin, slot.hash, &self.repeated(&slot));
                    continue;
                }
            };
            let outcome = self.count(&slot, result);
            let applied = Applied { result: Ok(outcome), replayed: false };
            answer(&slot.origin, slot.hash, &applied);
            if let Ok(outcome) = applied.result {
                self.remember(&slot, outcome);
            }
        }
        batch.calls.clear();
        if let Some((index, term)) = batch.last.take() {
            (self.index, self.term) = (index, term);
        }
        debug_assert_eq!(self.position, self.admitted);
    }

    /// What a request gets that is not new.
    fn repeated(&self, slot: &Slot) -> Applied {
        match &slot.decision {
            Decision::Known(result) => Applied { replayed: result.is_ok(), result: result.as_ref().clone() },
            Decision::Joined | Decision::Call | Decision::Opened => {
                let outcome = self.outcome(&slot.origin).cloned();
                Applied { result: outcome.ok_or(Refused::OutcomeForgotten), replayed: true }
            }
        }
    }

    /// Counts the outcome of a new request, and folds it into the digest.
    #[inline]
    fn count(&mut self, slot: &Slot, result: CallOutcome) -> Outcome {
        let (kind, bytes) = match &result {
            CallOutcome::Output(output) => (0, output.as_ref()),
            CallOutcome::Rejected(reason) => (1, reason.as_bytes()),
            CallOutcome::Quarantined => (2, &[][..]),
        };
        // The position that the request was admitted with: new requests complete in the order of their admission.
        self.position += 1;
        self.digest = self.digest.fold(self.position, slot.hash, kind, bytes);
        self.checkpoints.note(self.position, self.digest);
        Outcome { position: self.position, term: slot.term, result }
    }

    /// Keeps the outcome of a new request for its retries.
    #[inline]
    fn remember(&mut self, slot: &Slot, outcome: Outcome) {
        match &slot.origin {
            Origin::Opening(_) => {}
            Origin::Session { request, .. } => self.sessions.finish(*request, slot.hash, outcome),
            Origin::Key(key) => self.keys.finish(key, outcome),
        }
    }
}

/// Stands for an outcome that the predictor owes: callers check that there is one for each call.
#[cold]
fn no_outcome() -> CallOutcome {
    CallOutcome::Rejected("the predictor gave no outcome".to_owned())
}

/// The body of an opening: how many outcomes its owner wants kept.
pub fn opening_body(outcomes_max: u32) -> Bytes {
    Bytes::copy_from_slice(&outcomes_max.to_le_bytes())
}

fn opening_outcomes_max(body: &[u8]) -> u32 {
    Reader::new(body, "session opening").u32().map_or(1, |wanted| wanted.max(1))
}

#[cfg(test)]
mod tests;
