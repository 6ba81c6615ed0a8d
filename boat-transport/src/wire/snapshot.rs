//! Snapshots on their way from one node to another. The bytes of a piece are the payload.

use boat_core::transport::{SnapshotAnswer, SnapshotName, SnapshotOffer, SnapshotPiece};
use bytes::Bytes;

use super::payload::Payload;
use super::{Malformed, names, proto};

fn encode_name(name: SnapshotName) -> proto::SnapshotName {
    let SnapshotName { index, term, bytes, checksum } = name;
    proto::SnapshotName { index, term, bytes, checksum }
}

fn decode_name(name: Option<proto::SnapshotName>) -> Result<SnapshotName, Malformed> {
    let proto::SnapshotName { index, term, bytes, checksum } = name.ok_or(Malformed("snapshot name"))?;
    Ok(SnapshotName { index, term, bytes, checksum })
}

pub(super) fn encode_offer(offer: SnapshotOffer) -> proto::SnapshotOffer {
    let snapshot = Some(encode_name(offer.snapshot));
    proto::SnapshotOffer { to: offer.to.0, from: offer.from.0, term: offer.term, snapshot }
}

pub(super) fn decode_offer(offer: proto::SnapshotOffer) -> Result<SnapshotOffer, Malformed> {
    Ok(SnapshotOffer {
        to: names::raft_id(offer.to)?,
        from: names::raft_id(offer.from)?,
        term: offer.term,
        snapshot: decode_name(offer.snapshot)?,
    })
}

pub(super) fn encode_answer(answer: SnapshotAnswer) -> proto::SnapshotAnswer {
    let snapshot = Some(encode_name(answer.snapshot));
    proto::SnapshotAnswer { to: answer.to.0, from: answer.from.0, snapshot, offset: answer.offset }
}

pub(super) fn decode_answer(answer: proto::SnapshotAnswer) -> Result<SnapshotAnswer, Malformed> {
    Ok(SnapshotAnswer {
        to: names::raft_id(answer.to)?,
        from: names::raft_id(answer.from)?,
        snapshot: decode_name(answer.snapshot)?,
        offset: answer.offset,
    })
}

pub(super) fn encode_piece(piece: SnapshotPiece, payload: &mut Vec<Bytes>) -> proto::SnapshotPiece {
    let SnapshotPiece { to, from, snapshot, offset, checksum, bytes } = piece;
    payload.push(bytes);
    let snapshot = Some(encode_name(snapshot));
    proto::SnapshotPiece { to: to.0, from: from.0, snapshot, offset, checksum }
}

pub(super) fn decode_piece(
    piece: proto::SnapshotPiece,
    payload: &mut Payload,
) -> Result<SnapshotPiece, Malformed> {
    Ok(SnapshotPiece {
        to: names::raft_id(piece.to)?,
        from: names::raft_id(piece.from)?,
        snapshot: decode_name(piece.snapshot)?,
        offset: piece.offset,
        checksum: piece.checksum,
        bytes: payload.take_rest(),
    })
}
