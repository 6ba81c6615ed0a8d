//! The deterministic simulator: whole clusters in one thread, on virtual time, under faults (feature `sim`).
//!
//! One seed decides everything: how many nodes there are, how links and disks behave, when processes die, what clients
//! ask. The nodes run the real [`Replica`](crate::replica::Replica), the real [`Log`](crate::log::Log) on
//! [`SimFiles`](crate::log::files::SimFiles), real founding and the real [`Applier`](crate::apply::Applier); only what the
//! driver does between them is done by the simulator. After each step the invariants in `check` are asserted. Then the
//! faults end, and the cluster must heal: serve a fresh request, and bring every node to one position and digest.
//!
//! A seed always runs the same way, so a failure names the seed, and running that seed again shows it again. The shape is
//! that of TigerBeetle's VOPR and FoundationDB's simulation.
//!
//! ```
//! use boat_core::sim::{Options, run};
//!
//! let first = run(&Options::drawn_from(7))?;
//! let again = run(&Options::drawn_from(7))?;
//! assert_eq!(first.trace_hash, again.trace_hash);
//! assert!(first.position > 0);
//! # Ok::<(), Box<boat_core::sim::Found>>(())
//! ```

mod applying;
mod asking;
mod backup;
mod carry_out;
mod chaos;
mod check;
mod client;
mod context;
mod death;
mod disk;
mod empty;
mod faults;
mod heal;
mod log_thread;
mod model;
mod mutant;
mod network;
mod node;
mod operator;
mod options;
mod process;
mod queue;
mod reads;
mod replay;
mod report;
mod rot;
mod running;
mod snapshots;
mod start;
mod trace;
mod turn;
mod waiters;
mod world;
mod writer;

pub use faults::{Fault, FaultCounts};
pub use mutant::Mutant;
pub use options::Options;
pub use report::{Found, Report, run};

#[cfg(any(test, feature = "testing"))]
pub(crate) use model::{Models, Served};
#[cfg(any(test, feature = "testing"))]
pub(crate) use report::run_models;
