//! A snapshot that arrives, step by step.

use super::*;
use crate::log::LogStart;
use crate::quarantine::Decisions;
use crate::transport::{SnapshotName, SnapshotOffer};

#[test]
fn an_election_waits_until_a_snapshot_is_durable() {
    let (own, leader) = (member(1, 1), member(0, 1).raft_id);
    let membership = founding_membership(3);
    let start = ReplicaStart { membership: membership.clone(), ..ReplicaStart::default() };
    let mut replica = Replica::new(ReplicaConfig::new(own.clone(), 5), start).unwrap();
    let mut step = |input: Input| {
        let mut outputs = Vec::new();
        replica.step(1, input, &mut outputs).unwrap();
        replica.flush(&mut outputs).unwrap();
        outputs
    };
    for peer in [0, 2] {
        step(Input::Connected(NodeId(peer)));
    }
    let snapshot = SnapshotName { index: 16, term: 6, bytes: 100, checksum: 1 };
    let offer = SnapshotOffer { to: own.raft_id, from: leader, term: 6, snapshot };
    let message = PeerMessage::SnapshotOffer(offer);
    step(Input::Peer { from: NodeId(0), from_raft_id: Some(leader), message });
    step(Input::SnapshotWritten { snapshot, bytes: Some(snapshot.bytes) });
    let kept = Some(KeptSnapshot { name: snapshot, membership, decisions: Decisions::default() });
    let outputs = step(Input::SnapshotFinished { snapshot, kept: kept.map(Box::new) });
    let mark = outputs.iter().find_map(|output| match output {
        Output::Append { mark, write, .. } if write.start.is_some_and(|start| start.index == 16) => {
            Some(*mark)
        }
        _ => None,
    });
    // A newer one has to wait.
    let newer = SnapshotName { index: 20, ..snapshot };
    let message = PeerMessage::SnapshotOffer(SnapshotOffer { snapshot: newer, ..offer });
    let outputs = step(Input::Peer { from: NodeId(0), from_raft_id: Some(leader), message });
    assert!(!outputs.iter().any(|output| matches!(output, Output::BeginSnapshot(_))), "{outputs:?}");
    // The disk is slow, and the leader is gone: the time for an election comes.
    for _ in 0..60 {
        let outputs = step(Input::Tick);
        assert!(!outputs.iter().any(|output| matches!(output, Output::Installed(_))), "{outputs:?}");
    }
    let outputs = step(Input::Persisted(mark.unwrap()));
    assert!(outputs.iter().any(|output| matches!(output, Output::Installed(_))), "{outputs:?}");
}

/// A follower whose log ends with the admission of a learner, node 3, which is committed and on its way to the disk: its mark.
fn follower_that_admits_a_learner() -> (Replica, u64) {
    let (own, learner) = (member(1, 1), member(3, 1));
    let steps = vec![(change::Step::AddLearner, learner.raft_id)];
    let admission = change::Change { token: None, steps, members: vec![learner] };
    let kind = crate::log::EntryKind::MembershipChange;
    let start = ReplicaStart {
        hard_state: HardState { term: 1, vote: 0, commit: 0 },
        membership: founding_membership(3),
        term_starts: vec![(1, 1)],
        last_index: 1,
        tail: vec![LogEntry { index: 1, term: 1, kind, data: admission.encode() }],
        ..ReplicaStart::default()
    };
    let mut replica = Replica::new(ReplicaConfig::new(own.clone(), 5), start).unwrap();
    let Input::Peer { from, from_raft_id, message: PeerMessage::Consensus(mut message) } =
        said_by(0, ConsensusKind::Heartbeat, 1)
    else {
        panic!("that is no message of Raft's");
    };
    (message.to, message.commit) = (own.raft_id, 1);
    let heartbeat = Input::Peer { from, from_raft_id, message: PeerMessage::Consensus(message) };
    let mut outputs = Vec::new();
    replica.step(1, heartbeat, &mut outputs).unwrap();
    replica.flush(&mut outputs).unwrap();
    let mark = outputs.iter().find_map(|output| match output {
        Output::Append { mark, write, .. } if write.membership.is_some() => Some(*mark),
        _ => None,
    });
    (replica, mark.unwrap())
}

