//! Decoding, the same for all contenders: a command's requests, each handed to a function that does nothing.

use std::hint::black_box;

use benches::Result;
use boat_core::{CommandView, RequestView};
use bytes::Bytes;

/// Decodes a command, which is a part of the given bytes, and says how many requests it has.
pub(crate) type Decode = fn(&Bytes, &[u8]) -> Result<u64>;

/// Makes each request a value of its own, as a predictor gets it: its body is a counted part of `whole`.
pub(crate) fn share(whole: &Bytes, command: &[u8]) -> Result<u64> {
    each(command, |request| {
        black_box(request.share(whole));
    })
}

/// Looks at each request where it stands.
pub(crate) fn look(_whole: &Bytes, command: &[u8]) -> Result<u64> {
    each(command, |request| {
        black_box(request);
    })
}

#[inline]
fn each(command: &[u8], no_op: impl Fn(RequestView<'_>)) -> Result<u64> {
    let mut requests = 0;
    for request in CommandView::new(command)?.requests() {
        no_op(request?);
        requests += 1;
    }
    Ok(requests)
}
