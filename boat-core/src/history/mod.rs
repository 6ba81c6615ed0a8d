//! Histories: what clients asked and were told, what nodes hold, and whether all of it fits together (feature `history`).
//!
//! [`Record`]s come from whoever asks a cluster and whoever looks at its nodes, on one clock; a file holds one on each line
//! ([`read`]). [`check`] judges a history against what Boat promises. Positions *are* the order in which requests took effect, so
//! nothing has to be searched for: the check takes `O(n log n)`.
//!
//! ```
//! use boat_core::history::{check, read};
//!
//! let lines = br#"{"record":"sent","at_us":1,"operation":"a"}
//! {"record":"answered","at_us":5,"operation":"a","position":2,"outcome":"x"}
//! {"record":"sent","at_us":6,"operation":"b"}
//! {"record":"answered","at_us":9,"operation":"b","position":1,"outcome":"y"}
//! "#;
//! let broken = check(&read(lines.as_slice())?).unwrap_err();
//! assert_eq!(broken[0].promise, "S4");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod order;
mod record;
mod violation;

pub use check::{Summary, check};
pub use record::{HistoryError, LINE_BYTES_MAX, Record, read};
pub use violation::Violation;

#[cfg(test)]
mod tests;
