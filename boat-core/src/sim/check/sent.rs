//! Promise S8: every applied request was sent by a client, byte for byte.

use super::super::context::Checked;
use super::operations::{Book, Operation};
use super::{Violation, require};
use crate::Request;
use crate::replica::RequestId;

const INVARIANT: &str = "S8 no invention";

/// The operation that `request` belongs to.
pub(super) fn check<'a>(book: &'a mut Book, request: &Request, position: u64) -> Checked<&'a mut Operation> {
    let never = || Violation {
        invariant: INVARIANT,
        what: format!("{request:?} stands at position {position}, and nobody sent it"),
    };
    let number = book.find(&RequestId::of(&request.origin, request.hash())).ok_or_else(never)?;
    let operation = book.get_mut(number).ok_or_else(never)?;
    let mut encoded = Vec::with_capacity(request.encoded_bytes());
    request.encode(&mut encoded);
    require(operation.encodings.contains(encoded.as_slice()), INVARIANT, || {
        format!("{request:?} stands at position {position}, its client sent {:?}", operation.body)
    })?;
    Ok(operation)
}
