//! Transports on real sockets, through the public API only.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod links;
mod members;
mod peer;
mod snapshots;
mod strangers;
