//! Asking for one prediction, or anything else that takes a position.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use rand::RngCore;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::session::{ClientNumbers, Numbers, Open, RetryKey};
use super::{Answer, Inner, Interface};
use crate::apply::{Applied, Outcome, Refused, opening_body};
use crate::driver::{Event, Offered, Promise, Reply};
use crate::replica::{Failure, RequestId};
use crate::{CallOutcome, Origin, PredictError, Request, RequestKind, SessionError, SessionRequest};

/// How many outcomes a frontend asks to have kept, for each request that may wait at one time: a slow one must not hold the
/// others back.
const OUTCOMES_PER_PROPOSAL: usize = 4;
/// How much longer than its client a request waits for the driver's word that its time is over.
const DRIVER_GRACE: Duration = Duration::from_secs(1);
/// How often a request without a key is begun again in another session because its own had expired.
const SESSIONS_TRIED_MAX: usize = 3;

/// A request that is about to be asked: a prediction, feedback, or a configuration change. Await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct Predict<'a, I: Interface> {
    inner: &'a Inner,
    /// The request's bytes, or why it has none.
    body: Result<Bytes, String>,
    kind: RequestKind,
    key: Option<(Bytes, String)>,
    within: Duration,
    checked: bool,
    /// The client's session, if it asks in one.
    session: Option<&'a ClientNumbers>,
    interface: PhantomData<fn() -> I>,
}

impl<'a, I: Interface> Predict<'a, I> {
    pub(super) fn new(inner: &'a Inner, kind: RequestKind, body: Result<Bytes, String>) -> Self {
        let within = inner.request_timeout();
        let (key, session) = (None, None);
        Predict { inner, body, kind, key, within, checked: false, session, interface: PhantomData }
    }

    /// Asks in a client's session.
    pub(super) fn in_session(mut self, session: &'a ClientNumbers) -> Self {
        self.session = Some(session);
        self
    }

    /// Names the request: a retry with the same key and the same request gets the first outcome, from any node, for ten
    /// minutes at least. Without a key Boat names it itself, see [`Answer::key`].
    pub fn key(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.scoped_key(unscoped(&key), key)
    }

    /// Names the request by a client's key within the scope of its token, as the HTTP frontend does.
    #[cfg(feature = "http")]
    pub fn idempotency_key(self, key: &crate::http::IdempotencyKey) -> Self {
        self.scoped_key(key.to_bytes(), key.key().to_owned())
    }

    /// Like [`Predict::key`], with the bytes that stand for key and caller in the log.
    fn scoped_key(mut self, scoped: Bytes, key: String) -> Self {
        self.key = Some((scoped, key));
        self
    }

    /// How long to wait for the answer. Default: `http.request_timeout_ms` of the configuration.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The frontend has run the predictor's check already.
    #[cfg(feature = "http")]
    pub(crate) fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// What is to be asked, once it is known to be sound.
    fn asked(self) -> Result<Asked<'a>, PredictError> {
        let body = self.body.map_err(PredictError::Invalid)?;
        if !self.checked {
            (self.inner.check)(self.kind, &body).map_err(PredictError::Invalid)?;
        }
        let (inner, kind, within) = (self.inner, self.kind, self.within);
        Ok(Asked { inner, kind, body, within, key: self.key, session: self.session })
    }
}

/// An outcome as whoever asked gets it.
pub(super) fn answer(outcome: Outcome, replayed: bool, key: String) -> Result<Answer<Bytes>, PredictError> {
    let Outcome { position, term, result } = outcome;
    match result {
        CallOutcome::Output(output) => Ok(Answer { output, position, term, replayed, key }),
        CallOutcome::Rejected(reason) => Err(PredictError::Rejected { position, reason }),
        CallOutcome::Quarantined => Err(PredictError::Quarantined { position }),
    }
}

/// A key as the HTTP frontend writes one without a caller's token, so that both name the same request and no key can be made
/// to look like one that has a token.
pub(super) fn unscoped(key: &str) -> Bytes {
    [&[0], key.as_bytes()].concat().into()
}

impl<'a, I: Interface> IntoFuture for Predict<'a, I> {
    type Output = Result<Answer<I::Response>, PredictError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        // What is not held while it waits is done before: each request has a future of its own, to be moved and kept.
        let asked = self.asked();
        Box::pin(async move {
            let (outcome, replayed, key) = asked?.ask().await?;
            let Answer { output, position, term, replayed, key } = answer(outcome, replayed, key)?;
            let output = I::decode(output).map_err(PredictError::Invalid)?;
            Ok(Answer { output, position, term, replayed, key })
        })
    }
}

