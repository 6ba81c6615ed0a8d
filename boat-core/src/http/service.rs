//! What the frontend asks of a node.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::{IdempotencyKey, MetricsText};
use crate::{Answer, NodeId, PredictError, QuarantineError, RequestKind, Status, WipeError};

/// A node, as its frontend sees it.
///
/// # Contract
/// - Every call returns: `predict` within its `within` (or little more), `prepare_wipe` within a bound of its own, the rest
///   without waiting.
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

    /// Runs one request and waits for its outcome. Without a `key` the node finds one itself; the answer, and
    /// [`PredictError::Unknown`], name it.
    ///
    /// # Errors
    /// [`PredictError`], of which only `Unknown` leaves it open whether the request is applied.
    fn predict(
        &self,
        kind: RequestKind,
        body: Bytes,
        key: Option<IdempotencyKey>,
        within: Duration,
    ) -> impl Future<Output = Result<Answer<Bytes>, PredictError>> + Send;

    /// What the node says of itself.
    fn status(&self) -> Status;

    /// Whether the node's parts still run: false is a reason to restart the process.
    fn live(&self) -> bool;

    /// Makes sure that the others hold everything this node holds, and hands over if this node leads.
    ///
    /// # Errors
    /// [`WipeError`]: the node must stay, and nothing happened.
    fn prepare_wipe(&self) -> impl Future<Output = Result<(), WipeError>> + Send;

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
