//! What can wait for another event, and what a follower need not hear.

use super::*;

impl Cluster {
    fn replica(&self, node: NodeId) -> &Replica {
        &self.replicas[&node]
    }

    /// All that was given to this node's disk is durable.
    fn sync(&mut self, node: NodeId) {
        self.input(node, Input::Persisted(u64::MAX));
    }
}

fn others(leader: NodeId) -> [NodeId; 2] {
    [1, 2].map(|step| NodeId((leader.0 + step) % 3))
}

#[test]
fn a_leaders_write_waits_for_others_until_it_is_what_is_missing() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let [one, other] = others(leader);
    cluster.stalled.extend([leader, one, other]);
    cluster.propose(leader, "a");
    assert!(cluster.replica(leader).waits_for_others());
    assert!(!cluster.replica(one).waits_for_others(), "a leader waits for its word");
    cluster.sync(one);
    assert!(!cluster.replica(leader).waits_for_others(), "the two are a majority");
    let before = cluster.replica(leader).commit();
    cluster.sync(other);
    assert_eq!(cluster.replica(leader).commit(), before + 1);
    assert_eq!(cluster.keys(leader), [""; 0], "it is not durable here");
    assert!(!cluster.replica(leader).waits_for_others(), "it is handed over once it is");
    cluster.sync(leader);
    assert_eq!(cluster.keys(leader), ["a"]);
}

#[test]
fn a_single_node_waits_for_nobody() {
    let mut cluster = Cluster::new(1);
    let leader = cluster.leader();
    cluster.stalled.insert(leader);
    cluster.propose(leader, "a");
    assert!(!cluster.replica(leader).waits_for_others());
}

#[test]
fn nothing_is_settled_while_a_follower_is_sent_one_message_at_a_time() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.propose(leader, "a");
    cluster.tick(5);
    let [one, _] = others(leader);
    let replica = cluster.replica(leader);
    assert_eq!(replica.settled(), Some(Settled { term: replica.term(), index: replica.commit() }));
    assert_eq!(cluster.replica(one).settled(), None);
    let raft_id = member(one.0, 1).raft_id;
    cluster.replicas.get_mut(&leader).unwrap().raw.report_unreachable(raft_id.0);
    assert_eq!(cluster.replica(leader).settled(), None);
}

#[test]
fn a_commit_that_the_next_entry_tells_is_not_told_apart() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let [one, other] = others(leader);
    cluster.stalled.extend([one, other]);
    cluster.propose(leader, "in flight");
    cluster.propose(leader, "waits for it");
    let replica = cluster.replicas.get_mut(&leader).unwrap();
    let index = replica.last_index();
    let (from, to) = (member(one.0, 1).raft_id, member(leader.0, 1).raft_id);
    let bare = ConsensusMessage::bare(ConsensusKind::AppendResponse, from, to, replica.term());
    let message = PeerMessage::Consensus(Box::new(ConsensusMessage { index, ..bare }));
    let mut outputs = Vec::new();
    replica.step(1, Input::Peer { from: one, from_raft_id: Some(from), message }, &mut outputs).unwrap();
    replica.flush(&mut outputs).unwrap();
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { to, message: PeerMessage::Consensus(message) } => {
            Some((*to, message.commit, message.entries.len()))
        }
        _ => None,
    });
    let mut sent: Vec<_> = sent.collect();
    sent.sort();
    let mut expected = [one, other].map(|node| (node, index, 1));
    expected.sort();
    assert_eq!(sent, expected);
}
