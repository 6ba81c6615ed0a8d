//! Each invariant can be broken: those that no mutant breaks are broken here by hand.

use bytes::Bytes;

use super::log_matching::Print;
use super::operations::Book;
use super::*;
use crate::log::{EntryKind, HardState};
use crate::replica::{Input, ReplicaConfig, ReplicaStart, RequestId};
use crate::snapshot::SnapshotName;
use crate::transport::{ConsensusKind, ConsensusMessage, SnapshotOffer};
use crate::{Birth, CallOutcome, Member, Origin, RequestKind};

fn request(key: &'static str, body: &'static str) -> Request {
    let origin = Origin::Key(Bytes::from_static(key.as_bytes()));
    Request { kind: RequestKind::Predict, origin, body: Bytes::from_static(body.as_bytes()) }
}

fn outcome(position: u64) -> Outcome {
    Outcome { position, term: 1, result: CallOutcome::Output(Bytes::new()) }
}

fn sent(checker: &mut Checker, request: &Request) -> Attempt {
    let operation = checker.book.begin(0, request, None);
    let mut encoded = Vec::new();
    request.encode(&mut encoded);
    checker.book.attempt(operation, encoded.into())
}

fn broken(result: Checked) -> &'static str {
    result.unwrap_err().invariant
}

#[test]
fn a_request_that_nobody_sent_is_found() {
    let mut checker = Checker::default();
    assert_eq!(broken(checker.applied(NodeId(0), &request("a", "1"), &outcome(1), 0)), "S8 no invention");
    let mut checker = Checker::default();
    sent(&mut checker, &request("a", "1"));
    assert_eq!(broken(checker.applied(NodeId(0), &request("a", "2"), &outcome(1), 0)), "S8 no invention");
}

#[test]
fn a_request_that_stands_before_what_was_answered_earlier_is_found() {
    let mut book = Book::default();
    book.ack(5);
    let operation = book.begin(0, &request("a", "1"), None);
    let operation = book.get(operation).unwrap();
    assert!(real_time::check(operation, 6).is_ok());
    assert_eq!(broken(real_time::check(operation, 5)), "S4 real time");
}

#[test]
fn two_nodes_that_differ_at_a_position_are_found() {
    let mut checker = Checker::default();
    sent(&mut checker, &request("a", "1"));
    sent(&mut checker, &request("b", "1"));
    checker.applied(NodeId(0), &request("a", "1"), &outcome(1), 0).unwrap();
    checker.applied(NodeId(1), &request("a", "1"), &outcome(1), 0).unwrap();
    assert_eq!(broken(checker.applied(NodeId(2), &request("b", "1"), &outcome(1), 0)), "S1 one order");
    assert_eq!(broken(checker.digested(NodeId(2), 1, crate::digest::Digest(9))), "S1 one order");
}

#[test]
fn an_answered_position_that_a_node_lacks_at_the_end_is_found() {
    let mut checker = Checker::default();
    let attempt = sent(&mut checker, &request("a", "1"));
    checker.applied(NodeId(0), &request("a", "1"), &outcome(1), 0).unwrap();
    let applied = crate::apply::Applied { result: Ok(outcome(1)), replayed: false };
    checker.answered(attempt, &Reply::Applied(applied)).unwrap();
    assert!(checker.ended(NodeId(0), 1).is_ok());
    assert_eq!(broken(checker.ended(NodeId(1), 0)), "S2 acked is kept");
}

#[test]
fn a_second_leader_of_a_term_is_found() {
    let mut leaders = Leaders::default();
    assert!(leaders.observe(RaftId(1), 4).unwrap());
    assert!(!leaders.observe(RaftId(1), 4).unwrap());
    assert!(leaders.observe(RaftId(2), 5).unwrap());
    assert_eq!(leaders.observe(RaftId(2), 4).unwrap_err().invariant, "election safety");
}

#[test]
fn another_entry_or_another_past_under_one_index_and_term_is_found() {
    let print = |term, data| {
        Print::of(&LogEntry { index: 0, term, kind: EntryKind::Normal, data: Bytes::from_static(data) })
    };
    let mut matching = LogMatching::default();
    matching.stand(RaftId(1), (0, 0), [print(1, b"a"), print(2, b"b")]).unwrap();
    matching.stand(RaftId(2), (1, 1), [print(2, b"b"), print(3, b"c")]).unwrap();
    assert_eq!(broken(matching.stand(RaftId(2), (0, 0), [print(1, b"x")])), "log matching");
    assert_eq!(broken(matching.stand(RaftId(2), (1, 2), [print(2, b"b")])), "log matching");
}

