//! From a frontend to the driver and back: one request is handed in, and what becomes of it is told.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Inner;
use super::session::RetryKey;
use crate::apply::Applied;
use crate::driver::{Event, Known, Offered, Promise, Reply};
use crate::replica::{Failure, RequestId};
use crate::{PredictError, Request, RequestKind};

/// How much longer than its client a request waits for the driver's word that its time is over.
const DRIVER_GRACE: Duration = Duration::from_secs(1);

/// What a client may ask again for a request under.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name<'a> {
    /// A number that was just taken for it, which nobody knows yet: the key is written when somebody is told.
    Taken(RetryKey),
    /// What its client wrote.
    Client(&'a str),
}

impl From<RetryKey> for Name<'_> {
    fn from(retry: RetryKey) -> Self {
        Name::Taken(retry)
    }
}

impl Name<'_> {
    pub(super) fn to_key(self) -> String {
        match self {
            Name::Taken(retry) => retry.to_key(),
            Name::Client(key) => key.to_owned(),
        }
    }

    /// Who may ask for the request at the same time.
    fn known(self) -> Known {
        match self {
            Name::Taken(_) => Known::Here,
            Name::Client(_) => Known::Elsewhere,
        }
    }
}

/// A request that was handed in.
pub(super) struct HandedIn<'a> {
    /// To take the driver's turn for it.
    pub(super) promise: Option<Promise<'a>>,
    pub(super) reply: oneshot::Receiver<Reply>,
    pub(super) since: Instant,
}

impl HandedIn<'_> {
    /// Takes the turn that was promised, and waits.
    pub(super) async fn reply(self) -> Result<Reply, oneshot::error::RecvError> {
        if let Some(promise) = self.promise {
            promise.keep().await;
        }
        self.reply.await
    }
}

impl Inner {
    /// Hands one request in.
    pub(super) fn hand_in(
        &self,
        request: &Request,
        within: Duration,
        name: Name<'_>,
    ) -> Result<HandedIn<'_>, PredictError> {
        if self.shared.disk_full.load(Ordering::Acquire) {
            return Err(PredictError::DiskFull);
        }
        let id = RequestId::of(&request.origin, request.hash());
        let mut encoded = Vec::with_capacity(request.encoded_bytes());
        request.encode(&mut encoded);
        let since = Instant::now();
        // The driver answers in time, unless its disk hangs.
        let deadline = within.checked_add(DRIVER_GRACE).and_then(|within| since.checked_add(within));
        let reply = self.shared.waiters.wait(&id, name.known(), encoded.len(), deadline)?;
        if request.kind == RequestKind::Predict && log::log_enabled!(target: "boat", log::Level::Info) {
            let (node, body) = (self.shared.node, String::from_utf8_lossy(&request.body));
            log::info!(target: "boat", "Boat {node}: Request from API appended to state: {body}");
        }
        let event = Event::Propose { id: id.clone(), known: name.known(), encoded: encoded.into(), within };
        match self.shared.inbox.offer_request(event) {
            Offered::Taken => Ok(HandedIn { promise: None, reply, since }),
            Offered::Promised(promise) => Ok(HandedIn { promise: Some(promise), reply, since }),
            // Who asked for the same before may have been heard.
            Offered::Refused if !self.shared.waiters.withdraw(&id) => {
                Err(PredictError::Unknown { waited: since.elapsed(), key: name.to_key() })
            }
            Offered::Refused => {
                let (waiting, waiting_max) = (self.shared.waiters.len(), self.config.limits.proposals_max);
                Err(PredictError::Overloaded { waiting, waiting_max, what: "requests" })
            }
        }
    }

    /// What a reply says became of a request that waited `since` then.
    pub(super) fn applied(
        &self,
        reply: Result<Reply, oneshot::error::RecvError>,
        since: Instant,
        name: Name<'_>,
    ) -> Result<Applied, PredictError> {
        match reply {
            Ok(Reply::Applied(applied)) => Ok(applied),
            Ok(Reply::Failed(Failure::NoLeader)) => Err(PredictError::NoLeader(since.elapsed())),
            Ok(Reply::Failed(Failure::DiskFull)) => Err(PredictError::DiskFull),
            Ok(Reply::Failed(Failure::Overloaded)) => {
                let (waiting, waiting_max) = (self.shared.waiters.len(), self.config.limits.proposals_max);
                Err(PredictError::Overloaded { waiting, waiting_max, what: "requests at the leader" })
            }
            Ok(Reply::Failed(Failure::Unknown) | Reply::Stopped) | Err(_) => {
                Err(PredictError::Unknown { waited: since.elapsed(), key: name.to_key() })
            }
        }
    }
}
