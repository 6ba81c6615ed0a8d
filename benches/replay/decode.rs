//! Decoding, the same for all contenders: a command's requests, each handed to a function that does nothing.

use std::hint::black_box;

use benches::Result;
use boat_core::CommandView;
use bytes::Bytes;

/// Makes each request a value of its own, as a predictor gets it: its body is a part of `whole`, which is counted. Says how
/// many there were.
pub(crate) fn share(whole: &Bytes, command: &[u8]) -> Result<u64> {
    let mut requests = 0;
    for request in CommandView::new(command)?.requests() {
        black_box(request?.share(whole));
        requests += 1;
    }
    Ok(requests)
}

/// Looks at each request where it stands, and says how many there were.
pub(crate) fn look(command: &[u8]) -> Result<u64> {
    let mut requests = 0;
    for request in CommandView::new(command)?.requests() {
        black_box(request?);
        requests += 1;
    }
    Ok(requests)
}
