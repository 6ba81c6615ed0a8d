//! Nodes, messages and memberships in words.

use boat_core::log::LogWrite;
use boat_core::replica::RequestId;
use boat_core::transport::{ConsensusKind, ConsensusMessage, ForwardRefusal, PeerMessage, Verdict};
use boat_core::{Membership, NodeId, Origin, RaftId, Request};

use super::disk::Disk;
use super::node::Node;

/// A node's state.
pub(crate) fn node(node: &Node, disk: &Disk) -> String {
    let Node { own, replica, applier, .. } = node;
    let leader = replica.leader().map_or("nobody".to_owned(), |leader| leader.to_string());
    let seen = applier.digest().0 as u32;
    let blocked = replica.blocked().map_or(String::new(), |(position, nodes)| {
        let nodes: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
        format!(", cannot quarantine position {position} without {}", nodes.join(" "))
    });
    format!(
        "{}: term {}, leader {leader}, log {}-{}, commit {}, position {}, digest {seen:08x}{blocked}",
        id(own.raft_id),
        replica.term(),
        disk.start_index() + 1,
        replica.last_index(),
        replica.commit(),
        applier.position(),
    )
}

/// What one write brings to the disk.
pub(crate) fn write(write: &LogWrite) -> String {
    let snapshot = write.start.map(|start| format!("the log behind entry {}", start.index));
    let membership = write.membership.as_ref().map(|membership| format!("membership {}", membership.index));
    let entries = match write.entries.as_slice() {
        [] => None,
        [one] => Some(format!("entry {}", one.index)),
        [first, .., last] => Some(format!("entries {}-{}", first.index, last.index)),
    };
    let hard_state = write.hard_state.map(|state| format!("term {} and commit {}", state.term, state.commit));
    [snapshot, membership, entries, hard_state].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// An incarnation: the node, and behind a quote which one it is, from the second on.
pub(crate) fn id(id: RaftId) -> String {
    let (node, incarnation) = (id.node(), id.0 & 0xffff_ffff_ffff);
    if incarnation == 1 { node.to_string() } else { format!("{node}'{incarnation}") }
}

fn ids(all: &[RaftId]) -> String {
    all.iter().map(|one| id(*one)).collect::<Vec<_>>().join(" ")
}

/// Who takes part.
pub(crate) fn membership(membership: &Membership) -> String {
    let Membership { index, voters, learners, voters_outgoing, learners_next, .. } = membership;
    let mut said = format!("membership {index}: voters {}", ids(voters));
    for (what, listed) in
        [("leaving", voters_outgoing), ("learners", learners), ("learners to be", learners_next)]
    {
        if !listed.is_empty() {
            said += &format!(", {what} {}", ids(listed));
        }
    }
    let elsewhere = |member: &&boat_core::Member| !member.address.starts_with("host-");
    for member in membership.members.values().filter(elsewhere) {
        said += &format!(", {} at {}", id(member.raft_id), member.address);
    }
    said
}

/// The name that the scenario gave a request.
pub(crate) fn name(request: &RequestId) -> String {
    match request {
        RequestId::Key(key, _) => String::from_utf8_lossy(key).into_owned(),
        other => format!("{other:?}"),
    }
}

/// What a message says; `None` for what is said again and again.
pub(crate) fn message(message: &PeerMessage) -> Option<String> {
    Some(match message {
        PeerMessage::Consensus(message) => return consensus(message),
        PeerMessage::Forward(forward) => {
            let request = Request::decode(&forward.request).unwrap();
            match request.origin {
                Origin::Key(key) => format!("forwards {}", String::from_utf8_lossy(&key)),
                other => format!("forwards {other:?}"),
            }
        }
        PeerMessage::Refused(reason) => format!("refused: {reason}"),
        PeerMessage::ForwardRefused(refused) => match refused.reason {
            ForwardRefusal::NotLeader => "does not lead".to_owned(),
            ForwardRefusal::Overloaded => "is overloaded".to_owned(),
            ForwardRefusal::DiskFull => "has a full disk".to_owned(),
        },
        PeerMessage::Outside(outside) => {
            let for_good = if outside.removed.is_some() { ", for good" } else { "" };
            format!("says that {} is outside of membership {}{for_good}", id(outside.raft_id), outside.index)
        }
        PeerMessage::Members(said) => format!("says where the members are as of {}", said.index),
        PeerMessage::Operate(operate) => format!("asks to {}", operate.operation),
        PeerMessage::OperateAnswer(answer) => match &answer.verdict {
            Verdict::Done { index } => format!("says that it is done as of {index}"),
            Verdict::Refused(refusal) => format!("refuses: {refusal}"),
            Verdict::Undecided => return None,
        },
        PeerMessage::LeaveQuestion { .. } => "asks whether it may leave".to_owned(),
        PeerMessage::LeaveAnswer { allowed: true, .. } => "says yes".to_owned(),
        PeerMessage::LeaveAnswer { allowed: false, .. } => "says no".to_owned(),
        PeerMessage::SnapshotOffer(offer) => format!("offers snapshot {}", offer.snapshot.index),
        PeerMessage::SnapshotAnswer(answer) => match answer.offset {
            Some(offset) => format!("wants snapshot {} from byte {offset} on", answer.snapshot.index),
            None => format!("cannot take snapshot {}", answer.snapshot.index),
        },
        PeerMessage::SnapshotPiece(piece) => {
            let (from, to) = (piece.offset, piece.offset + piece.bytes.len() as u64);
            format!("sends bytes {from}-{to} of snapshot {}", piece.snapshot.index)
        }
        PeerMessage::Introduction(said) if said.asks => "looks for its cluster".to_owned(),
        PeerMessage::Introduction(_) => "says which cluster it is in".to_owned(),
        // Everybody joins and reports again and again.
        PeerMessage::Join(_) | PeerMessage::Report(_) => return None,
    })
}

fn consensus(message: &ConsensusMessage) -> Option<String> {
    let ConsensusMessage { kind, term, index, entries, reject, .. } = message;
    let verdict = if *reject { "no" } else { "yes" };
    Some(match kind {
        ConsensusKind::RequestPreVote => {
            format!("would it get a vote in term {term}, with log up to {index}?")
        }
        ConsensusKind::RequestPreVoteResponse if *reject => "no, it would not".to_owned(),
        ConsensusKind::RequestPreVoteResponse => "yes, it would".to_owned(),
        ConsensusKind::RequestVote => format!("asks for the vote in term {term}, with log up to {index}"),
        ConsensusKind::RequestVoteResponse => format!("{verdict}, the vote in term {term}"),
        ConsensusKind::Append => match entries.as_slice() {
            [] => return None,
            [one] => format!("entry {} of term {}", one.index, one.term),
            [first, .., last] => format!("entries {}-{} up to term {}", first.index, last.index, last.term),
        },
        ConsensusKind::AppendResponse if *reject => {
            format!("does not have entry {index}, but perhaps {}", message.reject_hint)
        }
        ConsensusKind::TimeoutNow => "hands over: campaign at once".to_owned(),
        ConsensusKind::TransferLeader => "asks to hand over".to_owned(),
        ConsensusKind::ReadIndex => "asks what a read must see".to_owned(),
        ConsensusKind::ReadIndexResponse => format!("says that a read must see {index}"),
        ConsensusKind::AppendResponse | ConsensusKind::Heartbeat | ConsensusKind::HeartbeatResponse => {
            return None;
        }
    })
}
