//! Promise S3: a request of a session has at most one position, a key as long as it is remembered, and every answer to it
//! is the same.

use super::super::context::Checked;
use super::super::waiters::Attempt;
use super::operations::{Book, Operation};
use super::require;
use crate::RequestKind;
use crate::apply::{Outcome, Refused};

const INVARIANT: &str = "S3 once";

/// An operation was given a position, at this age of the log.
pub(super) fn applied(operation: &mut Operation, position: u64, age_ms: u64) -> Checked {
    let before = operation.positions.last().copied();
    operation.positions.push((position, age_ms));
    let Some((first, first_age_ms)) = before else { return Ok(()) };
    // A session's opening is not recognized: an opening too many expires unused.
    let may_repeat = operation.kind == RequestKind::OpenSession
        || operation.forgotten_after_ms.is_some_and(|after_ms| age_ms > first_age_ms + after_ms);
    require(may_repeat, INVARIANT, || {
        format!("{:?} stands at position {first} and again at {position}", operation.id)
    })
}

/// A client was given this outcome: it must be the operation's own.
pub(super) fn answered(book: &Book, attempt: Attempt, outcome: &Outcome) -> Checked {
    let Some(operation) = book.get(attempt.operation) else { return Ok(()) };
    let stands = operation.positions.iter().any(|(position, _)| *position == outcome.position);
    require(stands, INVARIANT, || {
        format!(
            "{:?} was answered with position {}; it stands at {:?}",
            operation.id, outcome.position, operation.positions
        )
    })
}

/// A client that keeps the rules is never told that it broke them.
pub(super) fn refused(book: &Book, attempt: Attempt, refused: &Refused) -> Checked {
    let Some(operation) = book.get(attempt.operation) else { return Ok(()) };
    let fair = match refused {
        Refused::SessionExpired { .. } | Refused::TooManySessions | Refused::KeyTableFull => true,
        // An old attempt that arrives late, when its client has its answer.
        Refused::OutcomeForgotten => !operation.waits,
        Refused::KeyReused { .. } | Refused::WindowFull { .. } => false,
    };
    require(fair, INVARIANT, || format!("{:?} was refused: {refused:?}", operation.id))
}
