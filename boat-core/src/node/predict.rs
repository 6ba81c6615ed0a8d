//! Asking for one prediction, or anything else that takes a position.

use std::future::{Future, IntoFuture, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::asked::{Asked, Begun};
use super::handing_in::HandedIn;
use super::session::ClientNumbers;
use super::{Answer, Inner, Interface};
use crate::apply::Outcome;
use crate::{CallOutcome, PredictError, RequestKind};

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
        let mut asked = match self.asked() {
            Ok(asked) => asked,
            Err(error) => return Box::pin(ready(Err(error))),
        };
        // In one piece, with what is rare in boxes of its own: a future within another is moved into it whole, room for all that it
        // might hold included, and each request has one.
        Box::pin(async move {
            let mut tried = 1;
            let (outcome, replayed, key) = loop {
                let Some(Begun { number, retry, handed: HandedIn { promise, reply, since } }) =
                    asked.begin()?
                else {
                    match asked.key.take() {
                        Some(key) => break Box::pin(asked.ask_named(key)).await?,
                        None => Box::pin(asked.inner.open_session(asked.within)).await?,
                    }
                    continue;
                };
                if let Some(promise) = promise {
                    promise.keep().await;
                }
                match number.settled(asked.settle(reply.await, since, retry.into())) {
                    // Never applied: this sequence number was used for nothing else.
                    Err(PredictError::SessionExpired { session })
                        if asked.session.is_none() && tried < SESSIONS_TRIED_MAX =>
                    {
                        asked.inner.session.expired(session);
                        tried += 1;
                    }
                    result => {
                        let (outcome, replayed) = result?;
                        break (outcome, replayed, retry.to_key());
                    }
                }
            };
            let Answer { output, position, term, replayed, key } = answer(outcome, replayed, key)?;
            let output = I::decode(output).map_err(PredictError::Invalid)?;
            Ok(Answer { output, position, term, replayed, key })
        })
    }
}
