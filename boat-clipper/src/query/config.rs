//! How a predictor drives a Clipper.

use std::net::SocketAddr;
use std::time::Duration;

use boat_core::{NodeId, StateKind};

use crate::InputType;

/// Clipper closes connections that were idle for this long.
const CLIPPER_IDLE: Duration = Duration::from_secs(5);

/// Configuration of a [`ClipperPredictor`](super::ClipperPredictor).
#[derive(Debug, Clone)]
pub struct ClipperConfig {
    /// The node's number, for log lines. Default 0.
    pub node: NodeId,
    /// The application, as in `/{application}/predict`: letters, digits, `-`, `_` and `.`. Default `default`.
    pub application: String,
    /// The type of the application's inputs. Default strings.
    pub input_type: InputType,
    /// What the model can lose: `Replay`, the default, or `Stateless`.
    pub state_kind: StateKind,
    /// How long a connection may take to come about, in milliseconds. Default 1,000.
    pub connect_timeout_ms: u64,
    /// How long one exchange with the frontend may take, in milliseconds. After it nobody knows whether the model ran.
    /// Default 5,000. The application's latency SLO should be far above it.
    pub call_timeout_ms: u64,
    /// After how long without use a connection is not used again, in milliseconds. Default 2,000, less than 5,000: Clipper
    /// then closes it, and a request sent at that moment would be lost without a trace.
    pub idle_timeout_ms: u64,
    /// How many inputs are sent at once. Default 64, at least 1. Clipper orders its queue by the wall clock, so a batch must be
    /// short enough that no step of the clock falls into it.
    pub batch_inputs_max: usize,
    /// How many bytes of inputs are sent at once, as JSON; a single longer input goes alone. Default 1 MiB.
    pub batch_bytes_max: usize,
    /// The longest answer that is read, in bytes. Default 64 MiB.
    pub answer_bytes_max: usize,
    /// How many batches are in flight at once where the model keeps no state; one otherwise. Default 8, at least 1.
    pub concurrent_batches_max: usize,
    /// Whether a Clipper that somebody else runs is asked the same thing twice before it is used. Default true.
    pub probe: bool,
    /// Whether the deployment comes with the log, as [`Configuration`](crate::Configuration) requests, instead of being there.
    /// Then `input_type` is the application's. Default false.
    pub replicated: bool,
    /// Where the management frontend is that makes such changes; not needed where the engine is the predictor's own. Default
    /// none.
    pub management_address: Option<SocketAddr>,
    /// How long a foreign query frontend gets to hear of a link or a version, in milliseconds: nothing shows when it has.
    /// Default 500.
    pub settle_ms: u64,
}

impl Default for ClipperConfig {
    fn default() -> Self {
        ClipperConfig {
            node: NodeId(0),
            application: "default".to_owned(),
            input_type: InputType::Strings,
            state_kind: StateKind::Replay,
            connect_timeout_ms: 1_000,
            call_timeout_ms: 5_000,
            idle_timeout_ms: 2_000,
            batch_inputs_max: 64,
            batch_bytes_max: 1 << 20,
            answer_bytes_max: 64 << 20,
            concurrent_batches_max: 8,
            probe: true,
            replicated: false,
            management_address: None,
            settle_ms: 500,
        }
    }
}

/// A [`ClipperConfig`] that cannot be: which field, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClipperConfigError {
    /// The name cannot stand in a path.
    #[error("application {0:?}: use letters, digits, '-', '_' and '.', at least one")]
    Application(String),
    /// A container's state cannot be written or read.
    #[error("state_kind: a model behind Clipper has no snapshots; use Replay or Stateless")]
    Snapshot,
    /// A time or a number that must not be zero is.
    #[error("{0}: must be at least 1")]
    Zero(&'static str),
    /// Clipper would close the connection first.
    #[error("idle_timeout_ms: {0} is not less than 5000, after which Clipper closes the connection")]
    Idle(u64),
}

/// Whether an application of this name can be asked: its name stands in a path.
pub(super) fn stands_in_paths(application: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !application.is_empty() && application.chars().all(plain)
}

impl ClipperConfig {
    pub(super) fn check(&self) -> Result<(), ClipperConfigError> {
        if !stands_in_paths(&self.application) {
            return Err(ClipperConfigError::Application(self.application.clone()));
        }
        if self.state_kind == StateKind::Snapshot {
            return Err(ClipperConfigError::Snapshot);
        }
        for (field, is_zero) in [
            ("connect_timeout_ms", self.connect_timeout_ms == 0),
            ("call_timeout_ms", self.call_timeout_ms == 0),
            ("batch_inputs_max", self.batch_inputs_max == 0),
            ("concurrent_batches_max", self.concurrent_batches_max == 0),
        ] {
            if is_zero {
                return Err(ClipperConfigError::Zero(field));
            }
        }
        if Duration::from_millis(self.idle_timeout_ms) >= CLIPPER_IDLE {
            return Err(ClipperConfigError::Idle(self.idle_timeout_ms));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_fine_and_each_bound_is_checked() {
        let fine = ClipperConfig::default();
        assert_eq!(fine.check(), Ok(()));
        for wrong in [
            ClipperConfig { application: String::new(), ..fine.clone() },
            ClipperConfig { application: "a/b".to_owned(), ..fine.clone() },
            ClipperConfig { state_kind: StateKind::Snapshot, ..fine.clone() },
            ClipperConfig { connect_timeout_ms: 0, ..fine.clone() },
            ClipperConfig { call_timeout_ms: 0, ..fine.clone() },
            ClipperConfig { batch_inputs_max: 0, ..fine.clone() },
            ClipperConfig { concurrent_batches_max: 0, ..fine.clone() },
            ClipperConfig { idle_timeout_ms: 5_000, ..fine.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
