//! Writing what has gathered for a peer.

use std::convert::Infallible;
use std::io;

use boat_core::NodeId;
use boat_core::transport::PeerMessage;
use log::error;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::frame::{self, FrameError};
use crate::gather::Gather;
use crate::links::Shared;
use crate::outbox::Outbox;
use crate::wire::{Malformed, Outgoing};

/// Once so much is ready it is written before more is taken from the queue. It does not count against the queue's bounds.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Takes whatever has gathered in `outbox` and writes it in one go, over and over.
///
/// # Errors
/// Why the connection cannot be written to any more.
pub(crate) async fn write_gathered<W: AsyncWrite + Unpin>(
    writer: &mut W,
    to: NodeId,
    outbox: &Outbox,
    shared: &Shared,
) -> io::Result<Infallible> {
    let mut messages = Vec::new();
    let mut encoder = Encoder::new(shared.options.frame_bytes_max);
    loop {
        outbox.gathered().await;
        outbox.take(WRITE_BYTES_MAX, &mut messages);
        let mut sent = 0;
        for message in messages.drain(..) {
            match encoder.encode(message) {
                Ok(()) => sent += 1,
                Err(error) => {
                    error!("a message to node {to} cannot be sent: {error}");
                    shared.counters.messages_dropped.add(1);
                }
            }
        }
        let write = writer.write_all_buf(encoder.gathered());
        timeout(shared.options.write_timeout, write).await.map_err(io::Error::from)??;
        shared.counters.messages_sent.add(sent);
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

/// Turns messages into frames, one behind the other.
#[derive(Debug)]
struct Encoder {
    frame_bytes_max: usize,
    /// Kept between messages for its memory only.
    head: Vec<u8>,
    out: Gather,
}

impl Encoder {
    fn new(frame_bytes_max: usize) -> Self {
        Encoder { frame_bytes_max, head: Vec::new(), out: Gather::default() }
    }

    /// Adds a message; on an error nothing is added.
    fn encode(&mut self, message: PeerMessage) -> Result<(), EncodeError> {
        let outgoing = Outgoing::from(message);
        outgoing.write_head(&mut self.head)?;
        frame::encode(&mut self.out, &self.head, outgoing.payload, self.frame_bytes_max)?;
        Ok(())
    }

    /// All that was added and has not been written.
    fn gathered(&mut self) -> &mut Gather {
        self.out.seal();
        &mut self.out
    }
}
