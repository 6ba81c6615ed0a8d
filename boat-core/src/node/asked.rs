//! What is asked, once it is known to be sound, and the ways to ask it: under a number of a session that is open, which most
//! requests take, or under a key.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Inner;
use super::handing_in::{HandedIn, Name};
use super::session::{ClientNumbers, Numbers, RetryKey};
use crate::apply::{Applied, Outcome, Refused};
use crate::driver::Reply;
use crate::{Origin, PredictError, Request, RequestKind, SessionRequest};

/// What is asked, and by when.
pub(super) struct Asked<'a> {
    pub(super) inner: &'a Inner,
    pub(super) kind: RequestKind,
    pub(super) body: Bytes,
    pub(super) within: Duration,
    /// What names it, if the client does: as it stands in the log, and as the client wrote it.
    pub(super) key: Option<(Bytes, String)>,
    /// The client's session, if it asks in one.
    pub(super) session: Option<&'a ClientNumbers>,
}

/// A request that was handed in under a number of a session.
pub(super) struct Begun<'a> {
    pub(super) number: Number<'a>,
    pub(super) retry: RetryKey,
    pub(super) handed: HandedIn<'a>,
}

/// A sequence number of a session, given back when it is dropped: a client that goes away was never told the key, so nobody asks
/// for this number again.
pub(super) struct Number<'a> {
    numbers: &'a dyn Numbers,
    request: SessionRequest,
    /// Its client may ask for it again: it stays unanswered.
    is_held: bool,
}

impl Number<'_> {
    /// Gives it back, unless the request's fate is unknown.
    pub(super) fn settled<T>(mut self, result: Result<T, PredictError>) -> Result<T, PredictError> {
        self.is_held = matches!(result, Err(PredictError::Unknown { .. }));
        result
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        if !self.is_held {
            self.numbers.answered(self.request);
        }
    }
}

impl<'a> Asked<'a> {
    /// A request that its client does not name.
    #[cfg(feature = "http")]
    pub(super) fn new(inner: &'a Inner, kind: RequestKind, body: Bytes, within: Duration) -> Self {
        Asked { inner, kind, body, within, key: None, session: None }
    }

    /// Hands the request in under the next number of its session. `None`: it has a key, or this frontend has no session open.
    pub(super) fn begin(&mut self) -> Result<Option<Begun<'a>>, PredictError> {
        self.check_length()?;
        if self.key.is_some() {
            return Ok(None);
        }
        let numbers: &'a dyn Numbers = match self.session {
            Some(session) => session,
            None => &self.inner.session,
        };
        let Some((retry, origin)) = numbers.next() else {
            let waiting_max = self.inner.config.sessions.session_outcomes_max;
            let full = PredictError::Overloaded {
                waiting: waiting_max,
                waiting_max,
                what: "requests of the session",
            };
            return if self.session.is_some() { Err(full) } else { Ok(None) };
        };
        let number = Number { numbers, request: retry.request, is_held: false };
        match self.hand_in(origin, retry.into()) {
            Ok(handed) => Ok(Some(Begun { number, retry, handed })),
            Err(error) => number.settled(Err(error)),
        }
    }

    fn hand_in(&mut self, origin: Origin, name: Name<'_>) -> Result<HandedIn<'a>, PredictError> {
        let request = Request { kind: self.kind, origin, body: std::mem::take(&mut self.body) };
        let handed = self.inner.hand_in(&request, self.within, name);
        self.body = request.body;
        handed
    }

    pub(super) fn check_length(&self) -> Result<(), PredictError> {
        let bytes_max = self.inner.config.limits.request_bytes_max;
        match self.body.len() {
            bytes if bytes > bytes_max => Err(PredictError::TooLarge { bytes, bytes_max }),
            _ => Ok(()),
        }
    }

    /// Asks under a key, given as it stands in the log and as its client writes it.
    pub(super) async fn ask_named(
        &mut self,
        (scoped, key): (Bytes, String),
    ) -> Result<(Outcome, bool, String), PredictError> {
        let result = self.ask_with_key(scoped, &key).await;
        // Asked again in the session that it was first asked in, its number is free once its fate is known.
        if let (Some(session), Some(retry)) = (self.session, RetryKey::read(&key))
            && !matches!(result, Err(PredictError::Unknown { .. }))
        {
            session.answered(retry.request);
        }
        result.map(|(outcome, replayed)| (outcome, replayed, key))
    }

    async fn ask_with_key(&mut self, scoped: Bytes, key: &str) -> Result<(Outcome, bool), PredictError> {
        if key.is_empty() || scoped.len() > usize::from(u16::MAX) {
            return Err(PredictError::Invalid("the key has 0 or more than 65,535 bytes".to_owned()));
        }
        let origin = match RetryKey::read(key) {
            Some(retry) => self.retry(retry, key).await?,
            None if self.inner.shared.applied().key_table_full => return Err(PredictError::KeyTableFull),
            None => Origin::Key(scoped),
        };
        self.send(origin, key).await
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

    pub(super) async fn send(&mut self, origin: Origin, key: &str) -> Result<(Outcome, bool), PredictError> {
        let handed = self.hand_in(origin, Name::Client(key))?;
        let since = handed.since;
        self.settle(handed.reply().await, since, Name::Client(key))
    }

    /// What a reply means to the caller: the outcome, and whether it is an earlier one again.
    pub(super) fn settle(
        &self,
        reply: Result<Reply, oneshot::error::RecvError>,
        since: Instant,
        name: Name<'_>,
    ) -> Result<(Outcome, bool), PredictError> {
        let Applied { result, replayed } = self.inner.applied(reply, since, name)?;
        result.map(|outcome| (outcome, replayed)).map_err(|refused| self.refused(refused, name))
    }

    /// What a refusal in the log means to the caller. Those that pass by themselves are *unknown*: another copy of this
    /// request may be on its way through the log, and be applied.
    fn refused(&self, refused: Refused, name: Name<'_>) -> PredictError {
        match refused {
            Refused::SessionExpired { session } => PredictError::SessionExpired { session },
            Refused::OutcomeForgotten => PredictError::OutcomeForgotten,
            Refused::KeyReused { position } => PredictError::KeyReused { position },
            Refused::WindowFull { .. } | Refused::KeyTableFull | Refused::TooManySessions => {
                PredictError::Unknown { waited: self.within, key: name.to_key() }
            }
        }
    }
}
