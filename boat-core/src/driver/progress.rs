//! How a replay gets on: in the log, and for `/status`.

use std::time::{Duration, Instant};

use super::shared::Shared;
use crate::ReplayProgress;
use crate::apply::Applier;

/// How often progress is measured and published.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// How often a long replay says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// The progress of one pass over the log.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    published: Instant,
    said: Instant,
    position: u64,
    index: u64,
    done: bool,
}

impl Progress {
    pub(crate) fn start(shared: &Shared) -> Self {
        let now = now();
        let target_index = shared.feed.committed();
        if target_index > 0 {
            log::info!("node {}: replaying the log up to entry {target_index}", shared.node);
        }
        shared.set_replay(Some(ReplayProgress {
            applied_index: 0,
            target_index,
            requests_per_second: 0.0,
            remaining_seconds: 0.0,
        }));
        Progress { started: now, published: now, said: now, position: 0, index: 0, done: false }
    }

    /// Something was applied.
    pub(crate) fn advanced(&mut self, shared: &Shared, applier: &Applier) {
        if self.done {
            return;
        }
        let now = now();
        let since = now.duration_since(self.published);
        if since < PUBLISH_EVERY {
            return;
        }
        let target_index = shared.feed.committed();
        let per_second = |count: u64| count as f64 / since.as_secs_f64();
        let requests_per_second = per_second(applier.position() - self.position);
        let entries_per_second = per_second(applier.index() - self.index).max(1.0);
        let remaining = target_index.saturating_sub(applier.index());
        let progress = ReplayProgress {
            applied_index: applier.index(),
            target_index,
            requests_per_second,
            remaining_seconds: remaining as f64 / entries_per_second,
        };
        (self.published, self.position, self.index) = (now, applier.position(), applier.index());
        shared.set_replay(Some(progress));
        if now.duration_since(self.said) >= SAY_EVERY {
            self.said = now;
            log::info!(
                "node {}: replayed {} of {target_index} entries, {requests_per_second:.0} requests/s, {:.0} s remain",
                shared.node,
                applier.index(),
                progress.remaining_seconds,
            );
        }
    }

    /// The replay is over.
    pub(crate) fn finish(&mut self, shared: &Shared, applier: &Applier) {
        self.done = true;
        shared.set_replay(None);
        let took = now().duration_since(self.started);
        log::info!(
            "node {}: ready at position {} with digest {}, {} entries replayed in {took:.1?}",
            shared.node,
            applier.position(),
            applier.digest(),
            applier.index(),
        );
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "progress is shown to people, and decides nothing")]
    Instant::now()
}
