//! Looking up what became of a request, without asking for it again.

use std::time::Duration;

use bytes::Bytes;

use super::session::RetryKey;
use super::{Answer, Inner, Read};
use crate::apply::{Outcome, Remembered};
use crate::driver::{Told, Work};
use crate::{CallOutcome, Origin, OutcomeError, QueryError};

/// How long this node's own table is waited for: between two batches.
const LOCAL_MAX: Duration = Duration::from_secs(10);

impl Inner {
    /// What is remembered under a key, given as it stands in the log and as its client writes it.
    pub(super) async fn outcome(&self, scoped: Bytes, key: &str) -> Result<Answer<Bytes>, OutcomeError> {
        let origin = self.origin(scoped, key).await?;
        let mut remembered = self.look_up(&origin, Read::Local { at_least: 0 }, LOCAL_MAX).await?;
        if matches!(remembered, Remembered::Nothing | Remembered::Unknown) {
            if self.shared.waiters.is_waiting_for(&origin) {
                return Err(OutcomeError::Pending);
            }
            // Another node may have applied and answered it already.
            let leader_wait = Duration::from_millis(self.config.limits.leader_wait_ms);
            remembered = self.look_up(&origin, Read::Linearizable, leader_wait).await?;
        }
        match remembered {
            Remembered::Outcome(Outcome { position, term, result: CallOutcome::Output(output) }) => {
                Ok(Answer { output, position, term, replayed: true, key: key.to_owned() })
            }
            Remembered::Outcome(Outcome { position, result: CallOutcome::Rejected(reason), .. }) => {
                Err(OutcomeError::Rejected { position, reason })
            }
            Remembered::Outcome(Outcome { position, result: CallOutcome::Quarantined, .. }) => {
                Err(OutcomeError::Quarantined { position })
            }
            Remembered::Forgotten => Err(OutcomeError::Forgotten),
            Remembered::Nothing | Remembered::Unknown => Err(OutcomeError::NotFound),
        }
    }

    async fn origin(&self, scoped: Bytes, key: &str) -> Result<Origin, OutcomeError> {
        let Some(retry) = RetryKey::read(key) else { return Ok(Origin::Key(scoped)) };
        let session = retry.request.session;
        self.hear_of(session, Duration::MAX).await;
        // Looked at first: a session that is opened in between is not taken for an expired one.
        let position = self.shared.applied().position;
        match self.shared.session_secret(session) {
            Some(secret) if retry.is_proved_by(secret) => Ok(retry.origin()),
            // Nobody was given this key.
            Some(_) => Err(OutcomeError::NotFound),
            None if session <= position => Err(OutcomeError::Forgotten),
            None => Err(OutcomeError::NotFound),
        }
    }

    async fn look_up(
        &self,
        origin: &Origin,
        read: Read,
        within: Duration,
    ) -> Result<Remembered, OutcomeError> {
        match self.wait_for(Work::Outcome(origin.clone()), read, within).await {
            Ok(Told::Outcome(remembered)) => Ok(remembered),
            Err(QueryError::NoLeader(waited)) => Err(OutcomeError::NoLeader(waited)),
            Err(QueryError::Overloaded { waiting, waiting_max }) => {
                Err(OutcomeError::Overloaded { waiting, waiting_max })
            }
            Err(QueryError::Stopped) => Err(OutcomeError::Stopped),
            Ok(_) | Err(_) => Err(OutcomeError::Behind { position: self.shared.applied().position }),
        }
    }
}
