use boat_core::apply::SessionLimits;
use boat_core::digest::Digest;
use boat_core::log::{EntryKind, LogEntry};
use boat_core::transport::{
    Ailments, CHECKPOINTS_MAX, Checkpoint, ConsensusKind, ConsensusMessage, HOLDS_MAX, Hello, Hold,
    Introduction, Join, LogEnd, Members, Operate, OperateAnswer, Outside, Refusal, Report, SnapshotAnswer,
    SnapshotName, SnapshotOffer, SnapshotPiece, Verdict,
};
use boat_core::{
    Birth, ClusterId, Genesis, Member, MemberList, MembershipOperation, MembershipRefusal, NodeId,
    OperationToken, RaftId,
};
use proptest::prelude::*;

use super::*;

const KINDS: [ConsensusKind; 12] = [
    ConsensusKind::Append,
    ConsensusKind::AppendResponse,
    ConsensusKind::RequestVote,
    ConsensusKind::RequestVoteResponse,
    ConsensusKind::Heartbeat,
    ConsensusKind::HeartbeatResponse,
    ConsensusKind::TimeoutNow,
    ConsensusKind::TransferLeader,
    ConsensusKind::ReadIndex,
    ConsensusKind::ReadIndexResponse,
    ConsensusKind::RequestPreVote,
    ConsensusKind::RequestPreVoteResponse,
];

const REFUSALS: [Refusal; 5] = [
    Refusal::OtherCluster,
    Refusal::WrongNode,
    Refusal::StaleDirectory,
    Refusal::Superseded,
    Refusal::Version,
];

fn body(message: PeerMessage) -> Vec<u8> {
    let outgoing = Outgoing::from(message);
    let mut body = Vec::new();
    outgoing.write_head(&mut body).unwrap();
    outgoing.payload.iter().for_each(|part| body.extend_from_slice(part));
    body
}

