//! The durable log: one append-only set of segments holding entries, hard state and membership.

mod entry;

pub use entry::{EntryKind, HardState, LogEntry, LogWrite};
