//! Frames and the messages that they make up.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Message, ZmtpError};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What a peer may send in one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The bytes of all frames together.
    pub(crate) message_bytes_max: usize,
    /// The number of frames.
    pub(crate) frames_max: usize,
}

/// What came, whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// A message.
    Message(Message),
    /// A command's body.
    Command(Bytes),
}

/// Takes frames from a buffer and puts messages together.
#[derive(Debug)]
pub(super) struct Decoder {
    limits: Limits,
    frames: Message,
    /// The bytes of `frames`.
    bytes: usize,
}

struct Head {
    flags: u8,
    head_bytes: usize,
    body_bytes: u64,
}

impl Head {
    fn peek(source: &[u8]) -> Option<Head> {
        let (flags, rest) = source.split_first()?;
        match flags & LONG {
            0 => rest.first().map(|&bytes| Head { flags: *flags, head_bytes: 2, body_bytes: bytes.into() }),
            _ => rest.first_chunk().map(|bytes| {
                let body_bytes = u64::from_be_bytes(*bytes);
                Head { flags: *flags, head_bytes: 9, body_bytes }
            }),
        }
    }
}

impl Decoder {
    pub(super) fn new(limits: Limits) -> Self {
        Decoder { limits, frames: Vec::new(), bytes: 0 }
    }

    /// The next whole message or command, taken from `source`; nothing while more bytes are needed.
    pub(super) fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Whole>, ZmtpError> {
        // Each turn takes a frame off `source`, or ends the loop.
        while let Some(head) = Head::peek(source) {
            if head.flags & !(MORE | LONG | COMMAND) != 0 || head.flags & (MORE | COMMAND) == MORE | COMMAND {
                return Err(ZmtpError::Foreign("a frame with unknown flags"));
            }
            let body_bytes = self.check_length(&head)?;
            if source.len() < head.head_bytes + body_bytes {
                return Ok(None);
            }
            source.advance(head.head_bytes);
            let body = source.split_to(body_bytes).freeze();
            if head.flags & COMMAND != 0 {
                return Ok(Some(Whole::Command(body)));
            }
            self.bytes += body_bytes;
            self.frames.push(body);
            if head.flags & MORE == 0 {
                self.bytes = 0;
                return Ok(Some(Whole::Message(std::mem::take(&mut self.frames))));
            }
        }
        Ok(None)
    }

    /// Before anything is reserved for it.
    fn check_length(&self, head: &Head) -> Result<usize, ZmtpError> {
        let Limits { message_bytes_max, frames_max } = self.limits;
        let fits = usize::try_from(head.body_bytes).ok().filter(|bytes| {
            *bytes <= message_bytes_max.saturating_sub(self.bytes) && self.frames.len() < frames_max
        });
        fits.ok_or(ZmtpError::TooLong { bytes_max: message_bytes_max, frames_max })
    }
}

/// Appends one message to `out`.
pub(super) fn encode(message: &[Bytes], out: &mut BytesMut) {
    for (index, frame) in message.iter().enumerate() {
        encode_frame(if index + 1 < message.len() { MORE } else { 0 }, frame, out);
    }
}

/// Appends one command to `out`.
pub(super) fn encode_command(body: &[u8], out: &mut BytesMut) {
    encode_frame(COMMAND, body, out);
}

fn encode_frame(flags: u8, body: &[u8], out: &mut BytesMut) {
    match u8::try_from(body.len()) {
        Ok(bytes) => out.put_slice(&[flags, bytes]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body.len() as u64);
        }
    }
    out.put_slice(body);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { message_bytes_max: 1_000, frames_max: 8 };

    fn encoded(message: &[Bytes]) -> BytesMut {
        let mut out = BytesMut::new();
        encode(message, &mut out);
        out
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let long = vec![7; 256];
        let message = [Bytes::new(), Bytes::from_static(b"hi"), long.clone().into()];
        let expected = [&[1, 0, 1, 2, b'h', b'i', 2, 0, 0, 0, 0, 0, 0, 1, 0][..], &long].concat();
        assert_eq!(encoded(&message), expected);
        let mut command = BytesMut::new();
        encode_command(b"x", &mut command);
        assert_eq!(&command[..], [4, 1, b'x']);
        let decoded = Decoder::new(LIMITS).decode(&mut command).unwrap();
        assert_eq!(decoded, Some(Whole::Command(Bytes::from_static(b"x"))));
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_head_alone() {
        let refused = |bytes: &[u8]| Decoder::new(LIMITS).decode(&mut BytesMut::from(bytes)).is_err();
        assert!(refused(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert!(refused(&[2, 0, 0, 0, 0, 0, 0, 0x03, 0xe9]));
        assert!(!refused(&[2, 0, 0, 0, 0, 0, 0, 0x03, 0xe8]));
        assert!(refused(&[[1, 0].repeat(8), vec![0, 0]].concat()));
        assert!(!refused(&[[1, 0].repeat(7), vec![0, 0]].concat()));
        let halves = [&[1, 200][..], &[0; 200], &[2, 0, 0, 0, 0, 0, 0, 0x03, 0x21]].concat();
        assert!(refused(&halves));
        assert!(refused(&[8, 0]));
        assert!(refused(&[5, 0]));
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(
            messages in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..4), 1..5),
            cut in 1_usize..400,
        ) {
            let messages: Vec<Message> =
                messages.into_iter().map(|m| m.into_iter().map(Bytes::from).collect()).collect();
            let mut stream = BytesMut::new();
            for message in &messages {
                encode(message, &mut stream);
            }
            let (mut decoder, mut buffer, mut read) = (Decoder::new(LIMITS), BytesMut::new(), Vec::new());
            for chunk in stream.chunks(cut) {
                buffer.extend_from_slice(chunk);
                while let Some(Whole::Message(message)) = decoder.decode(&mut buffer).unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn no_bytes_whatever_panic_or_take_more_than_the_limits(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (mut decoder, mut buffer) = (Decoder::new(LIMITS), BytesMut::from(&bytes[..]));
            while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
            prop_assert!(decoder.bytes <= LIMITS.message_bytes_max && decoder.frames.len() <= LIMITS.frames_max);
        }
    }
}
