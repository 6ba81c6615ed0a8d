//! Between Raft's own structs and Boat's, and what a peer may say.
//!
//! Raft's structs are built on rust-protobuf 2, which must never parse a byte from outside (RUSTSEC-2024-0437): they are
//! only ever filled field by field, here.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::RaftId;
use crate::log::{EntryKind, LogEntry};
use crate::transport::{ConsensusKind, ConsensusMessage};

/// A membership change carries Boat's own encoding in Raft's `context`; Raft's `data` is filled for the leader's own check
/// when it is proposed, and not kept. Raft counts its bytes then, and not back when the change is committed.
pub(super) fn entry_to_log(entry: &Entry) -> LogEntry {
    let (kind, data) = match entry.get_entry_type() {
        EntryType::EntryNormal => (EntryKind::Normal, entry.data.clone()),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
            (EntryKind::MembershipChange, entry.context.clone())
        }
    };
    LogEntry { index: entry.index, term: entry.term, kind, data }
}

pub(super) fn entry_of_log(entry: &LogEntry) -> Entry {
    let mut raft = Entry { index: entry.index, term: entry.term, ..Entry::default() };
    match entry.kind {
        EntryKind::Normal => raft.data = entry.data.clone(),
        EntryKind::MembershipChange => {
            raft.set_entry_type(EntryType::EntryConfChangeV2);
            raft.context = entry.data.clone();
        }
    }
    raft
}

const KINDS: [(MessageType, ConsensusKind); 12] = [
    (MessageType::MsgAppend, ConsensusKind::Append),
    (MessageType::MsgAppendResponse, ConsensusKind::AppendResponse),
    (MessageType::MsgRequestVote, ConsensusKind::RequestVote),
    (MessageType::MsgRequestVoteResponse, ConsensusKind::RequestVoteResponse),
    (MessageType::MsgHeartbeat, ConsensusKind::Heartbeat),
    (MessageType::MsgHeartbeatResponse, ConsensusKind::HeartbeatResponse),
    (MessageType::MsgTimeoutNow, ConsensusKind::TimeoutNow),
    (MessageType::MsgTransferLeader, ConsensusKind::TransferLeader),
    (MessageType::MsgReadIndex, ConsensusKind::ReadIndex),
    (MessageType::MsgReadIndexResp, ConsensusKind::ReadIndexResponse),
    (MessageType::MsgRequestPreVote, ConsensusKind::RequestPreVote),
    (MessageType::MsgRequestPreVoteResponse, ConsensusKind::RequestPreVoteResponse),
];

/// Raft's message as peers get it; `None` for kinds that peers do not send (snapshots: the whole log is kept).
pub(super) fn to_peer(mut message: Message) -> Option<ConsensusMessage> {
    let kind = message.get_msg_type();
    let (_, kind) = KINDS.iter().find(|(raft, _)| *raft == kind)?;
    Some(ConsensusMessage {
        kind: *kind,
        to: RaftId(message.to),
        from: RaftId(message.from),
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().iter().map(entry_to_log).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.take_context(),
        priority: message.priority,
    })
}

/// A peer's message as Raft gets it.
pub(super) fn of_peer(message: ConsensusMessage) -> Message {
    let entries = message.entries.iter().map(entry_of_log).collect::<Vec<_>>();
    let mut raft = Message {
        to: message.to.0,
        from: message.from.0,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries.into(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        priority: message.priority,
        ..Message::default()
    };
    let kind = KINDS.iter().find(|(_, kind)| *kind == message.kind);
    raft.set_msg_type(kind.map_or(MessageType::MsgHeartbeat, |(raft, _)| *raft));
    raft
}

/// Far beyond every election that will ever be held: the next term must not overflow.
const TERM_MAX: u64 = u64::MAX / 2;

/// What is wrong with a peer's message: it is dropped, and Raft never sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unsound {
    #[error("it is not from the incarnation that the connection belongs to")]
    From,
    #[error("it is for another incarnation of this node")]
    To,
    #[error("it has no term")]
    Term,
    #[error("its entries are not contiguous, or their terms fall or exceed the message's")]
    Entries,
}

