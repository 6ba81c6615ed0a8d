//! Between boat-core's types and the bytes of `proto/peer.proto`. Pure: bytes that are not a message are an error, never a
//! default.
//!
//! ```text
//! body of a frame:  | head length u32 | head: Envelope | payload |
//! ```

mod consensus;
mod hello;
mod introduction;
mod membership;
mod names;
mod payload;
mod report;
mod snapshot;

use boat_core::transport::{Forward, ForwardRefusal, ForwardRefused, PeerMessage};
use bytes::{Buf, Bytes};
use prost::Message;

pub(crate) use hello::{Answer, Opening};
use payload::Payload;

#[expect(unreachable_pub, reason = "generated from proto/peer.proto, where the comments are")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/boat.peer.rs"));
}

/// The longest head: enough for 100,000 entries. It bounds what a short message can make the reader allocate, as a decoded
/// entry is some twenty times longer than the shortest encoded one.
const HEAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are not what they should be: says which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A message as it is written: its head, and the parts of its payload.
#[derive(Debug)]
pub(crate) struct Outgoing {
    envelope: proto::Envelope,
    /// The opaque bytes, which follow the head.
    pub(crate) payload: Vec<Bytes>,
}

impl Outgoing {
    /// Puts the head and its length into `out`, in place of what was there.
    pub(crate) fn write_head(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let bytes = self.envelope.encoded_len();
        let length = u32::try_from(bytes).map_err(|_| Malformed("head length"))?;
        if bytes > HEAD_BYTES_MAX {
            return Err(Malformed("head length"));
        }
        out.clear();
        out.extend_from_slice(&length.to_le_bytes());
        self.envelope.encode(out).map_err(|_| Malformed("head length"))
    }
}

impl From<PeerMessage> for Outgoing {
    fn from(message: PeerMessage) -> Self {
        use proto::envelope::Message as Kind;
        let mut payload = Vec::new();
        let message = match message {
            PeerMessage::Consensus(message) => Kind::Consensus(consensus::encode(*message, &mut payload)),
            PeerMessage::Forward(Forward { ticket, request }) => {
                payload.push(request);
                Kind::Forward(proto::Forward { ticket })
            }
            PeerMessage::Refused(reason) => {
                Kind::Refused(proto::Refused { reason: hello::encode_refusal(reason).into() })
            }
            PeerMessage::ForwardRefused(ForwardRefused { ticket, reason }) => {
                let reason = match reason {
                    ForwardRefusal::NotLeader => proto::ForwardRefusal::NotLeader,
                    ForwardRefusal::Overloaded => proto::ForwardRefusal::Overloaded,
                    ForwardRefusal::DiskFull => proto::ForwardRefusal::DiskFull,
                };
                Kind::ForwardRefused(proto::ForwardRefused { ticket, reason: reason.into() })
            }
            PeerMessage::Introduction(introduction) => {
                Kind::Introduction(introduction::encode(*introduction))
            }
            PeerMessage::Join(join) => Kind::Join(introduction::encode_join(join)),
            PeerMessage::LeaveQuestion { raft_id, ticket } => {
                Kind::LeaveQuestion(proto::LeaveQuestion { raft_id: raft_id.0, ticket })
            }
            PeerMessage::LeaveAnswer { ticket, allowed } => {
                Kind::LeaveAnswer(proto::LeaveAnswer { ticket, allowed })
            }
            PeerMessage::SnapshotOffer(offer) => Kind::SnapshotOffer(snapshot::encode_offer(offer)),
            PeerMessage::SnapshotAnswer(answer) => Kind::SnapshotAnswer(snapshot::encode_answer(answer)),
            PeerMessage::SnapshotPiece(piece) => {
                Kind::SnapshotPiece(snapshot::encode_piece(piece, &mut payload))
            }
            PeerMessage::Outside(outside) => Kind::Outside(membership::encode_outside(*outside)),
            PeerMessage::Members(said) => Kind::Members(membership::encode_members(*said)),
            PeerMessage::Operate(operate) => Kind::Operate(membership::encode_operate(*operate)),
            PeerMessage::OperateAnswer(answer) => Kind::OperateAnswer(membership::encode_answer(*answer)),
            PeerMessage::Report(said) => Kind::Report(report::encode(*said)),
        };
        Outgoing { envelope: proto::Envelope { message: Some(message) }, payload }
    }
}

