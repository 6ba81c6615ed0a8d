//! Consensus messages and the entries they carry.

use boat_core::log::{EntryKind, LogEntry};
use boat_core::transport::{ConsensusKind, ConsensusMessage};
use bytes::Bytes;

use super::payload::Payload;
use super::{Malformed, names, proto};

/// The entries' data goes to the end of `payload`, in order.
pub(super) fn encode(message: ConsensusMessage, payload: &mut Vec<Bytes>) -> proto::Consensus {
    let entry = |entry: LogEntry| {
        let head = encode_entry_head(&entry);
        payload.push(entry.data);
        head
    };
    proto::Consensus {
        kind: encode_kind(message.kind).into(),
        to: message.to.0,
        from: message.from.0,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.into_iter().map(entry).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
    }
}

/// Takes the entries' data off `payload`, in order.
pub(super) fn decode(
    message: proto::Consensus,
    payload: &mut Payload,
) -> Result<ConsensusMessage, Malformed> {
    let kind = decode_kind(message.kind)?;
    let entries = message.entries.into_iter().map(|entry| decode_entry(entry, payload));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    if kind == ConsensusKind::Append && !are_contiguous(message.index, &entries) {
        return Err(Malformed("append: its entries are not contiguous"));
    }
    Ok(ConsensusMessage {
        kind,
        to: names::raft_id(message.to)?,
        from: names::raft_id(message.from)?,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
    })
}

/// Whether `entries` follow each other and the entry at `index`.
fn are_contiguous(index: u64, entries: &[LogEntry]) -> bool {
    let mut last = Some(index);
    entries.iter().all(|entry| {
        last = last.and_then(|index| index.checked_add(1));
        last == Some(entry.index)
    })
}

fn encode_entry_head(entry: &LogEntry) -> proto::Entry {
    let kind = match entry.kind {
        EntryKind::Normal => proto::EntryKind::Normal,
        EntryKind::MembershipChange => proto::EntryKind::MembershipChange,
    };
    proto::Entry {
        index: entry.index,
        term: entry.term,
        kind: kind.into(),
        data_bytes: entry.data.len() as u64,
    }
}

fn decode_entry(entry: proto::Entry, payload: &mut Payload) -> Result<LogEntry, Malformed> {
    let kind = match proto::EntryKind::try_from(entry.kind) {
        Ok(proto::EntryKind::Normal) => EntryKind::Normal,
        Ok(proto::EntryKind::MembershipChange) => EntryKind::MembershipChange,
        Ok(proto::EntryKind::Unspecified) | Err(_) => return Err(Malformed("entry kind")),
    };
    Ok(LogEntry { index: entry.index, term: entry.term, kind, data: payload.take(entry.data_bytes)? })
}

fn encode_kind(kind: ConsensusKind) -> proto::ConsensusKind {
    match kind {
        ConsensusKind::Append => proto::ConsensusKind::Append,
        ConsensusKind::AppendResponse => proto::ConsensusKind::AppendResponse,
        ConsensusKind::RequestVote => proto::ConsensusKind::RequestVote,
        ConsensusKind::RequestVoteResponse => proto::ConsensusKind::RequestVoteResponse,
        ConsensusKind::Heartbeat => proto::ConsensusKind::Heartbeat,
        ConsensusKind::HeartbeatResponse => proto::ConsensusKind::HeartbeatResponse,
        ConsensusKind::TimeoutNow => proto::ConsensusKind::TimeoutNow,
        ConsensusKind::TransferLeader => proto::ConsensusKind::TransferLeader,
        ConsensusKind::ReadIndex => proto::ConsensusKind::ReadIndex,
        ConsensusKind::ReadIndexResponse => proto::ConsensusKind::ReadIndexResponse,
        ConsensusKind::RequestPreVote => proto::ConsensusKind::RequestPreVote,
        ConsensusKind::RequestPreVoteResponse => proto::ConsensusKind::RequestPreVoteResponse,
    }
}

fn decode_kind(number: i32) -> Result<ConsensusKind, Malformed> {
    let malformed = Malformed("consensus kind");
    Ok(match proto::ConsensusKind::try_from(number).map_err(|_| malformed)? {
        proto::ConsensusKind::Unspecified => return Err(malformed),
        proto::ConsensusKind::Append => ConsensusKind::Append,
        proto::ConsensusKind::AppendResponse => ConsensusKind::AppendResponse,
        proto::ConsensusKind::RequestVote => ConsensusKind::RequestVote,
        proto::ConsensusKind::RequestVoteResponse => ConsensusKind::RequestVoteResponse,
        proto::ConsensusKind::Heartbeat => ConsensusKind::Heartbeat,
        proto::ConsensusKind::HeartbeatResponse => ConsensusKind::HeartbeatResponse,
        proto::ConsensusKind::TimeoutNow => ConsensusKind::TimeoutNow,
        proto::ConsensusKind::TransferLeader => ConsensusKind::TransferLeader,
        proto::ConsensusKind::ReadIndex => ConsensusKind::ReadIndex,
        proto::ConsensusKind::ReadIndexResponse => ConsensusKind::ReadIndexResponse,
        proto::ConsensusKind::RequestPreVote => ConsensusKind::RequestPreVote,
        proto::ConsensusKind::RequestPreVoteResponse => ConsensusKind::RequestPreVoteResponse,
    })
}
