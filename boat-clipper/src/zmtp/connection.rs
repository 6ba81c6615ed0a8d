//! A connection: greeting, `READY`, then messages.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frame::{Decoder, Limits, Whole, encode, encode_command};
use super::greeting::{GREETING_BYTES, SocketType, check_greeting, greeting, read_ready, ready};
use super::{Message, ZmtpError};

/// How long a peer's `READY` may be.
const READY_LIMITS: Limits = Limits { message_bytes_max: 4_096, frames_max: 1 };
/// How many bytes are read at a time, at least.
const READ_BYTES: usize = 16 << 10;
/// Room for what is written that is given back afterwards.
const WRITE_BYTES_KEPT: usize = 256 << 10;

/// The half of a connection that reads.
#[derive(Debug)]
pub(crate) struct Incoming<R> {
    source: R,
    buffer: BytesMut,
    decoder: Decoder,
}

/// The half of a connection that writes.
#[derive(Debug)]
pub(crate) struct Outgoing<W> {
    sink: W,
    buffer: BytesMut,
}

/// Greets the peer and reads its greeting. `identity` is how a ROUTER at the other end may call this end. Gives both halves,
/// and the peer's identity.
pub(crate) async fn handshake<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: R,
    sink: W,
    socket_type: SocketType,
    identity: &[u8],
    limits: Limits,
) -> Result<(Incoming<R>, Outgoing<W>, Bytes), ZmtpError> {
    let mut incoming = Incoming { source, buffer: BytesMut::new(), decoder: Decoder::new(READY_LIMITS) };
    let mut outgoing = Outgoing { sink, buffer: BytesMut::new() };
    outgoing.buffer.extend_from_slice(&greeting());
    outgoing.flush().await?;
    check_greeting(&incoming.greeting().await?)?;
    encode_command(&ready(socket_type, identity), &mut outgoing.buffer);
    outgoing.flush().await?;
    let Whole::Command(body) = incoming.whole().await? else {
        return Err(ZmtpError::Foreign("a message before READY"));
    };
    let peer = read_ready(socket_type, body)?;
    incoming.decoder = Decoder::new(limits);
    Ok((incoming, outgoing, peer))
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    async fn greeting(&mut self) -> Result<[u8; GREETING_BYTES], ZmtpError> {
        loop {
            // What is no ZeroMQ at all is told apart by its first byte: it may never send 64.
            if self.buffer.first().is_some_and(|first| *first != 0xff) {
                return Err(ZmtpError::Foreign("no signature"));
            }
            if let Some(greeting) = self.buffer.first_chunk().copied() {
                drop(self.buffer.split_to(GREETING_BYTES));
                return Ok(greeting);
            }
            self.fill().await?;
        }
    }

    async fn whole(&mut self) -> Result<Whole, ZmtpError> {
        loop {
            if let Some(whole) = self.decoder.decode(&mut self.buffer)? {
                return Ok(whole);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), ZmtpError> {
        self.buffer.reserve(READ_BYTES);
        match self.source.read_buf(&mut self.buffer).await? {
            0 => Err(ZmtpError::Ended(std::io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// The next message. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Message, ZmtpError> {
        loop {
            // ZMTP 3.0 has no commands after READY; those of later versions can be ignored.
            if let Whole::Message(message) = self.whole().await? {
                return Ok(message);
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    /// Sends one message. A connection on which this was given up half way must be closed.
    pub(crate) async fn send(&mut self, message: &[Bytes]) -> Result<(), ZmtpError> {
        encode(message, &mut self.buffer);
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ZmtpError> {
        self.sink.write_all(&self.buffer).await?;
        self.sink.flush().await?;
        self.buffer.clear();
        if self.buffer.capacity() > WRITE_BYTES_KEPT {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const LIMITS: Limits = Limits { message_bytes_max: 100_000, frames_max: 8 };

    #[tokio::test]
    async fn two_ends_greet_each_other_and_talk() {
        let (here, there) = duplex(64);
        let ((read_here, write_here), (read_there, write_there)) =
            (tokio::io::split(here), tokio::io::split(there));
        let (router, dealer) = tokio::join!(
            handshake(read_here, write_here, SocketType::Router, b"", LIMITS),
            handshake(read_there, write_there, SocketType::Dealer, b"me", LIMITS),
        );
        let ((_, mut from_router, peer), (mut to_dealer, ..)) = (router.unwrap(), dealer.unwrap());
        assert_eq!(peer, "me");
        let message = [Bytes::new(), Bytes::from(vec![1; 50_000])];
        let (sent, received) = tokio::join!(from_router.send(&message), to_dealer.next());
        sent.unwrap();
        assert_eq!(received.unwrap(), message);
    }

    #[tokio::test]
    async fn what_is_no_zeromq_is_refused_by_its_first_byte() {
        let (here, mut there) = duplex(1_024);
        let (read, write) = tokio::io::split(here);
        there.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let refused = handshake(read, write, SocketType::Router, b"", LIMITS).await.map(drop);
        assert!(matches!(refused, Err(ZmtpError::Foreign(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_peer_that_ends_is_seen() {
        let (here, there) = duplex(1_024);
        let (read, write) = tokio::io::split(here);
        drop(there);
        let ended = handshake(read, write, SocketType::Router, b"", LIMITS).await.map(drop);
        assert!(matches!(ended, Err(ZmtpError::Ended(_))), "{ended:?}");
    }
}
