//! What the frontend asks of a node.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::{IdempotencyKey, MetricsText};
use crate::{
    Answer, MembershipError, MembershipOperation, NodeId, OutcomeError, PredictError, QuarantineError,
    QueryAnswer, QueryError, Read, RequestKind, SessionError, Status, WipeError,
};

/// Whose request it is, as its client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The client does not say: the node finds a key itself.
    Unnamed,
    /// The client names the request.
    Key(IdempotencyKey),
    /// The request has a number in the client's session.
    Session(SessionPlace),
}

/// A request's place in its client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPlace {
    /// The session, as it was named when it was opened.
    pub token: String,
    /// The request's number: each stands for one request.
    pub sequence: u64,
    /// The lowest number that has no answer yet; what was applied under lower ones is forgotten. At most `sequence`.
    pub lowest_unanswered: u64,
}

/// A session that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedSession {
    /// What its client names it by. Nobody can guess it.
    pub token: String,
    /// The position of its opening.
    pub position: u64,
    /// How many numbers, from the lowest unanswered one on, may be in use at a time.
    pub outcomes_max: usize,
    /// After how much log age without a request it expires, in milliseconds.
    pub expires_after_ms: u64,
}

/// A node, as its frontend sees it.
///
/// # Contract
/// - Every call returns: `predict`, `query` and `open_session` within their `within` (or little more), `outcome` and
///   `prepare_wipe` within a bound of their own, the rest without waiting.
/// - The future of `predict` may be dropped at any time, because the client went away; what was proposed goes on.
/// - A clone is the same node.
pub trait Service: Clone + Send + Sync + 'static {
    /// The node's number.
    fn node(&self) -> NodeId;

    /// How many bytes a request's body may have. Longer ones never reach the node.
    fn request_bytes_max(&self) -> usize;

    /// The predictor's check of a request, before it costs anything. `body` is valid JSON.
    ///
    /// # Errors
    /// What is wrong with the request, in words for its client.
    fn check(&self, kind: RequestKind, body: &[u8]) -> Result<(), String>;

    /// Runs one request and waits for its outcome. Without a key the node finds one itself; the answer, and
    /// [`PredictError::Unknown`], name it. Under a key it is handed in, or refused, when its future is first polled.
    ///
    /// # Errors
    /// [`PredictError`], of which only `Unknown` leaves it open whether the request is applied.
    fn predict(
        &self,
        kind: RequestKind,
        body: Bytes,
        identity: Identity,
        within: Duration,
    ) -> impl Future<Output = Result<Answer<Bytes>, PredictError>> + Send;

    /// Asks the model without changing it.
    ///
    /// # Errors
    /// [`QueryError`]; nothing has happened.
    fn query(
        &self,
        body: Bytes,
        read: Read,
        within: Duration,
    ) -> impl Future<Output = Result<QueryAnswer<Bytes>, QueryError>> + Send;

    /// Opens a session for a client.
    ///
    /// # Errors
    /// [`SessionError`].
    fn open_session(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<OpenedSession, SessionError>> + Send;

    /// What became of the request under this key.
    ///
    /// # Errors
    /// [`OutcomeError`] says why its outcome is not told.
    fn outcome(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Answer<Bytes>, OutcomeError>> + Send;

    /// What the node says of itself.
    fn status(&self) -> Status;

    /// Whether the node's parts still run: false is a reason to restart the process.
    fn live(&self) -> bool;

    /// Makes sure that the others hold everything this node holds, and hands over if this node leads.
    ///
    /// # Errors
    /// [`WipeError`]: the node must stay, and nothing happened.
    fn prepare_wipe(&self) -> impl Future<Output = Result<(), WipeError>> + Send;

    /// Changes who takes part, or who leads. Without a `key` the node finds one itself; [`MembershipError::Unknown`] names it.
    ///
    /// # Errors
    /// [`MembershipError`], of which only `Unknown` leaves it open whether it happened.
    fn change_members(
        &self,
        operation: MembershipOperation,
        key: Option<String>,
        within: Duration,
    ) -> impl Future<Output = Result<(), MembershipError>> + Send;

    /// Deletes the node's directory and kills the process with signal 9. Called after [`Service::prepare_wipe`], when the
    /// client has its answer.
    fn wipe_and_kill(&self);

    /// Has a held request quarantined, whatever it was answered. Default: no node holds any.
    ///
    /// # Errors
    /// [`QuarantineError`].
    fn quarantine(
        &self,
        position: u64,
        within: Duration,
    ) -> impl Future<Output = Result<(), QuarantineError>> + Send {
        let _ = within;
        std::future::ready(Err(QuarantineError::NotHeld { position }))
    }

    /// Adds the node's own figures to the frontend's and the status's. Default: none.
    fn metrics(&self, text: &mut MetricsText) {
        let _ = text;
    }
}
