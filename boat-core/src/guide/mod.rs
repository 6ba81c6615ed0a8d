//! Guides: what to know beyond single items, in the order in which it is needed.
//!
//! 1. [Getting started](getting_started): a model, three nodes, one answer.
//! 2. [Determinism](determinism): what makes a model differ from itself, and the remedy for each.
//! 3. [Delivery guarantees](delivery): what an answer promises, and what no answer means.
//! 4. [Snapshots](snapshots): what is kept, what is cut, and what a model has to do for it.
//! 5. [Membership](membership): nodes that come, go, move and lose their disks.
//! 6. [Operations](operations): what to watch, and what to do.
//! 7. [Errors](errors): every code, its cause, and what to do about it.

pub mod delivery;
pub mod determinism;
pub mod errors;
pub mod getting_started;
pub mod membership;
pub mod operations;
pub mod snapshots;
