//! Promise S2: an outcome that a client was given at a position stands there for ever, on every node.

use super::super::context::Checked;
use super::super::waiters::Attempt;
use super::one_order::OneOrder;
use super::operations::Book;
use super::require;
use crate::NodeId;
use crate::apply::Outcome;
use crate::replica::RequestId;

const INVARIANT: &str = "S2 acked is kept";

/// A client was given this outcome. That no node ever has another one there is [`OneOrder`]'s.
pub(super) fn check(order: &OneOrder, book: &Book, attempt: Attempt, outcome: &Outcome) -> Checked {
    let record = order.at(outcome.position);
    let asked = book.get(attempt.operation).map(|operation| &operation.id);
    let stands = record.is_some_and(|record| {
        record.outcome == *outcome
            && Some(&RequestId::of(&record.request.origin, record.request.hash())) == asked
    });
    require(stands, INVARIANT, || format!("{asked:?} was answered with {outcome:?}; there stands {record:?}"))
}

/// At the end every node holds everything that anybody was given.
pub(super) fn ended(book: &Book, node: NodeId, position: u64) -> Checked {
    require(position >= book.acked, INVARIANT, || {
        format!("position {} was answered, and node {node} ends at {position}", book.acked)
    })
}
