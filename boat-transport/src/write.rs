//! Writing what is to be sent to a peer: at once by whoever sends, where the socket takes it, else by the link's task.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::sync::Arc;

use boat_core::NodeId;
use boat_core::transport::PeerMessage;
use bytes::Buf;
use log::error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::frame::{self, FrameError};
use crate::gather::Gather;
use crate::links::Shared;
use crate::outbox::Outbox;
use crate::wire::{Malformed, Outgoing};

/// Once so much is ready it is written before more is taken from the queue. It does not count against the queue's bounds.
const WRITE_BYTES_MAX: usize = 256 * 1024;
/// How many pieces are given to the system at once.
const SLICES_MAX: usize = 16;

/// Takes whatever has gathered in `outbox` and writes it in one go, over and over. In between, those who send write
/// themselves, until the socket takes no more.
///
/// # Errors
/// Why the connection cannot be written to any more.
pub(crate) async fn write_gathered(
    stream: &Arc<TcpStream>,
    to: NodeId,
    outbox: &Outbox,
    shared: &Shared,
) -> io::Result<Infallible> {
    let mut writer = Writer::new(Arc::clone(stream), to, shared.options.frame_bytes_max);
    let mut messages = Vec::new();
    // However this ends, nobody writes to this connection afterwards.
    let _connected = Disconnect(outbox);
    loop {
        outbox.lend(writer);
        writer = outbox.gathered().await;
        outbox.take(WRITE_BYTES_MAX, &mut messages);
        let sent = writer.encode(messages.drain(..), shared);
        timeout(shared.options.write_timeout, writer.write_all()).await.map_err(io::Error::from)??;
        shared.counters.messages_sent.add(sent);
    }
}

struct Disconnect<'a>(&'a Outbox);

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

/// A connection, and what is on its way to it.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: Arc<TcpStream>,
    to: NodeId,
    frame_bytes_max: usize,
    /// Kept between messages for its memory only.
    head: Vec<u8>,
    out: Gather,
}

impl Writer {
    pub(crate) fn new(stream: Arc<TcpStream>, to: NodeId, frame_bytes_max: usize) -> Self {
        Writer { stream, to, frame_bytes_max, head: Vec::new(), out: Gather::default() }
    }

    /// Adds messages to what is to be written, and says how many; those that cannot be sent are left out.
    pub(crate) fn encode(&mut self, messages: impl Iterator<Item = PeerMessage>, shared: &Shared) -> usize {
        let mut encoded = 0;
        for message in messages {
            match self.encode_one(message) {
                Ok(()) => encoded += 1,
                Err(error) => {
                    error!("a message to node {} cannot be sent: {error}", self.to);
                    shared.counters.messages_dropped.add(1);
                }
            }
        }
        self.out.seal();
        encoded
    }

    /// Adds a message; on an error nothing is added.
    fn encode_one(&mut self, message: PeerMessage) -> Result<(), EncodeError> {
        let outgoing = Outgoing::from(message);
        outgoing.write_head(&mut self.head)?;
        frame::encode(&mut self.out, &self.head, outgoing.payload, self.frame_bytes_max)?;
        Ok(())
    }

    /// Writes as much as the socket takes without waiting. True: nothing is left.
    ///
    /// # Errors
    /// Why the connection cannot be written to.
    pub(crate) fn try_write(&mut self) -> io::Result<bool> {
        while self.out.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.out.chunks_vectored(&mut slices);
            match self.stream.try_write_vectored(slices.get(..filled).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.out.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn write_all(&mut self) -> io::Result<()> {
        while !self.try_write()? {
            self.stream.writable().await?;
        }
        Ok(())
    }
}

/// Why a message cannot be encoded.
#[derive(Debug, thiserror::Error)]
enum EncodeError {
    #[error(transparent)]
    Head(#[from] Malformed),
    #[error(transparent)]
    Frame(#[from] FrameError),
}
