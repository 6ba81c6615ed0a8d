//! A node as its HTTP frontend sees it.

use std::time::Duration;

use bytes::Bytes;

use super::{Answer, Node, Predict, Raw};
use crate::http::{IdempotencyKey, MetricsText, Service};
use crate::{Alarm, NodeId, PredictError, RequestKind, Status, WipeError};

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
        key: Option<IdempotencyKey>,
        within: Duration,
    ) -> Result<Answer<Bytes>, PredictError> {
        let predict = Predict::<Raw>::new(&self.inner, kind, Ok(body)).within(within).checked();
        match key {
            Some(key) => predict.idempotency_key(&key).await,
            None => predict.await,
        }
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

    fn wipe_and_kill(&self) {
        Node::wipe_and_kill(self);
    }

    fn metrics(&self, text: &mut MetricsText) {
        let applied = self.inner.shared.applied();
        text.family("boat_alarm", "gauge", "1 while a person should look at something.");
        let raised = self.inner.shared.alarms();
        for alarm in Alarm::ALL {
            text.sample("boat_alarm", &[("alarm", alarm.name())], u8::from(raised.contains(&alarm)));
        }
        text.gauge("boat_sessions", "Sessions that are open.", applied.sessions as f64);
        text.gauge("boat_applied_index", "The last applied entry of the log.", applied.index as f64);
        let commit = self.inner.shared.consensus().commit;
        text.gauge("boat_commit_index", "The last committed entry of the log.", commit as f64);
    }
}