/// The body of a frame around any head, for heads that no sender writes.
fn body_of(head: &proto::Envelope, payload: &[u8]) -> Bytes {
    let head = head.encode_to_vec();
    Bytes::from([&(head.len() as u32).to_le_bytes(), &head[..], payload].concat())
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn raft_id() -> impl Strategy<Value = RaftId> {
    (any::<u16>(), any::<u64>()).prop_map(|(node, random)| RaftId::new(NodeId(node), random))
}

fn birth() -> impl Strategy<Value = Birth> {
    any::<u128>().prop_map(Birth)
}

fn entries(after: u64) -> impl Strategy<Value = Vec<LogEntry>> {
    let kind = prop::sample::select(vec![EntryKind::Normal, EntryKind::MembershipChange]);
    prop::collection::vec((any::<u64>(), kind, bytes()), 0..5).prop_map(move |entries| {
        let indexed = entries.into_iter().zip(after + 1..);
        indexed.map(|((term, kind, data), index)| LogEntry { index, term, kind, data }).collect()
    })
}

fn consensus() -> impl Strategy<Value = PeerMessage> {
    let index = 0..u64::MAX - 8;
    let place = index.prop_flat_map(|index| (Just(index), entries(index)));
    let who = (prop::sample::select(KINDS.to_vec()), raft_id(), raft_id());
    let numbers = any::<(u64, u64, u64, u64, bool, u64, i64)>();
    (who, place, numbers, bytes()).prop_map(|((kind, to, from), (index, entries), numbers, context)| {
        let (term, log_term, commit, commit_term, reject, reject_hint, priority) = numbers;
        PeerMessage::Consensus(Box::new(ConsensusMessage {
            kind,
            to,
            from,
            term,
            log_term,
            index,
            entries,
            commit,
            commit_term,
            reject,
            reject_hint,
            context,
            priority,
        }))
    })
}

fn member_list() -> impl Strategy<Value = MemberList> {
    let members = prop::collection::btree_map(any::<u16>(), ".{1,8}", 0..4);
    // The number makes each address its own.
    let named = |(node, host): (u16, String)| (NodeId(node), format!("{host}:{node}"));
    members.prop_map(move |members| MemberList::new(members.into_iter().map(named)).unwrap_or_default())
}

fn genesis() -> impl Strategy<Value = Genesis> {
    let member = (raft_id(), birth(), any::<String>());
    let member = member.prop_map(|(raft_id, birth, address)| Member { raft_id, birth, address });
    let limits = any::<(u32, u32, u64, u64, u64)>().prop_map(|limits| SessionLimits {
        sessions_max: limits.0,
        session_outcomes_max: limits.1,
        session_age_ms_max: limits.2,
        key_age_ms: limits.3,
        key_table_bytes_max: limits.4,
    });
    let former = prop::collection::vec(any::<u128>().prop_map(ClusterId), 0..3);
    (any::<u128>(), former, prop::collection::vec(member, 0..4), limits).prop_map(
        |(cluster, former, members, limits)| Genesis { cluster: ClusterId(cluster), former, members, limits },
    )
}

fn introduction() -> impl Strategy<Value = PeerMessage> {
    (birth(), member_list(), prop::option::of(genesis()), any::<bool>()).prop_map(
        |(birth, members, genesis, asks)| {
            PeerMessage::Introduction(Box::new(Introduction { birth, members, genesis, asks }))
        },
    )
}

fn operation() -> impl Strategy<Value = MembershipOperation> {
    use MembershipOperation::{Add, Promote, Remove, Replace, TransferLeader};
    (0..6_u8, any::<u16>(), any::<String>()).prop_map(|(kind, node, address)| {
        let node = NodeId(node);
        match kind {
            0 => Add { node, address },
            1 => Remove { node },
            2 => Replace { node, address },
            3 => Promote { node },
            4 => TransferLeader { to: Some(node) },
            _ => TransferLeader { to: None },
        }
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    use MembershipRefusal as Refused;
    (0..11_u8, any::<u64>(), any::<String>()).prop_map(|(kind, index, address)| match kind {
        0 => Verdict::Done { index },
        1 => Verdict::Undecided,
        2 => Verdict::Refused(Refused::WouldLoseQuorum),
        3 => Verdict::Refused(Refused::ChangeUnderWay),
        4 => Verdict::Refused(Refused::NotAMember),
        5 => Verdict::Refused(Refused::AlreadyMember { address }),
        6 => Verdict::Refused(Refused::NotThere),
        7 => Verdict::Refused(Refused::OtherAddress { address }),
        8 => Verdict::Refused(Refused::NotAVoter),
        9 => Verdict::Refused(Refused::Unreachable),
        _ => Verdict::Refused(Refused::TooManyMembers),
    })
}

/// What is said about changes of the membership.
fn membership() -> impl Strategy<Value = PeerMessage> {
    let members = prop::collection::vec((any::<u16>().prop_map(NodeId), any::<String>()), 0..4);
    let said = (any::<u64>(), members.clone())
        .prop_map(|(index, members)| PeerMessage::Members(Box::new(Members { index, members })));
    let outside = (raft_id(), any::<(u64, Option<u16>)>(), prop::option::of(any::<String>()), members)
        .prop_map(|(raft_id, (index, removed), place_held_at, members)| {
            PeerMessage::Outside(Box::new(Outside { raft_id, index, place_held_at, members, removed }))
        });
    let operate = (any::<(u64, u64, u128)>(), operation()).prop_map(|((ticket, term, token), operation)| {
        let token = OperationToken(token);
        PeerMessage::Operate(Box::new(Operate { ticket, term, token, operation }))
    });
    let answer = (any::<u64>(), verdict()).prop_map(|(ticket, verdict)| {
        PeerMessage::OperateAnswer(Box::new(OperateAnswer { ticket, verdict }))
    });
    prop_oneof![outside, said, operate, answer]
}

fn report() -> impl Strategy<Value = PeerMessage> {
    let checkpoint = any::<(u64, u128)>();
    let checkpoint =
        checkpoint.prop_map(|(position, digest)| Checkpoint { position, digest: Digest(digest) });
    let hold = any::<(u64, u32, bool)>();
    let hold = hold.prop_map(|(position, round, crashed)| Hold { position, round, crashed });
    let numbers = any::<(u64, u64, u64)>();
    let checkpoints = prop::collection::vec(checkpoint, 0..=CHECKPOINTS_MAX);
    let holds = prop::collection::vec(hold, 0..=HOLDS_MAX);
    let wishes = (any::<Option<(u64, u32)>>(), any::<Option<u64>>());
    (0..64_u32, numbers, checkpoints, holds, wishes).prop_map(
        |(bits, numbers, checkpoints, holds, wishes)| {
            let ailments = Ailments::from_bits(bits).unwrap_or_default();
            let (position, passed, decided_index) = numbers;
            let (asks, forces) = wishes;
            let report =
                Report { ailments, position, passed, decided_index, checkpoints, holds, asks, forces };
            PeerMessage::Report(Box::new(report))
        },
    )
}

fn snapshot() -> impl Strategy<Value = PeerMessage> {
    let name = any::<(u64, u64, u64, u32)>();
    let name = name.prop_map(|(index, term, bytes, checksum)| SnapshotName { index, term, bytes, checksum });
    let numbers = any::<(u8, u64, Option<u64>, u32)>();
    (raft_id(), raft_id(), name, numbers, bytes()).prop_map(|(to, from, snapshot, numbers, bytes)| {
        let (kind, number, offset, checksum) = numbers;
        match kind % 3 {
            0 => PeerMessage::SnapshotOffer(SnapshotOffer { to, from, term: number, snapshot }),
            1 => PeerMessage::SnapshotAnswer(SnapshotAnswer { to, from, snapshot, offset }),
            _ => PeerMessage::SnapshotPiece(SnapshotPiece {
                to,
                from,
                snapshot,
                offset: number,
                checksum,
                bytes,
            }),
        }
    })
}

fn any_message() -> impl Strategy<Value = PeerMessage> {
    let join = (raft_id(), birth(), any::<String>())
        .prop_map(|(raft_id, birth, address)| PeerMessage::Join(Join { raft_id, birth, address }));
    let forward = (any::<u64>(), bytes())
        .prop_map(|(ticket, request)| PeerMessage::Forward(Forward { ticket, request }));
    prop_oneof![
        consensus(),
        forward,
        introduction(),
        membership(),
        join,
        (any::<u64>(), 0..3_usize).prop_map(|(ticket, reason)| {
            use ForwardRefusal::{DiskFull, NotLeader, Overloaded};
            let reason = [NotLeader, Overloaded, DiskFull][reason];
            PeerMessage::ForwardRefused(ForwardRefused { ticket, reason })
        }),
        (0..REFUSALS.len()).prop_map(|reason| PeerMessage::Refused(REFUSALS[reason])),
        (raft_id(), any::<u64>())
            .prop_map(|(raft_id, ticket)| PeerMessage::LeaveQuestion { raft_id, ticket }),
        any::<(u64, bool)>().prop_map(|(ticket, allowed)| PeerMessage::LeaveAnswer { ticket, allowed }),
        report(),
        snapshot(),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let raft_random = prop::option::of(any::<u64>());
    let log = any::<Option<(u64, u64)>>();
    (any::<u16>(), prop::option::of(any::<u128>()), raft_random, any::<(u128, u64, u64)>(), log).prop_map(
        |(node, cluster, raft_random, (birth, boot, nonce), log)| Hello {
            node: NodeId(node),
            cluster: cluster.map(ClusterId),
            raft_id: raft_random.map(|random| RaftId::new(NodeId(node), random)),
            birth: Birth(birth),
            boot,
            nonce,
            log: log.map(|(term, last_index)| LogEnd { term, last_index }),
        },
    )
}

proptest! {
    #[test]
    fn every_message_reads_back(message in any_message()) {
        prop_assert_eq!(decode(Bytes::from(body(message.clone()))), Ok(message));
    }

    #[test]
    fn the_handshake_reads_back(hello in hello(), to in any::<u16>()) {
        let opening = Opening { hello: hello.clone(), to: NodeId(to) };
        prop_assert_eq!(Opening::decode(Bytes::from(opening.encode())), Ok(opening));
        let answer = Answer::Hello(hello);
        prop_assert_eq!(Answer::decode(Bytes::from(answer.encode())), Ok(answer));
    }

    #[test]
    fn changed_bytes_are_read_without_panic(
        message in any_message(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = body(message);
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        body.truncate(cut.index(body.len()) + 1);
        let body = Bytes::from(body);
        let _ = decode(body.clone());
        let _ = Opening::decode(body.clone());
        let _ = Answer::decode(body);
    }

    #[test]
    fn a_message_with_bytes_left_over_or_missing_is_malformed(message in consensus()) {
        let whole = body(message);
        let longer = [&whole[..], b"x"].concat();
        prop_assert_eq!(decode(Bytes::from(longer)), Err(Malformed("payload length")));
        let shorter = whole[..whole.len() - 1].to_vec();
        prop_assert!(decode(Bytes::from(shorter)).is_err());
    }
}

#[test]
fn every_refusal_reads_back_and_no_other_number_does() {
    for refusal in REFUSALS {
        let answer = Answer::Refusal(refusal);
        assert_eq!(Answer::decode(Bytes::from(answer.encode())), Ok(answer));
    }
    for number in [0, 6, -1] {
        let verdict = Some(proto::answer::Verdict::Refusal(number));
        let answer = proto::Answer { verdict }.encode_to_vec();
        assert_eq!(Answer::decode(Bytes::from(answer)), Err(Malformed("refusal")));
    }
    assert_eq!(Answer::decode(Bytes::new()), Err(Malformed("answer")));
}

#[test]
fn payloads_share_the_buffer_they_came_in() {
    let request = Bytes::from(vec![9; 300]);
    let body = Bytes::from(body(PeerMessage::Forward(Forward { ticket: 1, request: request.clone() })));
    let Ok(PeerMessage::Forward(read)) = decode(body.clone()) else { panic!("a forward was sent") };
    assert_eq!(read.request, request);
    assert!(body.as_ptr_range().contains(&read.request.as_ptr()));
}

fn consensus_head(change: impl FnOnce(&mut proto::Consensus)) -> proto::Envelope {
    let entry = |index| proto::Entry { index, term: 1, kind: 1, data_bytes: 1 };
    let mut message = proto::Consensus {
        kind: 1,
        to: 1,
        from: 2,
        index: 4,
        entries: vec![entry(5), entry(6)],
        ..proto::Consensus::default()
    };
    change(&mut message);
    proto::Envelope { message: Some(proto::envelope::Message::Consensus(message)) }
}

type Change = fn(&mut proto::Consensus);

#[test]
fn what_no_peer_sends_is_malformed() {
    let read = |change: Change| decode(body_of(&consensus_head(change), b"ab"));
    assert!(read(|_| ()).is_ok());
    let cases: [(Change, &str); 10] = [
        (|message| message.kind = 0, "consensus kind"),
        (|message| message.kind = 13, "consensus kind"),
        (|message| message.to = 7 << 48, "Raft id"),
        (|message| message.from = 0, "Raft id"),
        (|message| message.entries[1].kind = 0, "entry kind"),
        (|message| message.entries[1].kind = 3, "entry kind"),
        (|message| message.entries[1].data_bytes = u64::MAX, "payload length"),
        (|message| message.entries[1].data_bytes = 0, "payload length"),
        (|message| message.entries[1].index = 7, "append: its entries are not contiguous"),
        (|message| message.index = u64::MAX, "append: its entries are not contiguous"),
    ];
    for (change, what) in cases {
        assert_eq!(read(change), Err(Malformed(what)));
    }
}

#[test]
fn a_head_that_lies_about_its_length_is_malformed() {
    for length in [1_u32, HEAD_BYTES_MAX as u32 + 1, u32::MAX] {
        assert_eq!(decode(Bytes::from(length.to_le_bytes().to_vec())), Err(Malformed("head length")));
    }
    assert_eq!(decode(Bytes::from_static(&[0, 0])), Err(Malformed("head length")));
    assert_eq!(decode(Bytes::from_static(&[0; 4])), Err(Malformed("message kind")));
}

#[test]
fn names_out_of_range_are_malformed() {
    let good = proto::Hello { birth: names::u128_to_bytes(1), ..proto::Hello::default() };
    let read = |hello: proto::Hello, to| {
        let opening = proto::Opening { hello: Some(hello), to };
        Opening::decode(Bytes::from(opening.encode_to_vec())).map_err(|malformed| malformed.0)
    };
    assert!(read(good.clone(), 65_535).is_ok());
    assert_eq!(read(good.clone(), 65_536), Err("node id"));
    assert_eq!(read(proto::Hello { node: 65_536, ..good.clone() }, 0), Err("node id"));
    assert_eq!(read(proto::Hello { birth: Bytes::new(), ..good.clone() }, 0), Err("birth"));
    assert_eq!(read(proto::Hello { cluster: Some(Bytes::new()), ..good.clone() }, 0), Err("cluster id"));
    assert_eq!(read(proto::Hello { raft_id: Some(0), ..good.clone() }, 0), Err("Raft id"));
    let other = proto::Hello { raft_id: Some(1 << 48 | 1), ..good };
    assert_eq!(read(other, 0), Err("hello: its Raft id is another node's"));
}
