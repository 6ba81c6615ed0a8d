//! An operator's quarantine: where the nodes cannot agree on one by themselves (design D6).

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Interface, Node};
use crate::QuarantineError;
use crate::driver::Event;

impl<I: Interface> Node<I> {
    /// Has the request at `position` quarantined, though not every member holds it: its outcome is
    /// [`Quarantined`](crate::PredictError::Quarantined) from then on, on every node. Works on any node.
    ///
    /// **This may take back an answer.** A node that is past the request may have answered it, and everything behind it, by
    /// what its model said; it begins anew without the request. Nodes quarantine by themselves what crashes the models of a
    /// majority, once all members can be asked; this is for when one of them never comes back, and removing it is no way.
    ///
    /// # Errors
    /// [`QuarantineError::NotHeld`] when no node holds that request: nothing was done.
    /// [`QuarantineError::Unknown`] when it was not decided in time; it may yet be, and to ask again is harmless.
    pub async fn quarantine(&self, position: u64, within: Duration) -> Result<(), QuarantineError> {
        let shared = &self.inner.shared;
        let deadline = Instant::now() + within;
        let (known, is_known) = oneshot::channel();
        // Made before asking: a decision in between is not missed.
        let mut decision = std::pin::pin!(shared.wellbeing.decision());
        if shared.wellbeing.is_quarantined(position) {
            return Ok(());
        }
        shared.inbox.push(Event::Force { position, within, known });
        match tokio::time::timeout_at(deadline, is_known).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(QuarantineError::NotHeld { position }),
            Ok(Err(_)) => return Err(QuarantineError::Stopped),
            Err(_) => return Err(QuarantineError::Unknown { waited: within }),
        }
        loop {
            let waited = tokio::time::timeout_at(deadline, decision.as_mut()).await;
            decision.set(shared.wellbeing.decision());
            if shared.wellbeing.is_quarantined(position) {
                return Ok(());
            }
            if waited.is_err() {
                return Err(QuarantineError::Unknown { waited: within });
            }
        }
    }
}
