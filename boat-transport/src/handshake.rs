//! The handshake, over buffers: who is there, and do both sides accept each other.
//!
//! ```text
//! dialer    -> acceptor:  | magic "BOATPEER" | version u16 | frame: Opening |
//! acceptor  -> dialer:    | magic "BOATPEER" | version u16 | frame: Answer  |
//! ```
//!
//! Magic and version stand before everything else, so that they can be read whatever a later version puts behind them. An
//! acceptor of another version answers with its own version all the same, and both sides know why they part.

use std::io;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::{Hello, PeerMessage, Reception, Refusal};
use bytes::{Buf, Bytes, BytesMut};

use crate::frame::{self, FrameError};
use crate::gather::Gather;
use crate::wire::{Answer, Malformed, Opening, Outgoing};

/// What every connection between peers starts with.
const MAGIC: [u8; 8] = *b"BOATPEER";

/// The version of the protocol that this crate speaks: of the frames, the handshake and the messages.
const VERSION: u16 = 1;

const PREAMBLE_BYTES: usize = MAGIC.len() + 2;

/// The longest body of an opening or an answer: nobody who has not been accepted makes us reserve more.
pub(crate) const GREETING_BYTES_MAX: usize = 1024;

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("not a Boat node: the connection starts with {0:02x?}")]
    Magic([u8; 8]),
    #[error("it speaks version {theirs} of the protocol, this node version {VERSION}")]
    Version { theirs: u16 },
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the peer refuses this node: {0}")]
    RefusedThere(Refusal),
    #[error("this node refuses the peer: {0}")]
    RefusedHere(Refusal),
    #[error("no handshake within {0:?}")]
    TimedOut(Duration),
    #[error("the connection was closed during the handshake")]
    Closed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl HandshakeError {
    /// What to answer before closing the connection, if the peer would understand it.
    pub(crate) fn to_answer(&self) -> Option<Refusal> {
        match self {
            HandshakeError::Version { .. } => Some(Refusal::Version),
            HandshakeError::RefusedHere(refusal) => Some(*refusal),
            _ => None,
        }
    }

    /// The peer's refusal of this node, said or implied by its version.
    pub(crate) fn refusal_of_us(&self) -> Option<Refusal> {
        match self {
            HandshakeError::Version { .. } => Some(Refusal::Version),
            HandshakeError::RefusedThere(refusal) => Some(*refusal),
            _ => None,
        }
    }
}

/// Reads what one side sends in a handshake.
#[derive(Debug, Default)]
pub(crate) struct GreetingReader {
    preamble_read: bool,
}

impl GreetingReader {
    /// Takes the greeting's body off `src`, if all of it is there.
    ///
    /// # Errors
    /// [`HandshakeError`] when these are not the first bytes of a peer of this version.
    pub(crate) fn read(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, HandshakeError> {
        if !self.preamble_read {
            let Some((preamble, _)) = src.split_first_chunk::<PREAMBLE_BYTES>() else { return Ok(None) };
            check_preamble(preamble)?;
            src.advance(PREAMBLE_BYTES);
            self.preamble_read = true;
        }
        Ok(frame::decode(src, GREETING_BYTES_MAX)?)
    }
}

fn check_preamble(preamble: &[u8; PREAMBLE_BYTES]) -> Result<(), HandshakeError> {
    let [magic @ .., version_low, version_high] = *preamble;
    if magic != MAGIC {
        return Err(HandshakeError::Magic(magic));
    }
    let theirs = u16::from_le_bytes([version_low, version_high]);
    if theirs == VERSION { Ok(()) } else { Err(HandshakeError::Version { theirs }) }
}

/// The first bytes on a connection that this node dials.
pub(crate) fn opening(reception: &dyn Reception, to: NodeId) -> Result<Bytes, FrameError> {
    greeting(&Opening { hello: reception.hello(), to }.encode())
}

/// The first bytes on a connection that this node accepted.
pub(crate) fn answer(answer: &Answer) -> Result<Bytes, FrameError> {
    greeting(&answer.encode())
}

/// The last words of a dialer that does not accept who answers, in a frame as every message.
pub(crate) fn parting(refusal: Refusal) -> Result<Bytes, HandshakeError> {
    let (mut head, mut out) = (Vec::new(), Gather::default());
    Outgoing::from(PeerMessage::Refused(refusal)).write_head(&mut head)?;
    frame::encode(&mut out, &head, Vec::new(), GREETING_BYTES_MAX)?;
    out.seal();
    Ok(out.copy_to_bytes(out.remaining()))
}

fn greeting(body: &[u8]) -> Result<Bytes, FrameError> {
    let mut out = Gather::default();
    out.put(&MAGIC);
    out.put(&VERSION.to_le_bytes());
    frame::encode(&mut out, body, Vec::new(), GREETING_BYTES_MAX)?;
    out.seal();
    Ok(out.copy_to_bytes(out.remaining()))
}

/// The acceptor's judgement of an opening: who dials, and what to answer.
///
/// # Errors
/// [`HandshakeError::RefusedHere`], or that the body is no opening.
pub(crate) fn judge_opening(
    body: Bytes,
    reception: &dyn Reception,
) -> Result<(Hello, Answer), HandshakeError> {
    let opening = Opening::decode(body)?;
    let own = reception.hello();
    if opening.to != own.node {
        return Err(HandshakeError::RefusedHere(Refusal::WrongNode));
    }
    reception.judge(&opening.hello).map_err(HandshakeError::RefusedHere)?;
    Ok((opening.hello, Answer::Hello(own)))
}

/// The dialer's judgement of an answer: who is there.
///
/// # Errors
/// [`HandshakeError::RefusedThere`], [`HandshakeError::RefusedHere`], or that the body is no answer.
pub(crate) fn judge_answer(
    body: Bytes,
    meant: NodeId,
    reception: &dyn Reception,
) -> Result<Hello, HandshakeError> {
    match Answer::decode(body)? {
        Answer::Refusal(refusal) => Err(HandshakeError::RefusedThere(refusal)),
        Answer::Hello(hello) if hello.node != meant => Err(HandshakeError::RefusedHere(Refusal::WrongNode)),
        Answer::Hello(hello) => {
            reception.judge(&hello).map_err(HandshakeError::RefusedHere)?;
            Ok(hello)
        }
    }
}
