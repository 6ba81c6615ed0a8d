//! What users test their own models with: unsound ones are found, sound ones pass, and quickly.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "tests, and models as careless users write them"
)]

mod contract;
mod determinism;
mod doubles;
mod models;
mod simulation;
