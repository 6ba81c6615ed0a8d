//! What makes a model differ from itself, and the remedy for each.
//!
//! Nodes do not copy answers from each other: each runs every request through its own model, and again at each replay. So a model must
//! depend on the state, the request and the [`Context`](crate::Context), and on nothing else.
//!
//! | what differs | remedy |
//! |---|---|
//! | the wall clock (`SystemTime::now`, `Instant::now`) | [`Context::time_ms`](crate::Context::time_ms): the leader's clock, carried by the log |
//! | random numbers (`rand::rng`, a fresh UUID) | [`Context::rng`](crate::Context::rng): seeded from the log |
//! | the order of a `HashMap` or a `HashSet` | `BTreeMap`, `BTreeSet`, or sort before iterating |
//! | addresses as values (pointers as keys, `{:p}`) | numbers that the model gives itself |
//! | threads that race (parallel sums of floating-point numbers) | a fixed order of addition, or one thread |
//! | floating point on unlike machines (SIMD width, fused operations, `libm`) | one build for all nodes; sums in a fixed order |
//! | files, variables of the environment, answers of services | put them into a request: [`Node::configure`](crate::Node::configure) |
//! | statics and caches beside the model | keep them in the model, or let them change no answer |
//! | unlike versions of the model on the nodes | change it by a request, or on all nodes while none serves |
//! | a field that serde skips, or does not read back as it was | keep it out of `predict`, or let serde write it |
//! | fresh models that are not alike (random weights) | a seed in the source, or weights in a file that is the same everywhere |
//!
//! With the feature `testing`, `boat_core::testing::check_determinism` runs requests several times and once through a snapshot, and
//! says at which position, where in the state and how two runs begin to differ; `boat_core::testing::Simulation` serves the model in
//! simulated clusters whose nodes die.
//!
//! ```
//! use boat_core::{Context, Model};
//! use rand::Rng;
//! use serde::{Deserialize, Serialize};
//!
//! /// Tries an arm now and then, and pulls the best one otherwise. All nodes try the same one at the same time.
//! #[derive(Default, Serialize, Deserialize)]
//! struct Bandit {
//!     rewards: Vec<f64>,
//! }
//!
//! impl Model for Bandit {
//!     type Request = Vec<f64>;
//!     type Response = usize;
//!
//!     fn predict(&mut self, context: &Context, rewards: Vec<f64>) -> usize {
//!         self.rewards = rewards;
//!         let mut random = context.rng();
//!         if self.rewards.is_empty() || random.gen_bool(0.1) {
//!             return random.gen_range(0..4);
//!         }
//!         let best = self.rewards.iter().enumerate().max_by(|(_, one), (_, other)| one.total_cmp(other));
//!         best.map_or(0, |(arm, _)| arm)
//!     }
//! }
//! ```
//!
//! # What if it is not
//!
//! Outcomes are folded into a digest, which nodes compare. The odd one out says so ([`Alarm::Diverged`](crate::Alarm::Diverged)), is not
//! asked any more, and is rebuilt; where no value has a majority there is an alarm only
//! ([`Alarm::DigestsDisagree`](crate::Alarm::DigestsDisagree)). This finds what differs. It cannot take back what was answered before.
