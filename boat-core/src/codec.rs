//! Reading little-endian fields from bytes that may be anything.

use bytes::Bytes;

/// Bytes that are not what they should be: says which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// Reads fields off the front of a slice, each one checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which should be a `what`.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Reader { rest: bytes, what }
    }

    pub(crate) fn malformed(&self) -> Malformed {
        Malformed(self.what)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn slice(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// Several numbers of `u64`, checked as one.
    #[inline]
    pub(crate) fn numbers<const N: usize>(&mut self) -> Result<[u64; N], Malformed> {
        let bytes = self.slice(N * 8)?;
        let mut numbers = [0; N];
        for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
            *number = u64::from_le_bytes(*bytes);
        }
        Ok(numbers)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    /// A count of `u16` and as many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let count = usize::from(self.u16()?);
        std::str::from_utf8(self.slice(count)?).map_err(|_| self.malformed())
    }

    /// Everything that was not read yet.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left over.
    #[inline]
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed(self.what)) }
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Where the reader stands in `whole`, which it was made from.
    pub(crate) fn offset_in(&self, whole: &[u8]) -> usize {
        whole.len() - self.rest.len()
    }
}

/// Appends what [`Reader::text`] reads. Text past 64 KiB is cut: callers check lengths at the door.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut count = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(count) {
        count -= 1;
    }
    out.extend_from_slice(&(count as u16).to_le_bytes());
    out.extend(text.bytes().take(count));
}

/// The part of `whole` that `part`, a slice of it, covers; without copying.
pub(crate) fn share(whole: &Bytes, part: &[u8]) -> Bytes {
    whole.slice_ref(part)
}
