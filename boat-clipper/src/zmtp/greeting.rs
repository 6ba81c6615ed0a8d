//! The first bytes of a connection, and the command `READY`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::ZmtpError;

/// How long a greeting is.
pub(super) const GREETING_BYTES: usize = 64;
/// The longest identity that a peer may give itself.
const IDENTITY_BYTES_MAX: usize = 255;

/// The type of socket at one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketType {
    /// What listens.
    Router,
    /// What connects.
    Dealer,
}

impl SocketType {
    fn name(self) -> &'static [u8] {
        match self {
            SocketType::Router => b"ROUTER",
            SocketType::Dealer => b"DEALER",
        }
    }

    /// What may be at the other end.
    fn accepts(self, other: &[u8]) -> bool {
        match self {
            SocketType::Router => matches!(other, b"DEALER" | b"REQ" | b"ROUTER"),
            SocketType::Dealer => matches!(other, b"ROUTER" | b"REP" | b"DEALER"),
        }
    }
}

/// What both sides send first.
pub(super) fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    let signature_and_version = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, b'N', b'U', b'L', b'L'];
    for (byte, value) in greeting.iter_mut().zip(signature_and_version) {
        *byte = value;
    }
    greeting
}

/// Whether the peer's greeting is one that can be answered.
pub(super) fn check_greeting(greeting: &[u8; GREETING_BYTES]) -> Result<(), ZmtpError> {
    let [0xff, _, _, _, _, _, _, _, _, ninth, major, _, mechanism @ ..] = greeting else {
        return Err(ZmtpError::Foreign("no signature"));
    };
    if ninth & 1 == 0 || *major < 3 {
        return Err(ZmtpError::Foreign("an older version"));
    }
    let null = b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    match mechanism.starts_with(null) {
        true => Ok(()),
        false => Err(ZmtpError::Foreign("another mechanism")),
    }
}

/// The body of `READY`.
pub(super) fn ready(socket_type: SocketType, identity: &[u8]) -> BytesMut {
    let mut body = BytesMut::from(&b"\x05READY"[..]);
    for (name, value) in [(&b"Socket-Type"[..], socket_type.name()), (b"Identity", identity)] {
        body.put_u8(name.len() as u8);
        body.put_slice(name);
        body.put_u32(value.len() as u32);
        body.put_slice(value);
    }
    body
}

/// Reads the peer's `READY`: its identity, which is empty where it gave itself none.
pub(super) fn read_ready(socket_type: SocketType, mut body: Bytes) -> Result<Bytes, ZmtpError> {
    let foreign = |what| move || ZmtpError::Foreign(what);
    if !body.starts_with(b"\x05READY") {
        return Err(ZmtpError::Foreign("no READY"));
    }
    body.advance(6);
    let (mut other, mut identity) = (None, Bytes::new());
    while body.has_remaining() {
        let (name, value) = property(&mut body).ok_or_else(foreign("a broken READY"))?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            other = Some(value);
        } else if name.eq_ignore_ascii_case(b"Identity") {
            identity = value;
        }
    }
    match other {
        Some(other) if socket_type.accepts(&other) => {}
        _ => return Err(ZmtpError::Foreign("another type of socket")),
    }
    if identity.len() > IDENTITY_BYTES_MAX {
        return Err(ZmtpError::Foreign("an identity that is too long"));
    }
    Ok(identity)
}

fn property(body: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let name_bytes = usize::from(body.try_get_u8().ok()?);
    let name = take(body, name_bytes)?;
    let value_bytes = usize::try_from(body.try_get_u32().ok()?).ok()?;
    Some((name, take(body, value_bytes)?))
}

fn take(body: &mut Bytes, bytes: usize) -> Option<Bytes> {
    (bytes <= body.len()).then(|| body.split_to(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_greeting_is_read_back_and_others_refused() {
        let good = greeting();
        assert!(check_greeting(&good).is_ok());
        // libzmq 4.3 says 3.1, and anything between signature bytes.
        for (at, value, is_good) in [
            (11, 1, true),
            (8, 1, true),
            (10, 4, true),
            (0, 0, false),
            (9, 0, false),
            (10, 2, false),
            (12, b'P', false),
            (16, b'X', false),
        ] {
            let mut changed = good;
            changed[at] = value;
            assert_eq!(check_greeting(&changed).is_ok(), is_good, "{at} {value}");
        }
    }

    #[test]
    fn ready_carries_type_and_identity() {
        let body = ready(SocketType::Dealer, b"me").freeze();
        assert_eq!(&body[..], b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02me");
        assert_eq!(read_ready(SocketType::Router, body.clone()).unwrap(), "me");
        let router = ready(SocketType::Router, b"").freeze();
        assert_eq!(read_ready(SocketType::Dealer, router).unwrap(), "");
        let long = ready(SocketType::Dealer, &[7; 256]).freeze();
        assert!(read_ready(SocketType::Router, long).is_err());
        let publisher = Bytes::from_static(b"\x05READY\x0bSocket-Type\0\0\0\x03PUB");
        assert!(read_ready(SocketType::Router, publisher).is_err());
        for cut in 0..body.len() {
            // Cut exactly behind the first property it is a READY without identity.
            assert_eq!(read_ready(SocketType::Router, body.slice(..cut)).is_ok(), cut == 28, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_ready_whatever_panics(tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let body = [b"\x05READY", &tail[..]].concat();
            let _ = read_ready(SocketType::Router, body.into());
        }
    }
}
