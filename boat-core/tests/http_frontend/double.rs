//! A node's double: numbers requests as a node does, remembers keys, and can be told to fail or to make its callers wait.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boat_core::http::{IdempotencyKey, Identity, MetricsText, OpenedSession, Service};
use boat_core::{
    Answer, BackendStatus, Health, MembershipError, MembershipOperation, NodeId, OutcomeError, Phase,
    PredictError, QuarantineError, QueryAnswer, QueryError, Read, RequestKind, SessionError, Status,
    WipeError,
};
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};

/// Requests that hold this wait until [`Double::let_go`].
pub(crate) const HELD: &str = "\"held\"";
/// Requests that hold this are refused by the predictor's check.
pub(crate) const CHECKED_OUT: &str = "\"bad input\"";
pub(crate) const REQUEST_BYTES_MAX: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Double(Arc<State>);

struct State {
    inner: Mutex<Inner>,
    /// A permit for each request that came to wait.
    waiting: Semaphore,
    gate: Semaphore,
    live: AtomicBool,
    wiped: Notify,
}

#[derive(Default)]
struct Inner {
    applied: Vec<Bytes>,
    kinds: Vec<RequestKind>,
    identities: Vec<Identity>,
    reads: Vec<Read>,
    next_query_error: Option<QueryError>,
    next_session_error: Option<SessionError>,
    next_outcome_error: Option<OutcomeError>,
    withins: Vec<Duration>,
    keys: BTreeMap<Bytes, (Bytes, Answer<Bytes>)>,
    next_error: Option<PredictError>,
    wipe_error: Option<WipeError>,
    operations: Vec<(MembershipOperation, Option<String>)>,
    next_membership_error: Option<MembershipError>,
    quarantined: Vec<u64>,
    next_quarantine_error: Option<QuarantineError>,
    not_ready: bool,
}

impl Double {
    pub(crate) fn new() -> Self {
        Double(Arc::new(State {
            inner: Mutex::default(),
            waiting: Semaphore::new(0),
            gate: Semaphore::new(0),
            live: AtomicBool::new(true),
            wiped: Notify::new(),
        }))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.0.inner.lock().unwrap())
    }

    pub(crate) fn applied(&self) -> Vec<Bytes> {
        self.with(|inner| inner.applied.clone())
    }

    pub(crate) fn last_kind(&self) -> RequestKind {
        self.with(|inner| *inner.kinds.last().unwrap())
    }

    pub(crate) fn last_identity(&self) -> Identity {
        self.with(|inner| inner.identities.last().cloned().unwrap())
    }

    pub(crate) fn last_read(&self) -> Read {
        self.with(|inner| *inner.reads.last().unwrap())
    }

    pub(crate) fn fail_next_query(&self, error: QueryError) {
        self.with(|inner| inner.next_query_error = Some(error));
    }

    pub(crate) fn fail_next_session(&self, error: SessionError) {
        self.with(|inner| inner.next_session_error = Some(error));
    }

    pub(crate) fn fail_next_outcome(&self, error: OutcomeError) {
        self.with(|inner| inner.next_outcome_error = Some(error));
    }

    pub(crate) fn last_within(&self) -> Duration {
        self.with(|inner| *inner.withins.last().unwrap())
    }

    pub(crate) fn fail_next(&self, error: PredictError) {
        self.with(|inner| inner.next_error = Some(error));
    }

    pub(crate) fn fail_wipes(&self, error: Option<WipeError>) {
        self.with(|inner| inner.wipe_error = error);
    }

    pub(crate) fn refuse_next_operation(&self, error: MembershipError) {
        self.with(|inner| inner.next_membership_error = Some(error));
    }

    /// What an operator asked for, and under which key.
    pub(crate) fn operations(&self) -> Vec<(MembershipOperation, Option<String>)> {
        self.with(|inner| inner.operations.clone())
    }

    pub(crate) fn refuse_next_quarantine(&self, error: QuarantineError) {
        self.with(|inner| inner.next_quarantine_error = Some(error));
    }

    /// The positions that an operator has had put aside.
    pub(crate) fn quarantined(&self) -> Vec<u64> {
        self.with(|inner| inner.quarantined.clone())
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.with(|inner| inner.not_ready = !ready);
    }

    pub(crate) fn set_live(&self, live: bool) {
        self.0.live.store(live, Ordering::SeqCst);
    }

    /// Waits until `count` more requests wait.
    pub(crate) async fn until_waiting(&self, count: u32) {
        self.0.waiting.acquire_many(count).await.unwrap().forget();
    }

    pub(crate) fn let_go(&self, count: usize) {
        self.0.gate.add_permits(count);
    }

    pub(crate) async fn until_wiped(&self) {
        self.0.wiped.notified().await;
    }

    fn apply(&self, body: Bytes, key: Option<IdempotencyKey>) -> Result<Answer<Bytes>, PredictError> {
        self.with(|inner| {
            if let Some(error) = inner.next_error.take() {
                return Err(error);
            }
            if let Some((first_body, answer)) = key.as_ref().and_then(|key| inner.keys.get(&key.to_bytes())) {
                if *first_body != body {
                    return Err(PredictError::KeyReused { position: answer.position });
                }
                let mut answer = answer.clone();
                answer.replayed = true;
                return Ok(answer);
            }
            inner.applied.push(body.clone());
            let position = inner.applied.len() as u64;
            let name = key.as_ref().map_or(format!("own-{position}"), |key| key.key().to_owned());
            let answer = Answer::new(output(&body), position, 7, name);
            if let Some(key) = key {
                inner.keys.insert(key.to_bytes(), (body, answer.clone()));
            }
            Ok(answer)
        })
    }
}

