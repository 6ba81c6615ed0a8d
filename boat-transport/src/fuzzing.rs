//! What peers send, under attack: see [`boat_core::fuzzing`]. For Boat's own proof, and no part of this crate's interface.

use boat_core::fuzzing::{Broken, Read, Target, Verdict, round_trip};
use boat_core::log::{EntryKind, LogEntry};
use boat_core::transport::{
    Ailments, Checkpoint, ConsensusKind, ConsensusMessage, Forward, Hello, Hold, Introduction, Join, LogEnd,
    Members, Operate, Outside, PeerMessage, Refusal, Report, SnapshotName, SnapshotPiece,
};
use boat_core::{
    Birth, ClusterId, Genesis, Member, MemberList, MembershipOperation, NodeId, OperationToken, RaftId,
};
use bytes::{Buf, Bytes, BytesMut};

use crate::frame;
use crate::gather::Gather;
use crate::handshake::{self, GreetingReader};
use crate::wire::{self, Answer, Malformed, Opening, Outgoing};

/// The longest body that frames may have here.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The decoders of this crate.
pub fn targets() -> Vec<Target> {
    vec![
        Target { name: "frames", run: frames, samples: frame_streams },
        Target { name: "greeting", run: greeting, samples: greetings },
        Target { name: "opening", run: opening, samples: openings },
        Target { name: "answer", run: answer, samples: answers },
        Target { name: "peer_message", run: peer_message, samples: peer_messages },
    ]
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Gather::default();
    // Inputs are no longer than what a frame takes; a longer one stays out.
    let _ = frame::encode(&mut out, body, Vec::new(), BODY_BYTES_MAX);
    out.seal();
    out.copy_to_bytes(out.remaining()).to_vec()
}

/// Frames one after the other, up to the first that is none; and the input as the body of one.
fn frames(input: &[u8]) -> Verdict {
    let mut source = BytesMut::from(input);
    let mut taken = 0;
    let read = loop {
        match frame::decode(&mut source, BODY_BYTES_MAX) {
            Ok(Some(body)) => taken += framed(&body).len(),
            Ok(None) => break Read::Whole,
            Err(_) => break Read::Refused,
        }
    };
    if taken + source.len() != input.len() {
        return Err(Broken(format!(
            "{taken} bytes of {} were taken, {} are left",
            input.len(),
            source.len()
        )));
    }
    let body = input.get(..BODY_BYTES_MAX).unwrap_or(input);
    let again = frame::decode(&mut BytesMut::from(&framed(body)[..]), BODY_BYTES_MAX);
    match again {
        Ok(Some(again)) if again == body => Ok(read),
        other => Err(Broken(format!("{body:02x?} was framed, and read as {other:?}"))),
    }
}

fn frame_streams() -> Vec<Vec<u8>> {
    vec![[framed(b"a body"), framed(b""), framed(&[7; 300])].concat()]
}

/// The first bytes of a connection, and what they carry.
fn greeting(input: &[u8]) -> Verdict {
    let mut source = BytesMut::from(input);
    match GreetingReader::default().read(&mut source) {
        Ok(Some(body)) if body.len() > handshake::GREETING_BYTES_MAX => {
            Err(Broken(format!("a greeting of {} bytes was taken", body.len())))
        }
        Ok(Some(body)) => Ok(if Opening::decode(body.clone()).is_ok() || Answer::decode(body).is_ok() {
            Read::Whole
        } else {
            Read::Refused
        }),
        Ok(None) | Err(_) => Ok(Read::Refused),
    }
}

fn greetings() -> Vec<Vec<u8>> {
    let answers = [Answer::Hello(hello()), Answer::Refusal(Refusal::StaleDirectory)];
    answers.iter().filter_map(|answer| handshake::answer(answer).ok()).map(|bytes| bytes.to_vec()).collect()
}

fn opening(input: &[u8]) -> Verdict {
    round_trip(Opening::decode(Bytes::copy_from_slice(input)), |opening| {
        Opening::decode(opening.encode().into())
    })
}

fn openings() -> Vec<Vec<u8>> {
    vec![Opening { hello: hello(), to: NodeId(1) }.encode()]
}

fn answer(input: &[u8]) -> Verdict {
    round_trip(Answer::decode(Bytes::copy_from_slice(input)), |answer| Answer::decode(answer.encode().into()))
}