/// A sequence number of a session, given back when it is dropped.
struct Number<'a> {
    numbers: &'a dyn Numbers,
    request: SessionRequest,
    /// Its client may ask for it again: it stays unanswered.
    is_held: bool,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        if !self.is_held {
            self.numbers.answered(self.request);
        }
    }
}

/// A request that was handed in.
struct HandedIn<'a> {
    /// To take the driver's turn for it.
    promise: Option<Promise<'a>>,
    reply: oneshot::Receiver<Reply>,
    asked: Instant,
}

/// What is asked, and by when.
pub(super) struct Asked<'a> {
    pub(super) inner: &'a Inner,
    pub(super) kind: RequestKind,
    pub(super) body: Bytes,
    pub(super) within: Duration,
    /// What names it, if the client does: as it stands in the log, and as the client wrote it.
    key: Option<(Bytes, String)>,
    /// The client's session, if it asks in one.
    session: Option<&'a ClientNumbers>,
}

impl<'a> Asked<'a> {
    /// A request that its client does not name.
    #[cfg(feature = "http")]
    pub(super) fn new(inner: &'a Inner, kind: RequestKind, body: Bytes, within: Duration) -> Self {
        Asked { inner, kind, body, within, key: None, session: None }
    }

    async fn ask(&mut self) -> Result<(Outcome, bool, String), PredictError> {
        self.check_length()?;
        match (self.key.take(), self.session) {
            (Some((scoped, key)), Some(session)) => Box::pin(self.ask_again(session, scoped, key)).await,
            (Some((scoped, key)), None) => Box::pin(self.ask_with_key(scoped, key)).await,
            (None, Some(session)) => {
                let full = PredictError::Overloaded {
                    waiting: self.inner.config.sessions.session_outcomes_max,
                    waiting_max: self.inner.config.sessions.session_outcomes_max,
                    what: "requests of the session",
                };
                let (retry, origin) = session.next().ok_or(full)?;
                self.ask_as(session, retry, origin).await
            }
            (None, None) => self.ask_in_session().await,
        }
    }

    pub(super) fn check_length(&self) -> Result<(), PredictError> {
        let bytes_max = self.inner.config.limits.request_bytes_max;
        match self.body.len() {
            bytes if bytes > bytes_max => Err(PredictError::TooLarge { bytes, bytes_max }),
            _ => Ok(()),
        }
    }

    /// Asks under a number of a session, which is free again unless the request's fate is unknown.
    async fn ask_as(
        &self,
        numbers: &dyn Numbers,
        retry: RetryKey,
        origin: Origin,
    ) -> Result<(Outcome, bool, String), PredictError> {
        let key = retry.to_key();
        // A client that goes away was never told the key, so nobody asks for this number again.
        let mut number = Number { numbers, request: retry.request, is_held: false };
        let result = self.send(origin, &key).await;
        number.is_held = matches!(result, Err(PredictError::Unknown { .. }));
        result.map(|(outcome, replayed)| (outcome, replayed, key))
    }

    /// Asks again under the key of a request of this session; once its fate is known, its number is free.
    async fn ask_again(
        &self,
        session: &ClientNumbers,
        scoped: Bytes,
        key: String,
    ) -> Result<(Outcome, bool, String), PredictError> {
        let retry = RetryKey::read(&key);
        let result = self.ask_with_key(scoped, key).await;
        if let Some(retry) = retry
            && !matches!(result, Err(PredictError::Unknown { .. }))
        {
            session.answered(retry.request);
        }
        result
    }

    async fn ask_with_key(
        &self,
        scoped: Bytes,
        key: String,
    ) -> Result<(Outcome, bool, String), PredictError> {
        if key.is_empty() || scoped.len() > usize::from(u16::MAX) {
            return Err(PredictError::Invalid("the key has 0 or more than 65,535 bytes".to_owned()));
        }
        let origin = match RetryKey::read(&key) {
            Some(retry) => self.retry(retry, &key).await?,
            None if self.inner.shared.applied().key_table_full => return Err(PredictError::KeyTableFull),
            None => Origin::Key(scoped),
        };
        let (outcome, replayed) = self.send(origin, &key).await?;
        Ok((outcome, replayed, key))
    }

