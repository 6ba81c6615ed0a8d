//! Opening sessions through the log, and hearing of those that were opened elsewhere.

use std::time::Duration;

use rand::RngCore;
use tokio::time::Instant;

use super::Inner;
use super::handing_in::Name;
use super::session::Open;
use crate::apply::opening_body;
use crate::{Origin, PredictError, Request, RequestKind, SessionError};

/// How many outcomes a frontend asks to have kept, for each request that may wait at one time: a slow one must not hold the
/// others back.
const OUTCOMES_PER_PROPOSAL: usize = 4;

impl Inner {
    /// Opens the frontend's own session, unless somebody else has just done so.
    pub(super) async fn open_session(&self, within: Duration) -> Result<(), PredictError> {
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
        let name = Name::Client("");
        let sent = async {
            let handed = self.hand_in(&request, within, name)?;
            let since = handed.since;
            self.applied(handed.reply().await, since, name)
        };
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
}