fn said(kind: ConsensusKind, term: u64) -> ConsensusMessage {
    ConsensusMessage::bare(kind, RaftId(1), RaftId(2), term)
}

fn offer(term: u64) -> PeerMessage {
    let snapshot = SnapshotName { index: 1, term: 1, bytes: 1, checksum: 1 };
    PeerMessage::SnapshotOffer(SnapshotOffer { to: RaftId(2), from: RaftId(1), term, snapshot })
}

#[test]
fn who_speaks_as_the_leader_of_a_term_that_another_leads_is_found() {
    for message in [PeerMessage::Consensus(Box::new(said(ConsensusKind::Heartbeat, 4))), offer(4)] {
        let send = |leader| {
            let mut checker = Checker::default();
            checker.leaders.observe(RaftId(leader), 4).unwrap();
            checker.output(RaftId(1), &Output::Send { to: NodeId(0), message: message.clone() }, 0)
        };
        send(1).unwrap();
        assert_eq!(broken(send(3)), "election safety");
    }
}

#[test]
fn who_raises_the_term_twice_and_hears_nothing_is_found() {
    let consensus = |kind, term| PeerMessage::Consensus(Box::new(said(kind, term)));
    let mut memberships = Memberships::default();
    memberships.opened(RaftId(2), 3);
    memberships.stepped(RaftId(2), 4).unwrap();
    assert_eq!(
        broken(memberships.stepped(RaftId(2), 5)),
        "promise S11: who hears nothing raises the term once at most"
    );
    memberships.opened(RaftId(2), 3);
    // What it was told it may come to later, and again after it raised the term by itself.
    memberships.heard(RaftId(2), &offer(6));
    memberships.heard(RaftId(2), &consensus(ConsensusKind::Heartbeat, 5));
    memberships.stepped(RaftId(2), 5).unwrap();
    memberships.stepped(RaftId(2), 6).unwrap();
    // To be asked for a pre-vote is not to be told a term.
    memberships.heard(RaftId(2), &consensus(ConsensusKind::RequestPreVote, 9));
    memberships.stepped(RaftId(2), 7).unwrap();
    assert!(memberships.stepped(RaftId(2), 8).is_err());
}

#[test]
fn a_second_vote_in_a_term_is_found() {
    let vote = |to, reject| ConsensusMessage {
        to: RaftId(to),
        reject,
        ..said(ConsensusKind::RequestVoteResponse, 3)
    };
    let mut checker = Checker::default();
    let mut send = |message| {
        let message = PeerMessage::Consensus(Box::new(message));
        checker.output(RaftId(1), &Output::Send { to: NodeId(0), message }, 0)
    };
    send(vote(2, false)).unwrap();
    send(vote(2, false)).unwrap();
    send(vote(3, true)).unwrap();
    assert_eq!(broken(send(vote(3, false))), "S9 votes");
}

#[test]
fn a_log_that_lost_what_was_synced_is_found_and_one_that_lost_more_writes_is_not() {
    let write = |index| LogWrite {
        entries: vec![LogEntry { index, term: 1, kind: EntryKind::Normal, data: Bytes::new() }],
        hard_state: Some(HardState { term: 1, vote: 7, commit: 0 }),
        ..LogWrite::default()
    };
    let recovered = |last_index: u64| Recovered {
        hard_state: HardState { term: 1, vote: 7, commit: 0 },
        membership: Membership::default(),
        membership_latest: None,
        first_index: 1,
        last_index,
        last_term: 1,
        term_starts: vec![(1, 1)],
        tail: Vec::new(),
        warnings: Vec::new(),
    };
    for (last_index, holds) in [(1, false), (2, true), (3, true), (4, false)] {
        let mut checker = Checker::default();
        (1..=3).for_each(|index| checker.writing(RaftId(1), index, &write(index)));
        checker.synced(RaftId(1), 2).unwrap();
        assert_eq!(checker.opened(RaftId(1), &recovered(last_index), 0).is_ok(), holds, "{last_index}");
    }
}

#[test]
fn a_hand_over_with_a_gap_or_without_a_commit_is_found() {
    let entry = |index| LogEntry { index, term: 1, kind: EntryKind::Normal, data: Bytes::new() };
    let mut checker = Checker::default();
    let handed =
        |checker: &mut Checker, index| checker.output(RaftId(1), &Output::Committed(vec![entry(index)]), 0);
    assert_eq!(broken(handed(&mut checker, 2)), "commits never fall");
    let mut checker = Checker::default();
    assert_eq!(broken(handed(&mut checker, 1)), "a commit stands on a majority's disks");
    assert_eq!(broken(checker.applying(NodeId(0), &entry(1))), "a committed entry never changes");
}