    /// The origin of a request that is asked again under the key that Boat gave it.
    async fn retry(&self, retry: RetryKey, key: &str) -> Result<Origin, PredictError> {
        let session = retry.request.session;
        let asked = Instant::now();
        self.inner.hear_of(session, self.within).await;
        // Looked at first: a session that is opened in between is not taken for an expired one.
        let position = self.inner.shared.applied().position;
        match self.inner.shared.session_secret(session) {
            Some(secret) if retry.is_proved_by(secret) => Ok(retry.origin()),
            Some(_) => Err(PredictError::Invalid(format!("no request was given the key {key}"))),
            None if session <= position => Err(PredictError::SessionExpired { session }),
            // This node has not heard of the session yet: its fate is not known here.
            None => Err(PredictError::Unknown { waited: asked.elapsed(), key: key.to_owned() }),
        }
    }

    async fn ask_in_session(&self) -> Result<(Outcome, bool, String), PredictError> {
        let mut tried = 1;
        loop {
            let (retry, origin) = match self.inner.session.next() {
                Some(next) => next,
                None => {
                    Box::pin(self.inner.open_session(self.within)).await?;
                    continue;
                }
            };
            match self.ask_as(&self.inner.session, retry, origin).await {
                // Never applied: this sequence number was used for nothing else.
                Err(PredictError::SessionExpired { session }) if tried < SESSIONS_TRIED_MAX => {
                    self.inner.session.expired(session);
                    tried += 1;
                }
                result => return result,
            }
        }
    }

    pub(super) async fn send(&self, origin: Origin, key: &str) -> Result<(Outcome, bool), PredictError> {
        let request = Request { kind: self.kind, origin, body: self.body.clone() };
        let handed = self.inner.hand_in(&request, self.within, key);
        drop(request);
        let applied = self.inner.applied(handed?, key).await?;
        let Applied { result, replayed } = applied;
        result.map(|outcome| (outcome, replayed)).map_err(|refused| self.refused(refused, key))
    }

    /// What a refusal in the log means to the caller. Those that pass by themselves are *unknown*: another copy of this
    /// request may be on its way through the log, and be applied.
    fn refused(&self, refused: Refused, key: &str) -> PredictError {
        match refused {
            Refused::SessionExpired { session } => PredictError::SessionExpired { session },
            Refused::OutcomeForgotten => PredictError::OutcomeForgotten,
            Refused::KeyReused { position } => PredictError::KeyReused { position },
            Refused::WindowFull { .. } | Refused::KeyTableFull | Refused::TooManySessions => {
                PredictError::Unknown { waited: self.within, key: key.to_owned() }
            }
        }
    }
}

impl Inner {
    /// Opens the frontend's own session, unless somebody else has just done so.
    async fn open_session(&self, within: Duration) -> Result<(), PredictError> {
        let asked = Instant::now();
        let leader_wait = Duration::from_millis(self.config.limits.leader_wait_ms).min(within);
        let only_one = tokio::time::timeout(leader_wait, self.opening.lock()).await;
        let Ok(_only_one) = only_one else { return Err(PredictError::NoLeader(asked.elapsed())) };
        if self.session.is_open() {
            return Ok(());
        }
        let outcomes_max = OUTCOMES_PER_PROPOSAL * self.config.limits.proposals_max;
        let outcomes_max = u32::try_from(outcomes_max).unwrap_or(u32::MAX).min(65_536);
        let open = self.open(outcomes_max, within).await.map_err(|error| match error {
            SessionError::TooMany { sessions_max: most } => {
                PredictError::Overloaded { waiting: most, waiting_max: most, what: "sessions" }
            }
            SessionError::Overloaded { waiting, waiting_max } => {
                PredictError::Overloaded { waiting, waiting_max, what: "requests" }
            }
            SessionError::NoLeader(waited) => PredictError::NoLeader(waited),
            SessionError::DiskFull => PredictError::DiskFull,
            SessionError::Stopped => PredictError::Stopped,
        })?;
        self.session.opened(open);
        Ok(())
    }

