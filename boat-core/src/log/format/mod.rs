//! The bytes of segments and of the watermark, as functions of bytes; `docs/log-format.md` draws them.

pub(super) mod batch;
pub(crate) mod membership;
pub(super) mod parse;
pub(super) mod sections;
pub(super) mod segment;

/// The version of every file of the log.
pub(super) const VERSION: u32 = 1;

/// Batches begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;

/// `bytes` rounded up to [`ALIGNMENT`].
pub(super) fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Appends zeros until `out`, counted from `start`, is aligned.
pub(super) fn pad(out: &mut Vec<u8>, start: usize) {
    while !(out.len() - start).is_multiple_of(ALIGNMENT as usize) {
        out.push(0);
    }
}

/// Overwrites `bytes` at `at`, which must lie within `out`: used to fill in checksums and lengths.
pub(super) fn patch(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