/// Seed 127221 found it where the change left a joint membership, which Raft had left with the snapshot: the node ended.
#[test]
fn a_change_that_becomes_durable_after_raft_took_a_snapshot_changes_it_no_more() {
    let (mut replica, mark) = follower_that_admits_a_learner();
    let (own, leader) = (member(1, 1).raft_id, member(0, 1).raft_id);
    let snapshot = SnapshotName { index: 16, term: 1, bytes: 100, checksum: 1 };
    let offer = SnapshotOffer { to: own, from: leader, term: 1, snapshot };
    let message = PeerMessage::SnapshotOffer(offer);
    hears(&mut replica, Input::Peer { from: NodeId(0), from_raft_id: Some(leader), message });
    hears(&mut replica, Input::SnapshotWritten { snapshot, bytes: Some(snapshot.bytes) });
    // By then the learner has its vote.
    let membership = Membership { index: 9, ..founding_membership(4) };
    let kept =
        KeptSnapshot { name: snapshot, membership: membership.clone(), decisions: Decisions::default() };
    // Both were in the inbox when the driver looked.
    let mut outputs = Vec::new();
    for input in [Input::SnapshotFinished { snapshot, kept: Some(Box::new(kept)) }, Input::Persisted(mark)] {
        replica.step(1, input, &mut outputs).unwrap();
    }
    replica.flush(&mut outputs).unwrap();
    hears(&mut replica, Input::Persisted(u64::MAX));
    assert_eq!(*replica.membership(), membership);
    let (raft, known) = (replica.raw.raft.prs().conf().to_conf_state(), store::conf_state_of(&membership));
    let sorted = |mut ids: Vec<u64>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(raft.voters), sorted(known.voters), "Raft counts the votes of the snapshot's members");
    assert_eq!(raft.learners, known.learners);
}

/// A replica that leads term 7, and whose log begins behind entry 16.
fn leader_behind_a_snapshot() -> Replica {
    let (membership, own) = (founding_membership(3), member(0, 1));
    let name = SnapshotName { index: 16, term: 6, bytes: 100, checksum: 1 };
    let start = ReplicaStart {
        hard_state: HardState { term: 6, vote: 0, commit: 16 },
        membership: membership.clone(),
        start: LogStart { index: 16, term: 6 },
        snapshot: Some(KeptSnapshot { name, membership, decisions: Decisions::default() }),
        term_starts: vec![(16, 6)],
        last_index: 16,
        tail: Vec::new(),
    };
    let mut replica = Replica::new(ReplicaConfig::new(own, 5), start).unwrap();
    [1, 2].into_iter().for_each(|peer| hears(&mut replica, Input::Connected(NodeId(peer))));
    let is_asking = |replica: &Replica| replica.raw.raft.state == StateRole::PreCandidate;
    while !is_asking(&replica) {
        hears(&mut replica, Input::Tick);
    }
    hears(&mut replica, said_by(2, ConsensusKind::RequestPreVoteResponse, 7));
    hears(&mut replica, Input::Persisted(1));
    hears(&mut replica, said_by(2, ConsensusKind::RequestVoteResponse, 7));
    hears(&mut replica, Input::Persisted(2));
    assert!(replica.is_leader(), "{replica:?}");
    replica
}

fn hears(replica: &mut Replica, input: Input) {
    replica.step(1, input, &mut Vec::new()).unwrap();
    replica.flush(&mut Vec::new()).unwrap();
}

fn said_by(node: u16, kind: ConsensusKind, term: u64) -> Input {
    let from = member(node, 1).raft_id;
    let message = ConsensusMessage::bare(kind, from, member(0, 1).raft_id, term);
    let message = PeerMessage::Consensus(Box::new(message));
    Input::Peer { from: NodeId(node), from_raft_id: Some(from), message }
}

/// A follower that has nothing, and says so.
fn lacks_everything() -> Input {
    let Input::Peer { from, from_raft_id, message: PeerMessage::Consensus(mut message) } =
        said_by(1, ConsensusKind::AppendResponse, 7)
    else {
        panic!("that is no message of Raft's");
    };
    (message.index, message.reject) = (16, true);
    Input::Peer { from, from_raft_id, message: PeerMessage::Consensus(message) }
}

fn offers(outputs: &[Output]) -> Vec<u64> {
    let offer = |output: &Output| match output {
        Output::Send { message: PeerMessage::SnapshotOffer(offer), .. } => Some(offer.term),
        _ => None,
    };
    outputs.iter().filter_map(offer).collect()
}

#[test]
fn only_the_leader_of_a_term_offers_a_snapshot_in_it() {
    let mut replica = leader_behind_a_snapshot();
    let mut outputs = Vec::new();
    replica.step(1, lacks_everything(), &mut outputs).unwrap();
    replica.flush(&mut outputs).unwrap();
    assert_eq!(offers(&outputs), [7], "{outputs:?}");
    // Both were in the inbox when the driver looked: before anything is sent, another one leads.
    let mut replica = leader_behind_a_snapshot();
    let mut outputs = Vec::new();
    for input in [lacks_everything(), said_by(2, ConsensusKind::Heartbeat, 8)] {
        replica.step(1, input, &mut outputs).unwrap();
    }
    replica.flush(&mut outputs).unwrap();
    assert_eq!((replica.term(), replica.is_leader()), (8, false));
    // What is left to be said waits until the new term is durable.
    replica.step(1, Input::Persisted(u64::MAX), &mut outputs).unwrap();
    replica.flush(&mut outputs).unwrap();
    assert_eq!(
        offers(&outputs),
        [0; 0],
        "who takes it for the leader of term 8 does not hear the one that is"
    );
}
