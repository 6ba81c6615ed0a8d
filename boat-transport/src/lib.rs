//! Placeholder.
mod backoff;
mod counters;
mod epoch;
mod frame;
mod gather;
mod link_state;
mod options;
mod outbox;
mod wire;
pub use counters::TransportCounters;
pub use options::TransportOptions;
