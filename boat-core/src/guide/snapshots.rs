//! What is kept, what is cut, and what a model has to do for it.
//!
//! A node that starts runs through its model what it finds in its log. With snapshots it begins at the newest one instead, and the log
//! in front of the one before that is cut. What a [`Predictor`](crate::Predictor) declares decides:
//!
//! | [`StateKind`](crate::StateKind) | kept | for |
//! |---|---|---|
//! | `Snapshot` | the state, with sessions and keys; the log behind it | what can write and read its state: every [`Model`](crate::Model) |
//! | `Stateless` | sessions and keys; the log behind them | what learns nothing |
//! | `Replay` | the whole log, for ever | opaque containers, whose state nobody can read |
//!
//! A [`Model`](crate::Model) needs nothing more than serde. A predictor that declares `Snapshot` says how:
//!
//! ```
//! use std::io::Read;
//!
//! use boat_core::{Call, CallOutcome, FrozenState, Predictor, PredictorError, StateKind};
//!
//! /// Answers each request with the number of bytes that all requests had so far.
//! #[derive(Default)]
//! struct Bytes(u64);
//!
//! impl Predictor for Bytes {
//!     fn state_kind(&self) -> StateKind {
//!         StateKind::Snapshot
//!     }
//!
//!     async fn reset(&mut self) -> Result<(), PredictorError> {
//!         self.0 = 0;
//!         Ok(())
//!     }
//!
//!     async fn predict(&mut self, calls: &[Call], outcomes: &mut Vec<CallOutcome>) -> Result<(), PredictorError> {
//!         for call in calls {
//!             self.0 += call.body.len() as u64;
//!             outcomes.push(CallOutcome::Output(self.0.to_string().into()));
//!         }
//!         Ok(())
//!     }
//!
//!     async fn freeze(&mut self) -> Result<FrozenState, PredictorError> {
//!         // Quick, for the applier waits: what takes long belongs into `FrozenState::from_writer`.
//!         Ok(FrozenState::from_bytes(self.0.to_le_bytes().to_vec()))
//!     }
//!
//!     async fn restore(&mut self, state: &mut (dyn Read + Send)) -> Result<(), PredictorError> {
//!         let mut bytes = [0; 8];
//!         let lost = |error: std::io::Error| PredictorError::StateLost(error.to_string());
//!         state.read_exact(&mut bytes).map_err(lost)?;
//!         self.0 = u64::from_le_bytes(bytes);
//!         Ok(())
//!     }
//! }
//! ```
//!
//! Snapshots are taken by the amount of log since the last one (`limits.snapshot_log_bytes`), written in the background, and kept in two
//! generations: a damaged one is found by its checksum, and the other is used. A node that is behind what the others' logs still hold
//! gets the leader's, in pieces, at a bounded rate (`limits.snapshot_bytes_per_second`).
//!
//! With the feature `testing`, `boat_core::testing::Contract` checks a predictor's `freeze` and `restore`.
