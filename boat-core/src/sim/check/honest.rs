//! Promise S7: a request that was answered by a definite error alone has no position and never gets one.

use super::super::context::Checked;
use super::super::waiters::Attempt;
use super::operations::{Book, Fate, Operation};
use super::require;
use crate::replica::Failure;

const INVARIANT: &str = "S7 honest errors";

fn check(operation: &Operation) -> Checked {
    let lied = operation.is_definitely_not() && !operation.positions.is_empty();
    require(!lied, INVARIANT, || {
        format!("{:?} got nothing but definite errors, and stands at {:?}", operation.id, operation.positions)
    })
}

/// An attempt was answered by an error.
pub(super) fn failed(book: &mut Book, attempt: Attempt, failure: Failure) -> Checked {
    let Some(operation) = book.get_mut(attempt.operation) else { return Ok(()) };
    if let Some(fate) = operation.fates.get_mut(attempt.number) {
        *fate = match failure {
            Failure::NoLeader | Failure::Overloaded | Failure::DiskFull => Fate::Definite,
            Failure::Unknown => Fate::Answered,
        };
    }
    check(operation)
}

/// An operation was given a position.
pub(super) fn applied(operation: &Operation) -> Checked {
    check(operation)
}