/// Checks that `message` is one that an honest peer sends (raft-rs trusts its caller with all of this).
pub(super) fn check(message: &ConsensusMessage, from: Option<RaftId>, to: RaftId) -> Result<(), Unsound> {
    if from != Some(message.from) {
        return Err(Unsound::From);
    }
    if message.to != to {
        return Err(Unsound::To);
    }
    // Raft takes term 0 for a message of its own; this is the kind it sends without a term.
    let has_no_term = message.kind == ConsensusKind::ReadIndex;
    if (message.term == 0) != has_no_term {
        return Err(Unsound::Term);
    }
    if message.term > TERM_MAX {
        return Err(Unsound::Term);
    }
    let sound = match message.kind {
        // Raft takes the term of an entry that it does not have for 0: only the place before the first entry has that.
        ConsensusKind::Append if (message.index == 0) != (message.log_term == 0) => false,
        ConsensusKind::Append => {
            let mut term = message.log_term;
            message.entries.iter().zip(1_u64..).all(|(entry, offset)| {
                let rises = entry.term >= term && entry.term <= message.term;
                term = entry.term;
                rises && message.index.checked_add(offset) == Some(entry.index)
            })
        }
        ConsensusKind::ReadIndex | ConsensusKind::ReadIndexResponse => message.entries.len() == 1,
        _ => message.entries.is_empty(),
    };
    if sound { Ok(()) } else { Err(Unsound::Entries) }
}

/// A proposal of one command. (Raft's own `propose` would copy it.)
pub(super) fn proposal(from: RaftId, data: Bytes) -> Message {
    let entry = Entry { data, ..Entry::default() };
    let mut message = Message { from: from.0, ..Message::default() };
    message.set_msg_type(MessageType::MsgPropose);
    message.set_entries(vec![entry].into());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append() -> ConsensusMessage {
        let entry = |index| LogEntry { index, term: 2, kind: EntryKind::Normal, data: Bytes::new() };
        ConsensusMessage {
            log_term: 1,
            index: 4,
            entries: vec![entry(5), entry(6)],
            commit: 4,
            ..ConsensusMessage::bare(ConsensusKind::Append, RaftId(2), RaftId(1), 2)
        }
    }

    #[test]
    fn every_kind_goes_to_raft_and_back() {
        for (_, kind) in KINDS {
            let message = ConsensusMessage { kind, ..append() };
            assert_eq!(to_peer(of_peer(message.clone())), Some(message));
        }
    }

    #[test]
    fn what_an_honest_peer_does_not_send_is_unsound() {
        let check = |message: &ConsensusMessage| check(message, Some(RaftId(2)), RaftId(1));
        assert_eq!(check(&append()), Ok(()));
        assert_eq!(check(&ConsensusMessage { from: RaftId(3), ..append() }), Err(Unsound::From));
        assert_eq!(check(&ConsensusMessage { to: RaftId(3), ..append() }), Err(Unsound::To));
        assert_eq!(check(&ConsensusMessage { term: 0, ..append() }), Err(Unsound::Term));
        assert_eq!(check(&ConsensusMessage { index: 5, ..append() }), Err(Unsound::Entries));
        assert_eq!(check(&ConsensusMessage { index: u64::MAX, ..append() }), Err(Unsound::Entries));
        assert_eq!(check(&ConsensusMessage { log_term: 3, ..append() }), Err(Unsound::Entries));
        assert_eq!(check(&ConsensusMessage { log_term: 0, ..append() }), Err(Unsound::Entries));
        assert_eq!(check(&ConsensusMessage { term: u64::MAX, ..append() }), Err(Unsound::Term));
        let heartbeat = ConsensusMessage { kind: ConsensusKind::Heartbeat, ..append() };
        assert_eq!(check(&heartbeat), Err(Unsound::Entries));
    }
}
