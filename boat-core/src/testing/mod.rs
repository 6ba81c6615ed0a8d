//! Tests for what you build on Boat: your model, your predictor, and both under faults (feature `testing`).
//!
//! | question | answered by |
//! |---|---|
//! | Does my [`Model`](crate::Model) give the same outcomes on every node and at every replay? | [`check_determinism`] |
//! | Does my [`Predictor`](crate::Predictor) keep the trait's contract? | [`Contract`] |
//! | Does a cluster that serves my model keep its promises while nodes die? | [`Simulation`] |
//!
//! All need no network, no files and no threads of their own, and take milliseconds. Put the feature among your
//! `[dev-dependencies]`; it is never one of the default ones:
//!
//! ```toml
//! [dev-dependencies]
//! boat-core = { version = "0.1", features = ["testing"] }
//! ```

mod contract;
mod determinism;
mod served;
mod simulation;
mod state;

pub use contract::{Broken, Contract, Rule};
pub use determinism::{Difference, Differs, Run, check_determinism};
pub use simulation::{Failure, Simulation, Summary};