fn answers() -> Vec<Vec<u8>> {
    vec![Answer::Hello(hello()).encode(), Answer::Refusal(Refusal::OtherCluster).encode()]
}

fn peer_message(input: &[u8]) -> Verdict {
    round_trip(wire::decode(Bytes::copy_from_slice(input)), |message| {
        wire::decode(body_of(message.clone())?.into())
    })
}

fn body_of(message: PeerMessage) -> Result<Vec<u8>, Malformed> {
    let outgoing = Outgoing::from(message);
    let mut body = Vec::new();
    outgoing.write_head(&mut body)?;
    outgoing.payload.iter().for_each(|part| body.extend_from_slice(part));
    Ok(body)
}

fn own() -> RaftId {
    RaftId::new(NodeId(0), 9)
}

fn hello() -> Hello {
    let (cluster, raft_id) = (Some(ClusterId(7)), Some(own()));
    let log = Some(LogEnd { term: 2, last_index: 300 });
    Hello { node: NodeId(0), cluster, raft_id, birth: Birth(5), boot: 3, nonce: 11, log }
}

fn append() -> ConsensusMessage {
    let entry = |index, kind, data: &'static [u8]| LogEntry { index, term: 2, kind, data: data.into() };
    ConsensusMessage {
        kind: ConsensusKind::Append,
        to: RaftId::new(NodeId(1), 9),
        from: own(),
        term: 2,
        log_term: 1,
        index: 4,
        entries: vec![entry(5, EntryKind::Normal, b"five"), entry(6, EntryKind::MembershipChange, b"")],
        commit: 4,
        commit_term: 1,
        reject: false,
        reject_hint: 0,
        context: Bytes::from_static(b"context"),
        priority: -1,
    }
}

fn introduction() -> Introduction {
    let member = Member { raft_id: own(), birth: Birth(5), address: "host-0:8000".to_owned() };
    let genesis = Genesis {
        cluster: ClusterId(7),
        former: vec![ClusterId(6)],
        members: vec![member],
        limits: boat_core::apply::SessionLimits::default(),
    };
    let members = MemberList::new([(NodeId(0), "host-0:8000".to_owned())]).unwrap_or_default();
    Introduction { birth: Birth(5), members, genesis: Some(genesis), asks: true }
}

fn report() -> Report {
    Report {
        ailments: Ailments::from_bits(3).unwrap_or_default(),
        position: 9,
        passed: 9,
        decided_index: 4,
        checkpoints: vec![Checkpoint { position: 8, ..Checkpoint::default() }],
        holds: vec![Hold { position: 10, round: 1, crashed: true }],
        asks: Some((10, 1)),
        forces: Some(3),
    }
}

fn peer_messages() -> Vec<Vec<u8>> {
    let (node, address) = (NodeId(3), "host-3:8000".to_owned());
    let operate = Operate {
        ticket: 1,
        term: 2,
        token: OperationToken(3),
        operation: MembershipOperation::Add { node, address: address.clone() },
    };
    let members = vec![(node, address.clone())];
    let said = Members { index: 9, members: members.clone() };
    let place_held_at = Some(address.clone());
    let outside = Outside { raft_id: own(), index: 9, place_held_at, members, removed: Some(2) };
    let bytes = Bytes::from_static(b"a piece");
    let snapshot = SnapshotName { index: 9, term: 2, bytes: 100, checksum: 5 };
    let piece = SnapshotPiece { to: own(), from: own(), snapshot, offset: 3, checksum: 1, bytes };
    let messages = [
        PeerMessage::Consensus(Box::new(append())),
        PeerMessage::Forward(Forward { ticket: 4, request: Bytes::from_static(b"a request") }),
        PeerMessage::Introduction(Box::new(introduction())),
        PeerMessage::Join(Join { raft_id: own(), birth: Birth(5), address }),
        PeerMessage::Outside(Box::new(outside)),
        PeerMessage::Members(Box::new(said)),
        PeerMessage::Operate(Box::new(operate)),
        PeerMessage::LeaveAnswer { ticket: 4, allowed: true },
        PeerMessage::SnapshotPiece(piece),
        PeerMessage::Report(Box::new(report())),
    ];
    messages.into_iter().filter_map(|message| body_of(message).ok()).collect()
}
