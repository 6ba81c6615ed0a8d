//! A snapshot that arrives, step by step.

use super::*;
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
    let outputs = step(Input::SnapshotFinished { snapshot, kept });
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
