//! A node as its HTTP frontend sees it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::asked::Asked;
use super::predict::answer;
use super::session::{RetryKey, SessionToken};
use super::{Answer, Node, Predict, QueryAnswer, Raw, Read};
use crate::http::{IdempotencyKey, Identity, MetricsText, OpenedSession, Service, SessionPlace};
use crate::{
    Alarm, MembershipError, MembershipOperation, NodeId, Origin, OutcomeError, PredictError, QuarantineError,
    QueryError, RequestKind, SessionError, SessionRequest, Status, WipeError,
};

impl Service for Node {
    fn node(&self) -> NodeId {
        self.id()
    }

    fn request_bytes_max(&self) -> usize {
        self.inner.config.limits.request_bytes_max
    }

    fn check(&self, kind: RequestKind, body: &[u8]) -> Result<(), String> {
        (self.inner.check)(kind, body)
    }

    async fn predict(
        &self,
        kind: RequestKind,
        body: Bytes,
        identity: Identity,
        within: Duration,
    ) -> Result<Answer<Bytes>, PredictError> {
        let place = match identity {
            Identity::Session(place) => place,
            Identity::Key(key) => {
                let predict = Predict::<Raw>::new(&self.inner, kind, Ok(body)).within(within).checked();
                return predict.idempotency_key(&key).await;
            }
            Identity::Unnamed => {
                return Predict::<Raw>::new(&self.inner, kind, Ok(body)).within(within).checked().await;
            }
        };
        let mut asked = Asked::new(&self.inner, kind, body, within);
        asked.ask_in_place(&place).await
    }

    async fn query(
        &self,
        body: Bytes,
        read: Read,
        within: Duration,
    ) -> Result<QueryAnswer<Bytes>, QueryError> {
        Node::query(self, body, read).within(within).await
    }

    async fn open_session(&self, within: Duration) -> Result<OpenedSession, SessionError> {
        let open = self.inner.open_for_client(within).await?;
        let token = SessionToken::new(open.id, open.secret).to_string();
        let outcomes_max = self.inner.config.sessions.session_outcomes_max;
        let expires_after_ms = self.inner.config.sessions.session_age_ms_max;
        Ok(OpenedSession { token, position: open.id, outcomes_max, expires_after_ms })
    }

    async fn outcome(&self, key: &IdempotencyKey) -> Result<Answer<Bytes>, OutcomeError> {
        self.inner.outcome(key.to_bytes(), key.key()).await
    }

    fn status(&self) -> Status {
        Node::status(self)
    }

    fn live(&self) -> bool {
        self.is_running()
    }

    async fn prepare_wipe(&self) -> Result<(), WipeError> {
        Node::prepare_wipe(self).await
    }

    async fn change_members(
        &self,
        operation: MembershipOperation,
        key: Option<String>,
        within: Duration,
    ) -> Result<(), MembershipError> {
        let change = Node::change_members(self, operation).within(within);
        match key {
            Some(key) => change.key(key).await,
            None => change.await,
        }
    }

    fn wipe_and_kill(&self) {
        Node::wipe_and_kill(self);
    }

    async fn quarantine(&self, position: u64, within: Duration) -> Result<(), QuarantineError> {
        Node::quarantine(self, position, within).await
    }

    fn metrics(&self, text: &mut MetricsText) {
        let applied = self.inner.shared.applied();
        text.family("boat_alarm", "gauge", "1 while a person should look at something.");
        let raised = self.inner.shared.alarms();
        for alarm in Alarm::ALL {
            text.sample("boat_alarm", &[("alarm", alarm.name())], u8::from(raised.contains(&alarm)));
        }
        let queries = self.inner.shared.queries.len();
        text.gauge("boat_waiting_queries", "Queries that wait for their answers.", queries as f64);
        text.gauge("boat_sessions", "Sessions that are open.", applied.sessions as f64);
        text.gauge("boat_applied_index", "The last applied entry of the log.", applied.index as f64);
        let quarantined = self.inner.shared.wellbeing.quarantined();
        text.gauge(
            "boat_quarantined_requests",
            "Requests that crash models and are not run.",
            quarantined as f64,
        );
        let held = self.inner.shared.wellbeing.health().held_positions.len();
        text.gauge("boat_held_requests", "Requests that this node holds until the log decides.", held as f64);
        let commit = self.inner.shared.consensus().commit;
        text.gauge("boat_commit_index", "The last committed entry of the log.", commit as f64);
    }
}

impl Asked<'_> {
    /// Asks under the number that a client gives the request in its session.
    async fn ask_in_place(&mut self, place: &SessionPlace) -> Result<Answer<Bytes>, PredictError> {
        self.check_length()?;
        let SessionPlace { token, sequence, lowest_unanswered } = place;
        let invalid = |why: String| PredictError::Invalid(why);
        let known = SessionToken::read(token);
        let token = known.ok_or_else(|| invalid(format!("`{token}` is no session's name")))?;
        let waiting_max = self.inner.config.sessions.session_outcomes_max;
        let waiting = usize::try_from(sequence.saturating_sub(*lowest_unanswered)).unwrap_or(usize::MAX);
        if waiting >= waiting_max {
            return Err(PredictError::Overloaded { waiting, waiting_max, what: "requests of the session" });
        }
        let (session, asked) = (token.session, Instant::now());
        self.inner.hear_of(session, self.within).await;
        let position = self.inner.shared.applied().position;
        let secret = match self.inner.shared.session_secret(session) {
            Some(secret) if token.is_proved_by(secret) => secret,
            Some(_) => return Err(invalid(format!("`{token}` is not the name of session {session}"))),
            None if session <= position => return Err(PredictError::SessionExpired { session }),
            None => return Err(PredictError::Behind { waited: asked.elapsed(), position }),
        };
        let request = SessionRequest { session, sequence: *sequence };
        let key = RetryKey::new(request, secret).to_key();
        let origin = Origin::Session { request, lowest_unanswered: *lowest_unanswered };
        let (outcome, replayed) = self.send(origin, &key).await?;
        answer(outcome, replayed, key)
    }
}