    /// Opens a session through the log. That one may yet be opened for nobody harms nobody, so every error is definite.
    pub(super) async fn open(&self, outcomes_max: u32, within: Duration) -> Result<Open, SessionError> {
        let asked = Instant::now();
        let nonce = rand::rngs::OsRng.next_u64();
        let body = opening_body(outcomes_max);
        let request = Request { kind: RequestKind::OpenSession, origin: Origin::Opening(nonce), body };
        let sent = async { self.applied(self.hand_in(&request, within, "")?, "").await };
        let applied = sent.await.map_err(|error| match error {
            PredictError::Overloaded { waiting, waiting_max, .. } => {
                SessionError::Overloaded { waiting, waiting_max }
            }
            PredictError::DiskFull => SessionError::DiskFull,
            PredictError::Stopped => SessionError::Stopped,
            _ => SessionError::NoLeader(asked.elapsed()),
        })?;
        match applied.result {
            Ok(outcome) => Ok(Open::new(outcome.position, u64::from(outcomes_max), nonce)),
            Err(_) => Err(SessionError::TooMany { sessions_max: self.config.sessions.sessions_max }),
        }
    }

    /// Waits until this node has applied a session's opening, for as long as it would wait for a leader.
    pub(super) async fn hear_of(&self, session: u64, within: Duration) {
        if session > self.shared.applied().position {
            let leader_wait = Duration::from_millis(self.config.limits.leader_wait_ms).min(within);
            // Whether it came in time is seen afterwards.
            let _ = tokio::time::timeout(leader_wait, self.reach(session)).await;
        }
    }

    /// Hands one request in.
    fn hand_in(&self, request: &Request, within: Duration, key: &str) -> Result<HandedIn<'_>, PredictError> {
        if self.shared.disk_full.load(Ordering::Acquire) {
            return Err(PredictError::DiskFull);
        }
        let id = RequestId::of(&request.origin, request.hash());
        let mut encoded = Vec::with_capacity(request.encoded_bytes());
        request.encode(&mut encoded);
        let asked = Instant::now();
        // The driver answers in time, unless its disk hangs.
        let deadline = within.checked_add(DRIVER_GRACE).and_then(|within| asked.checked_add(within));
        let reply = self.shared.waiters.wait(&id, encoded.len(), deadline)?;
        if request.kind == RequestKind::Predict && log::log_enabled!(target: "boat", log::Level::Info) {
            let (node, body) = (self.shared.node, String::from_utf8_lossy(&request.body));
            log::info!(target: "boat", "Boat {node}: Request from API appended to state: {body}");
        }
        let event = Event::Propose { id: id.clone(), encoded: encoded.into(), within };
        match self.shared.inbox.offer_request(event) {
            Offered::Taken => Ok(HandedIn { promise: None, reply, asked }),
            Offered::Promised(promise) => Ok(HandedIn { promise: Some(promise), reply, asked }),
            // Who asked for the same before may have been heard.
            Offered::Refused if !self.shared.waiters.withdraw(&id) => {
                Err(PredictError::Unknown { waited: asked.elapsed(), key: key.to_owned() })
            }
            Offered::Refused => {
                let (waiting, waiting_max) = (self.shared.waiters.len(), self.config.limits.proposals_max);
                Err(PredictError::Overloaded { waiting, waiting_max, what: "requests" })
            }
        }
    }

    /// Waits for what becomes of a request.
    async fn applied(&self, handed: HandedIn<'_>, key: &str) -> Result<Applied, PredictError> {
        let HandedIn { promise, reply, asked } = handed;
        if let Some(promise) = promise {
            promise.keep().await;
        }
        let unknown = || PredictError::Unknown { waited: asked.elapsed(), key: key.to_owned() };
        match reply.await {
            Ok(Reply::Applied(applied)) => Ok(applied),
            Ok(Reply::Failed(Failure::NoLeader)) => Err(PredictError::NoLeader(asked.elapsed())),
            Ok(Reply::Failed(Failure::DiskFull)) => Err(PredictError::DiskFull),
            Ok(Reply::Failed(Failure::Overloaded)) => {
                let (waiting, waiting_max) = (self.shared.waiters.len(), self.config.limits.proposals_max);
                Err(PredictError::Overloaded { waiting, waiting_max, what: "requests at the leader" })
            }
            Ok(Reply::Failed(Failure::Unknown) | Reply::Stopped) | Err(_) => Err(unknown()),
        }
    }
}

/// So that a session's numbers read well in errors.
impl std::fmt::Display for SessionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.session, self.sequence)
    }
}
