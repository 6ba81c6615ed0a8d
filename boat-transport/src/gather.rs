//! What gathers until it is written: frames in a row, long payloads by reference.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// From this length on a payload keeps its own buffer and is written from there. Below it, copying costs less than one
/// more slice in a vectored write.
const SHARE_BYTES_MIN: usize = 4 * 1024;

/// A rope of bytes to be sent. [`Gather::seal`] must be called after the last `put` and before reading it as a [`Buf`].
#[derive(Debug, Default)]
pub(crate) struct Gather {
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    open: BytesMut,
}

impl Gather {
    /// Adds a copy of `bytes`.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    /// Adds `bytes`, without copying them if they are long.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SHARE_BYTES_MIN {
            self.put(&bytes);
        } else {
            self.seal();
            self.push(bytes);
        }
    }

    /// Makes all that was put readable.
    pub(crate) fn seal(&mut self) {
        let open = self.open.split().freeze();
        self.push(open);
    }

    fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.sealed_bytes += bytes.len();
            self.sealed.push_back(bytes);
        }
    }
}

impl Buf for Gather {
    fn remaining(&self) -> usize {
        self.sealed_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.sealed.front().map_or(&[], Bytes::as_ref)
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.sealed_bytes, "advanced past what was gathered");
        self.sealed_bytes -= count;
        let mut left = count;
        while left > 0 {
            let Some(front) = self.sealed.front_mut() else { return };
            let step = left.min(front.len());
            front.advance(step);
            left -= step;
            if front.is_empty() {
                self.sealed.pop_front();
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.sealed) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_keep_their_buffer_and_the_order_is_kept() {
        let long = Bytes::from(vec![7; SHARE_BYTES_MIN]);
        let mut gather = Gather::default();
        gather.put(b"one");
        gather.share(Bytes::from_static(b"two"));
        gather.share(long.clone());
        gather.put(b"three");
        gather.seal();

        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(gather.chunks_vectored(&mut slices), 3);
        assert_eq!(&*slices[0], b"onetwo");
        assert_eq!(slices[1].as_ptr(), long.as_ptr());
        assert_eq!(&*slices[2], b"three");
        assert_eq!(gather.remaining(), SHARE_BYTES_MIN + 11);
    }

    #[test]
    fn reading_may_stop_anywhere() {
        let long = Bytes::from((0..SHARE_BYTES_MIN).map(|n| n as u8).collect::<Vec<_>>());
        for cut in [0, 1, 3, 4, SHARE_BYTES_MIN, SHARE_BYTES_MIN + 3, SHARE_BYTES_MIN + 4] {
            let mut gather = Gather::default();
            gather.put(b"one");
            gather.share(long.clone());
            gather.put(b"2");
            gather.seal();
            let mut whole = gather.copy_to_bytes(cut).to_vec();
            assert_eq!(gather.remaining(), SHARE_BYTES_MIN + 4 - cut);
            whole.extend_from_slice(&gather.copy_to_bytes(gather.remaining()));
            assert_eq!(whole, [b"one", &long[..], b"2"].concat());
            assert_eq!(gather.chunk(), b"");
        }
    }
}