/// Reads the body of a frame. What is opaque shares the body's buffer.
///
/// # Errors
/// [`Malformed`] when it is not exactly one message: close the connection.
pub(crate) fn decode(mut body: Bytes) -> Result<PeerMessage, Malformed> {
    let head_bytes = body.try_get_u32_le().map_err(|_| Malformed("head length"))? as usize;
    if head_bytes > HEAD_BYTES_MAX.min(body.len()) {
        return Err(Malformed("head length"));
    }
    let head = body.split_to(head_bytes);
    let envelope = proto::Envelope::decode(head).map_err(|_| Malformed("envelope"))?;
    let mut payload = Payload::new(body);
    let message = message(envelope, &mut payload)?;
    payload.finish()?;
    Ok(message)
}

fn message(envelope: proto::Envelope, payload: &mut Payload) -> Result<PeerMessage, Malformed> {
    use proto::envelope::Message as Kind;
    Ok(match envelope.message.ok_or(Malformed("message kind"))? {
        Kind::Consensus(message) => PeerMessage::Consensus(Box::new(consensus::decode(message, payload)?)),
        Kind::Forward(proto::Forward { ticket }) => {
            PeerMessage::Forward(Forward { ticket, request: payload.take_rest() })
        }
        Kind::Refused(proto::Refused { reason }) => PeerMessage::Refused(hello::decode_refusal(reason)?),
        Kind::ForwardRefused(proto::ForwardRefused { ticket, reason }) => {
            let reason = match proto::ForwardRefusal::try_from(reason) {
                Ok(proto::ForwardRefusal::NotLeader) => ForwardRefusal::NotLeader,
                Ok(proto::ForwardRefusal::Overloaded) => ForwardRefusal::Overloaded,
                Ok(proto::ForwardRefusal::DiskFull) => ForwardRefusal::DiskFull,
                Ok(proto::ForwardRefusal::Unknown) | Err(_) => return Err(Malformed("refusal of a forward")),
            };
            PeerMessage::ForwardRefused(ForwardRefused { ticket, reason })
        }
        Kind::Introduction(introduction) => {
            PeerMessage::Introduction(Box::new(introduction::decode(introduction)?))
        }
        Kind::Join(join) => PeerMessage::Join(introduction::decode_join(join)?),
        Kind::LeaveQuestion(proto::LeaveQuestion { raft_id, ticket }) => {
            PeerMessage::LeaveQuestion { raft_id: names::raft_id(raft_id)?, ticket }
        }
        Kind::LeaveAnswer(proto::LeaveAnswer { ticket, allowed }) => {
            PeerMessage::LeaveAnswer { ticket, allowed }
        }
        Kind::SnapshotOffer(offer) => PeerMessage::SnapshotOffer(snapshot::decode_offer(offer)?),
        Kind::SnapshotAnswer(answer) => PeerMessage::SnapshotAnswer(snapshot::decode_answer(answer)?),
        Kind::SnapshotPiece(piece) => PeerMessage::SnapshotPiece(snapshot::decode_piece(piece, payload)?),
        Kind::Outside(outside) => PeerMessage::Outside(Box::new(membership::decode_outside(outside)?)),
        Kind::Members(said) => PeerMessage::Members(Box::new(membership::decode_members(said)?)),
        Kind::Operate(operate) => PeerMessage::Operate(Box::new(membership::decode_operate(operate)?)),
        Kind::OperateAnswer(answer) => {
            PeerMessage::OperateAnswer(Box::new(membership::decode_answer(answer)?))
        }
        Kind::Report(said) => PeerMessage::Report(Box::new(report::decode(said)?)),
    })
}

#[cfg(test)]
mod tests;
