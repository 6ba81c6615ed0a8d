//! One connection between two nodes: the handshake and frames over any stream of bytes.

use std::io;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::{Hello, Reception, Refusal};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::frame::{self, FrameError};
use crate::handshake::{self, GREETING_BYTES_MAX, GreetingReader, HandshakeError};
use crate::wire::{Answer, Malformed};

/// Room for at least so much is made before each read from an accepted peer.
const READ_BYTES_MIN: usize = 16 * 1024;

/// Room for at most so much is made before each read: a frame's length alone, without the bytes, reserves no more.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// A refused peer may still be sending. So much of it is read away, because closing a socket with unread bytes would cut
/// off the refusal.
const DRAIN_BYTES_MAX: u64 = 4 * GREETING_BYTES_MAX as u64;

/// Why an accepted connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the connection ended within a frame")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A stream and what has been read from it but not used.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    received: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Connection { stream, received: BytesMut::new() }
    }

    /// The dialer's side of the handshake. Returns who is there, once both sides accepted each other. Whoever answers and is
    /// not accepted is told so: it may have no other way to hear of it.
    pub(crate) async fn dial(
        &mut self,
        meant: NodeId,
        reception: &dyn Reception,
        within: Duration,
    ) -> Result<Hello, HandshakeError> {
        let handshake = async {
            self.stream.write_all(&handshake::opening(reception, meant)?).await?;
            let answer = self.read_greeting().await?;
            let judged = handshake::judge_answer(answer, meant, reception);
            // Who is not even meant has done nothing wrong.
            if let Err(HandshakeError::RefusedHere(refusal)) = &judged
                && *refusal != Refusal::WrongNode
            {
                self.stream.write_all(&handshake::parting(*refusal)?).await?;
                self.stream.shutdown().await?;
            }
            judged
        };
        timeout(within, handshake).await.unwrap_or(Err(HandshakeError::TimedOut(within)))
    }

    /// The acceptor's side of the handshake. Returns who dialed, once this side has accepted it and said so.
    pub(crate) async fn welcome(
        &mut self,
        reception: &dyn Reception,
        within: Duration,
    ) -> Result<Hello, HandshakeError> {
        let handshake = async {
            let judged = match self.read_greeting().await {
                Ok(opening) => handshake::judge_opening(opening, reception),
                Err(error) => Err(error),
            };
            match judged {
                Ok((hello, answer)) => {
                    self.stream.write_all(&handshake::answer(&answer)?).await?;
                    Ok(hello)
                }
                Err(error) => {
                    if let Some(refusal) = error.to_answer() {
                        self.refuse(refusal).await?;
                    }
                    Err(error)
                }
            }
        };
        timeout(within, handshake).await.unwrap_or(Err(HandshakeError::TimedOut(within)))
    }

    /// Reads the next frame's body; `None` when the peer closed the connection between two frames. Can be dropped and
    /// called again without losing a byte.
    pub(crate) async fn read_frame(&mut self, body_bytes_max: usize) -> Result<Option<Bytes>, ReceiveError> {
        loop {
            if let Some(body) = frame::decode(&mut self.received, body_bytes_max)? {
                return Ok(Some(body));
            }
            let room = frame::missing_bytes(&self.received).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
            if self.read_more(room).await? == 0 {
                return if self.received.is_empty() { Ok(None) } else { Err(ReceiveError::Truncated) };
            }
        }
    }

    /// The stream, to set it up.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The bare stream, for a side that only writes from now on. Whatever it was sent unasked is dropped.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    async fn read_greeting(&mut self) -> Result<Bytes, HandshakeError> {
        let mut greeting = GreetingReader::default();
        loop {
            if let Some(body) = greeting.read(&mut self.received)? {
                return Ok(body);
            }
            if self.read_more(GREETING_BYTES_MAX).await? == 0 {
                return Err(HandshakeError::Closed);
            }
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), HandshakeError> {
        self.stream.write_all(&handshake::answer(&Answer::Refusal(refusal))?).await?;
        self.stream.shutdown().await?;
        let mut rest = (&mut self.stream).take(DRAIN_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        Ok(())
    }

    async fn read_more(&mut self, room: usize) -> io::Result<usize> {
        self.received.reserve(room);
        self.stream.read_buf(&mut self.received).await
    }
}

#[cfg(test)]
mod tests;
