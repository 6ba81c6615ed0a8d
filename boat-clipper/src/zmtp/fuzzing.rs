//! ZeroMQ's bytes under attack: see [`boat_core::fuzzing`].

use boat_core::fuzzing::{Broken, Read, Target, Verdict, round_trip};
use bytes::{Bytes, BytesMut};

use super::frame::{self, Decoder, Limits, Whole};
use super::greeting::{self, GREETING_BYTES, SocketType};

const LIMITS: Limits = Limits { message_bytes_max: 4_096, frames_max: 16 };

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "zmtp_frames", run: frames, samples: streams },
        Target { name: "zmtp_greeting", run: one_greeting, samples: greetings },
        Target { name: "zmtp_ready", run: ready, samples: readies },
    ]
}

/// Messages and commands one after the other, up to what is none. What came whole is written and read again.
fn frames(input: &[u8]) -> Verdict {
    let (mut decoder, mut source) = (Decoder::new(LIMITS), BytesMut::from(input));
    loop {
        let whole = match decoder.decode(&mut source) {
            Ok(Some(whole)) => whole,
            Ok(None) => return Ok(Read::Whole),
            Err(_) => return Ok(Read::Refused),
        };
        let mut written = BytesMut::new();
        match &whole {
            Whole::Message(message) => frame::encode(message, &mut written),
            Whole::Command(body) => frame::encode_command(body, &mut written),
        }
        let again = Decoder::new(LIMITS).decode(&mut written);
        if !matches!(&again, Ok(Some(again)) if *again == whole) || !written.is_empty() {
            return Err(Broken(format!("{whole:?} was written, and read as {again:?}")));
        }
    }
}

fn streams() -> Vec<Vec<u8>> {
    let mut out = BytesMut::new();
    frame::encode(&[Bytes::new(), Bytes::from_static(b"hi"), vec![7; 300].into()], &mut out);
    frame::encode_command(b"\x05READY", &mut out);
    vec![out.to_vec()]
}

fn one_greeting(input: &[u8]) -> Verdict {
    let Some(first) = input.first_chunk::<GREETING_BYTES>() else { return Ok(Read::Refused) };
    Ok(if greeting::check_greeting(first).is_ok() { Read::Whole } else { Read::Refused })
}

fn greetings() -> Vec<Vec<u8>> {
    vec![greeting::greeting().to_vec()]
}

fn ready(input: &[u8]) -> Verdict {
    let read = |bytes: &[u8]| greeting::read_ready(SocketType::Router, Bytes::copy_from_slice(bytes));
    round_trip(read(input), |identity| read(&greeting::ready(SocketType::Dealer, identity)))
}

fn readies() -> Vec<Vec<u8>> {
    vec![
        greeting::ready(SocketType::Dealer, b"me").to_vec(),
        greeting::ready(SocketType::Dealer, b"").to_vec(),
    ]
}