/// What the double's model says: the request, in an odd form that nobody would produce by encoding it anew.
pub(crate) fn output(body: &[u8]) -> Bytes {
    [b"{ \"got\" :", body, b"}"].concat().into()
}

impl Service for Double {
    fn node(&self) -> NodeId {
        NodeId(2)
    }

    fn request_bytes_max(&self) -> usize {
        REQUEST_BYTES_MAX
    }

    fn check(&self, kind: RequestKind, body: &[u8]) -> Result<(), String> {
        assert!(matches!(kind, RequestKind::Predict | RequestKind::Feedback));
        let bad = body.windows(CHECKED_OUT.len()).any(|part| part == CHECKED_OUT.as_bytes());
        if bad { Err("`input` must be good".into()) } else { Ok(()) }
    }

    async fn predict(
        &self,
        kind: RequestKind,
        body: Bytes,
        identity: Identity,
        within: Duration,
    ) -> Result<Answer<Bytes>, PredictError> {
        self.with(|inner| {
            inner.withins.push(within);
            inner.kinds.push(kind);
            inner.identities.push(identity.clone());
        });
        let key = if let Identity::Key(key) = identity { Some(key) } else { None };
        if body.windows(HELD.len()).any(|part| part == HELD.as_bytes()) {
            self.0.waiting.add_permits(1);
            self.0.gate.acquire().await.unwrap().forget();
        }
        self.apply(body, key)
    }

    async fn query(
        &self,
        body: Bytes,
        read: Read,
        within: Duration,
    ) -> Result<QueryAnswer<Bytes>, QueryError> {
        self.with(|inner| {
            inner.withins.push(within);
            inner.reads.push(read);
            let position = inner.applied.len() as u64;
            let stale = read != Read::Linearizable;
            inner.next_query_error.take().map_or(Ok(QueryAnswer::new(output(&body), position, stale)), Err)
        })
    }

    async fn open_session(&self, within: Duration) -> Result<OpenedSession, SessionError> {
        self.with(|inner| {
            inner.withins.push(within);
            let session = OpenedSession {
                token: "9-00000000000000ab".to_owned(),
                position: 9,
                outcomes_max: 64,
                expires_after_ms: 600_000,
            };
            inner.next_session_error.take().map_or(Ok(session), Err)
        })
    }

    async fn outcome(&self, key: &IdempotencyKey) -> Result<Answer<Bytes>, OutcomeError> {
        self.with(|inner| {
            if let Some(error) = inner.next_outcome_error.take() {
                return Err(error);
            }
            let (_, answer) = inner.keys.get(&key.to_bytes()).ok_or(OutcomeError::NotFound)?;
            let mut answer = answer.clone();
            answer.replayed = true;
            Ok(answer)
        })
    }

    async fn change_members(
        &self,
        operation: MembershipOperation,
        key: Option<String>,
        within: Duration,
    ) -> Result<(), MembershipError> {
        self.with(|inner| {
            inner.withins.push(within);
            inner.operations.push((operation, key));
            inner.next_membership_error.take().map_or(Ok(()), Err)
        })
    }

    fn status(&self) -> Status {
        let ready = self.with(|inner| !inner.not_ready);
        Status {
            snapshot: None,
            is_leader: true,
            node: NodeId(2),
            leader: Some(NodeId(2)),
            term: 7,
            position: self.applied().len() as u64,
            digest: "0".repeat(32),
            ready,
            phase: if ready { Phase::Ready } else { Phase::Founding { waiting_for: vec![NodeId(1)] } },
            replay: None,
            backend: BackendStatus { healthy: true, error: None, rebuilds: 0 },
            health: Health::default(),
            cluster: None,
            members: Vec::new(),
            waiting: 0,
            alarms: Vec::new(),
        }
    }

    fn live(&self) -> bool {
        self.0.live.load(Ordering::SeqCst)
    }

    async fn prepare_wipe(&self) -> Result<(), WipeError> {
        self.with(|inner| inner.wipe_error.clone()).map_or(Ok(()), Err)
    }

    fn wipe_and_kill(&self) {
        self.0.wiped.notify_one();
    }

    async fn quarantine(&self, position: u64, _: Duration) -> Result<(), QuarantineError> {
        self.with(|inner| match inner.next_quarantine_error.take() {
            Some(error) => Err(error),
            None => {
                inner.quarantined.push(position);
                Ok(())
            }
        })
    }

    fn metrics(&self, text: &mut MetricsText) {
        text.counter("boat_double_total", "The double's own.", 3);
    }
}