/// Node 0 of three, and its disk, of which the books know; what is written there, node 1 has on its own as well.
struct Driven {
    checker: Checker,
    replica: Replica,
    /// The last write of each turn.
    marks: Vec<u64>,
}

impl Driven {
    fn new() -> Driven {
        let ids = [0, 1, 2].map(|node| RaftId::new(NodeId(node), 1));
        let member = |raft_id| Member { raft_id, birth: Birth(1), address: String::new() };
        let members = ids.map(|id| (id, member(id)));
        let membership = Membership { voters: ids.into(), members: members.into(), ..Membership::default() };
        let start = ReplicaStart { membership, ..ReplicaStart::default() };
        let replica = Replica::new(ReplicaConfig::new(member(ids[0]), 5), start).unwrap();
        let mut driven = Driven { checker: Checker::default(), replica, marks: Vec::new() };
        [1, 2].into_iter().for_each(|peer| driven.takes(Input::Connected(NodeId(peer))).unwrap());
        driven
    }

    fn takes(&mut self, input: Input) -> Checked {
        let (own, other) = (RaftId::new(NodeId(0), 1), RaftId::new(NodeId(1), 1));
        let mut outputs = Vec::new();
        self.replica.step(1, input, &mut outputs).unwrap();
        self.checker.stepped(own, &self.replica)?;
        self.replica.flush(&mut outputs).unwrap();
        self.checker.stepped(own, &self.replica)?;
        for output in outputs {
            if let Output::Append { mark, write, .. } = output {
                [own, other].into_iter().for_each(|id| self.checker.writing(id, mark, &write));
                self.checker.synced(other, mark)?;
                self.marks.push(mark);
            }
        }
        Ok(())
    }

    fn hears(&mut self, message: ConsensusMessage) -> Checked {
        let [to, from] = [0, 1].map(|node| RaftId::new(NodeId(node), 1));
        let message = PeerMessage::Consensus(Box::new(ConsensusMessage { to, from, ..message }));
        self.takes(Input::Peer { from: NodeId(1), from_raft_id: Some(from), message })
    }

    /// The disk has taken everything.
    fn syncs(&mut self) -> Checked {
        let Some(mark) = self.marks.last().copied() else { return Ok(()) };
        self.checker.synced(RaftId::new(NodeId(0), 1), mark)?;
        self.takes(Input::Persisted(mark))
    }
}

#[test]
fn a_leader_that_leaves_with_what_it_is_the_first_to_know_of_is_not_found() {
    let mut node = Driven::new();
    let own = RaftId::new(NodeId(0), 1);
    // Node 0 gets its removal, and leads before it knows that it is committed.
    let removal = [&[1][..], &[0; 16], &[1, 1], &own.0.to_le_bytes(), &[0]].concat();
    let removal = LogEntry { index: 1, term: 1, kind: EntryKind::MembershipChange, data: removal.into() };
    node.hears(ConsensusMessage { entries: vec![removal], ..said(ConsensusKind::Append, 1) }).unwrap();
    node.syncs().unwrap();
    (0..60).for_each(|_| node.takes(Input::Tick).unwrap());
    node.hears(said(ConsensusKind::RequestPreVoteResponse, 2)).unwrap();
    node.syncs().unwrap();
    node.hears(said(ConsensusKind::RequestVoteResponse, 2)).unwrap();
    node.syncs().unwrap();
    let request = request("a", "1");
    let (mut encoded, id) = (Vec::new(), RequestId::of(&request.origin, request.hash()));
    request.encode(&mut encoded);
    let encoded = encoded.into();
    let propose = Input::Propose { id, encoded, within_ticks: 100, leader_within_ticks: 50 };
    let has = |index| ConsensusMessage { index, ..said(ConsensusKind::AppendResponse, 2) };
    node.hears(has(2)).unwrap();
    node.takes(propose).unwrap();
    node.hears(has(3)).unwrap();
    assert_eq!((node.replica.is_leader(), node.replica.commit(), node.replica.last_index()), (true, 2, 3));
    // One sync takes both the removal and the entry that it makes a majority for.
    node.syncs().unwrap();
    assert_eq!((node.replica.is_leader(), node.replica.commit()), (false, 3));
}
