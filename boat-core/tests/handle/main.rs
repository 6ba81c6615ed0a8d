//! The handle as a program that embeds Boat sees it: whole nodes in one process, over the in-process transport.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cluster;
mod events;
#[cfg(feature = "http")]
mod places;
mod quick;
mod reads;
mod requests;
mod sessions;
#[cfg(feature = "tower")]
mod tower;
