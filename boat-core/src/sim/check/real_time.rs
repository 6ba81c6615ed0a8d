//! Promise S4: if A's outcome was received before B was first sent, A stands before B.

use super::super::context::Checked;
use super::operations::Operation;
use super::require;

pub(super) fn check(operation: &Operation, position: u64) -> Checked {
    require(position > operation.floor, "S4 real time", || {
        format!(
            "{:?} stands at position {position}, and was first sent after position {} was answered",
            operation.id, operation.floor
        )
    })
}
