//! The opaque bytes behind an envelope, cut up as it says.

use bytes::Bytes;

use super::Malformed;

/// What of a payload has not been taken yet.
#[derive(Debug)]
pub(super) struct Payload(Bytes);

impl Payload {
    pub(super) fn new(bytes: Bytes) -> Self {
        Payload(bytes)
    }

    /// The next `count` bytes, without copying them.
    pub(super) fn take(&mut self, count: u64) -> Result<Bytes, Malformed> {
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() => Ok(self.0.split_to(count)),
            _ => Err(Malformed("payload length")),
        }
    }

    /// All that is left.
    pub(super) fn take_rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed("payload length")) }
    }
}
