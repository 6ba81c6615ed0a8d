//! Frames: a length, a checksum, and a body.
//!
//! ```text
//! | length u32 | crc32c u32 | body |
//! ```
//!
//! Both numbers are little-endian. `length` counts the body's bytes; the checksum covers the length's four bytes and the
//! body, so that neither a run of zeros nor a body cut at a wrong length passes for a frame.

use bytes::{Buf, Bytes, BytesMut};

use crate::gather::Gather;

/// What stands before every body.
pub(crate) const HEAD_BYTES: usize = 8;

/// Bodies up to this length get a buffer of their own when they are read. Sharing the connection's buffer would cost
/// nothing at first, but a short entry that stays in memory would keep all of that buffer alive.
const COPY_BYTES_MAX: usize = 8 * 1024;

/// Bytes that are not a frame, or a message too long for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The body is longer than the limit. Nothing was reserved for it.
    #[error("a frame of {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong { bytes: usize, bytes_max: usize },
    /// The checksum differs.
    #[error("a frame's checksum is {found:08x}, not {expected:08x}")]
    Checksum { found: u32, expected: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Head {
    length: [u8; 4],
    checksum: u32,
}

impl Head {
    fn peek(src: &[u8]) -> Option<Head> {
        let (length, rest) = src.split_first_chunk::<4>()?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        Some(Head { length: *length, checksum: u32::from_le_bytes(*checksum) })
    }

    /// The body's length, which no address space of 32 bits or more fails to hold.
    fn body_bytes(self) -> usize {
        u32::from_le_bytes(self.length) as usize
    }
}

/// Takes the next frame's body off `src`, if all of it is there.
///
/// # Errors
/// [`FrameError`], after which the position of the next frame is unknown: close the connection.
pub(crate) fn decode(src: &mut BytesMut, body_bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(head) = Head::peek(src) else { return Ok(None) };
    let body_bytes = head.body_bytes();
    if body_bytes > body_bytes_max {
        return Err(FrameError::TooLong { bytes: body_bytes, bytes_max: body_bytes_max });
    }
    let Some(body) = src.get(HEAD_BYTES..HEAD_BYTES + body_bytes) else { return Ok(None) };
    let expected = crc32c::crc32c_append(crc32c::crc32c(&head.length), body);
    if head.checksum != expected {
        return Err(FrameError::Checksum { found: head.checksum, expected });
    }
    if body_bytes <= COPY_BYTES_MAX {
        let body = Bytes::copy_from_slice(body);
        src.advance(HEAD_BYTES + body_bytes);
        return Ok(Some(body));
    }
    src.advance(HEAD_BYTES);
    Ok(Some(src.split_to(body_bytes).freeze()))
}

/// How many bytes `src` lacks until its first frame, or that frame's head, is whole.
pub(crate) fn missing_bytes(src: &[u8]) -> usize {
    let whole = Head::peek(src).map_or(HEAD_BYTES, |head| HEAD_BYTES.saturating_add(head.body_bytes()));
    whole.saturating_sub(src.len())
}

/// Adds a frame to `out` whose body is `body` followed by the parts of `payload`.
///
/// # Errors
/// [`FrameError::TooLong`]; nothing was added then.
pub(crate) fn encode(
    out: &mut Gather,
    body: &[u8],
    payload: Vec<Bytes>,
    body_bytes_max: usize,
) -> Result<(), FrameError> {
    let bytes = payload.iter().map(Bytes::len).fold(body.len(), usize::saturating_add);
    let too_long = FrameError::TooLong { bytes, bytes_max: body_bytes_max };
    let length = u32::try_from(bytes).map_err(|_| too_long)?.to_le_bytes();
    if bytes > body_bytes_max {
        return Err(too_long);
    }
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body);
    let checksum = payload.iter().fold(checksum, |sum, part| crc32c::crc32c_append(sum, part));
    out.put(&length);
    out.put(&checksum.to_le_bytes());
    out.put(body);
    for part in payload {
        out.share(part);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn framed(body: &[u8], payload: Vec<Bytes>) -> Vec<u8> {
        let mut out = Gather::default();
        encode(&mut out, body, payload, LIMIT).unwrap();
        out.seal();
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    #[test]
    fn the_layout_is_fixed() {
        let whole = framed(b"12345", vec![Bytes::from_static(b"67"), Bytes::from_static(b"89")]);
        assert_eq!(whole[..4], [9, 0, 0, 0]);
        // CRC-32C (Castagnoli) of the length and the body, by a bitwise computation of its own.
        assert_eq!(whole[4..8], [0x78, 0xd2, 0x17, 0x57]);
        assert_eq!(whole[8..], *b"123456789");
    }

    #[test]
    fn every_prefix_is_incomplete_and_says_what_it_lacks() {
        let whole = framed(b"a body", vec![Bytes::from(vec![3; 9000])]);
        for cut in 0..whole.len() {
            let mut src = BytesMut::from(&whole[..cut]);
            assert_eq!(decode(&mut src, LIMIT), Ok(None), "cut at {cut}");
            assert_eq!(src.len(), cut, "nothing is taken");
            let expected = if cut < HEAD_BYTES { HEAD_BYTES - cut } else { whole.len() - cut };
            assert_eq!(missing_bytes(&src), expected);
        }
        assert_eq!(missing_bytes(&whole), 0);
    }

    #[test]
    fn no_flipped_bit_gives_another_frame() {
        // Behind the frame stand zeros, so that a length flipped upwards finds bytes to take.
        let mut stream = framed(b"x", vec![Bytes::from_static(b"request")]);
        let frame_bytes = stream.len();
        stream.resize(LIMIT * 2, 0);
        for bit in 0..frame_bytes * 8 {
            let mut flipped = BytesMut::from(&stream[..]);
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&mut flipped, LIMIT).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_past_the_limit_is_refused_by_its_head_alone() {
        for bytes in [LIMIT + 1, u32::MAX as usize] {
            let mut src = BytesMut::from(&(bytes as u32).to_le_bytes()[..]);
            src.extend_from_slice(&[0; 4]);
            let capacity = src.capacity();
            assert_eq!(decode(&mut src, LIMIT), Err(FrameError::TooLong { bytes, bytes_max: LIMIT }));
            assert_eq!(src.capacity(), capacity);
        }
        let mut out = Gather::default();
        assert!(encode(&mut out, &[0; LIMIT], vec![Bytes::from_static(b"1")], LIMIT).is_err());
        out.seal();
        assert_eq!(out.remaining(), 0);
    }

    #[test]
    fn zeros_are_not_a_frame() {
        assert!(decode(&mut BytesMut::zeroed(64), LIMIT).is_err());
    }

    proptest! {
        #[test]
        fn frames_read_back_one_after_the_other(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20_000), 1..4)
        ) {
            let mut stream = BytesMut::new();
            for body in &bodies {
                stream.extend_from_slice(&framed(&[], vec![Bytes::from(body.clone())]));
            }
            for body in &bodies {
                prop_assert_eq!(decode(&mut stream, LIMIT).unwrap().unwrap(), body);
            }
            prop_assert!(stream.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut src = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut src, LIMIT) {}
        }
    }
}
