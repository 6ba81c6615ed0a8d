//! Operations on the membership, one golden run for each.

use super::super::change::{Change, Step};
use super::*;
use crate::transport::{Members, Outside};
use crate::{MembershipOperation as Operation, MembershipRefusal as Refusal};

const WITHIN_TICKS: u64 = 400;

impl Cluster {
    /// An empty node that takes part in the network, and knows the genesis.
    fn start_outsider(&mut self, own: &Member, founders: u16) {
        let node = own.raft_id.node();
        self.logs.insert(node, Vec::new());
        self.committed.insert(node, Vec::new());
        let membership = founding_membership(founders);
        let start = ReplicaStart { membership, ..ReplicaStart::default() };
        let mut replica = Replica::new(ReplicaConfig::new(own.clone(), 5), start).unwrap();
        for (peer, other) in &mut self.replicas {
            replica.step(1, Input::Connected(*peer), &mut Vec::new()).unwrap();
            other.step(1, Input::Connected(node), &mut Vec::new()).unwrap();
        }
        self.replicas.insert(node, replica);
    }

    fn operate(&mut self, at: NodeId, token: u128, operation: Operation) {
        let token = OperationToken(token);
        self.input(at, Input::Operate { token, operation, within_ticks: WITHIN_TICKS });
    }

    fn result(&self, token: u128) -> Option<&OperationResult> {
        let results: Vec<_> =
            self.operated.iter().filter(|(_, known, _)| *known == OperationToken(token)).collect();
        assert!(results.len() <= 1, "answered more than once: {results:?}");
        results.first().map(|(_, _, result)| result)
    }

    /// Lets time pass until the operation has a result.
    fn wait(&mut self, token: u128) -> OperationResult {
        for _ in 0..2 * WITHIN_TICKS {
            if let Some(result) = self.result(token) {
                return result.clone();
            }
            self.tick(1);
        }
        panic!("no result of {token}: {:?}", self.replicas)
    }

    fn voters(&self, at: NodeId) -> Vec<RaftId> {
        self.replicas[&at].membership().voters.clone()
    }

    fn follower(&mut self) -> (NodeId, NodeId) {
        let leader = self.leader();
        let follower = self.replicas.keys().copied().find(|node| *node != leader).unwrap();
        (leader, follower)
    }
}

fn add(node: u16) -> Operation {
    Operation::Add { node: NodeId(node), address: format!("127.0.0.1:{node}") }
}

fn remove(node: NodeId) -> Operation {
    Operation::Remove { node }
}

fn refused(refusal: Refusal) -> OperationResult {
    OperationResult::Refused(refusal)
}

#[test]
fn a_node_that_is_added_gets_the_log_first_and_then_its_vote() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    cluster.propose(leader, "a");
    let own = member(3, 1);
    cluster.start_outsider(&own, 3);
    cluster.tick(20);
    assert!(!cluster.replicas[&leader].membership().members.contains_key(&own.raft_id));
    assert!(cluster.replicas[&NodeId(3)].outside().is_some());
    let asked = cluster.propose(NodeId(3), "in vain");
    cluster.tick(1);
    assert_eq!(cluster.failed, [(NodeId(3), asked, Failure::NoLeader)], "who asks outside is told at once");
    cluster.operate(follower, 1, add(3));
    assert_eq!(cluster.wait(1), OperationResult::Done);
    cluster.operate(follower, 2, Operation::Promote { node: NodeId(3) });
    assert_eq!(cluster.wait(2), OperationResult::Done);
    assert_eq!(cluster.voters(leader).len(), 4);
    assert_eq!(cluster.keys(NodeId(3)), ["a"]);
    assert_eq!(cluster.replicas[&NodeId(3)].outside(), None);
}

#[test]
fn who_is_not_there_is_waited_for_and_then_refused_for_certain() {
    let mut cluster = Cluster::new(3);
    let (_, follower) = cluster.follower();
    cluster.operate(follower, 1, add(3));
    cluster.tick(100);
    assert_eq!(cluster.result(1), None);
    assert!(
        cluster.reach.contains(&(NodeId(3), "127.0.0.1:3".to_owned())),
        "the operator's address is tried"
    );
    assert_eq!(cluster.wait(1), refused(Refusal::NotThere));
    cluster.start_outsider(&member(3, 1), 3);
    let elsewhere = Operation::Add { node: NodeId(3), address: "127.0.0.1:9".to_owned() };
    cluster.tick(20);
    cluster.operate(follower, 2, elsewhere);
    assert_eq!(cluster.wait(2), refused(Refusal::OtherAddress { address: "127.0.0.1:3".to_owned() }));
}

#[test]
fn who_was_removed_ends_when_a_majority_says_so_and_is_told_where_it_is() {
    let mut cluster = Cluster::new(3);
    let (leader, gone) = cluster.follower();
    let raft_id = cluster.replicas[&gone].config.own.raft_id;
    let say = |cluster: &mut Cluster, from: NodeId, index, removed| {
        let members = vec![(leader, "elsewhere:1".to_owned())];
        let outside = Outside { raft_id, index, place_held_at: None, members, removed };
        let from_raft_id = Some(member(from.0, 1).raft_id);
        let message = PeerMessage::Outside(Box::new(outside));
        cluster.input(gone, Input::Peer { from, from_raft_id, message });
    };
    let other = cluster.replicas.keys().copied().find(|node| ![leader, gone].contains(node)).unwrap();
    say(&mut cluster, other, 9, None);
    say(&mut cluster, other, 9, Some(2));
    say(&mut cluster, other, 9, Some(2));
    assert!(cluster.removed.is_empty(), "one voter says it, and a learner");
    assert!(cluster.reach.contains(&(leader, "elsewhere:1".to_owned())));
    say(&mut cluster, leader, 12, Some(2));
    assert!(cluster.removed.is_empty(), "there was another change in between");
    say(&mut cluster, other, 12, Some(2));
    assert_eq!(cluster.removed, [raft_id]);
}

#[test]
fn who_knows_no_more_is_not_believed_about_where_members_are() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let known = cluster.replicas[&follower].membership().index;
    for (index, believed) in [(known, false), (known + 1, true)] {
        let members = vec![(leader, format!("as-of-{index}:1")), (NodeId(9), "no address".to_owned())];
        let message = PeerMessage::Members(Box::new(Members { index, members }));
        let from_raft_id = Some(member(leader.0, 1).raft_id);
        cluster.input(follower, Input::Peer { from: leader, from_raft_id, message });
        assert_eq!(cluster.reach.contains(&(leader, format!("as-of-{index}:1"))), believed);
    }
    assert!(cluster.reach.iter().all(|(node, _)| *node != NodeId(9)));
}

#[test]
fn a_node_that_is_removed_ends_and_the_others_go_on() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let gone = cluster.replicas[&follower].config.own.raft_id;
    cluster.operate(follower, 1, remove(follower));
    assert_eq!(cluster.wait(1), OperationResult::Done);
    cluster.tick(40);
    assert_eq!(cluster.removed, [gone]);
    assert_eq!(cluster.voters(leader).len(), 2);
    assert_eq!(cluster.replicas[&leader].membership().removed, [gone]);
    cluster.operate(leader, 2, remove(follower));
    assert_eq!(cluster.wait(2), refused(Refusal::NotAMember));
    cluster.operate(leader, 1, remove(follower));
    assert_eq!(cluster.operated.last().unwrap().2, OperationResult::Done, "the same operation once more");
}

#[test]
fn a_leader_hands_over_before_it_is_removed() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let gone = cluster.replicas[&leader].config.own.raft_id;
    cluster.operate(leader, 1, remove(leader));
    assert_eq!(cluster.wait(1), OperationResult::Done);
    cluster.tick(60);
    assert_eq!(cluster.removed, [gone]);
    let next = cluster.leader();
    assert_eq!(cluster.voters(next).len(), 2);
    cluster.propose(next, "after");
    cluster.tick(5);
    assert_eq!(cluster.keys(next), ["after"]);
}

#[test]
fn a_leader_that_finds_its_own_removal_in_its_log_steps_down() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let id = cluster.replicas[&leader].config.own.raft_id;
    let replica = cluster.replicas.get_mut(&leader).unwrap();
    assert!(replica.propose_change(&Change { steps: vec![(Step::Remove, id)], ..Change::default() }));
    cluster.input(leader, Input::Tick);
    cluster.tick(60);
    assert_eq!(cluster.removed, [id]);
    let next = cluster.leader();
    assert_eq!((cluster.voters(next).len(), cluster.voters(follower).len()), (2, 2));
}

#[test]
fn a_removal_that_would_lose_the_quorum_is_refused() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let other = cluster.replicas.keys().copied().find(|node| ![leader, follower].contains(node)).unwrap();
    cluster.cut.insert(other);
    cluster.tick(30);
    cluster.operate(leader, 1, remove(follower));
    assert_eq!(cluster.wait(1), refused(Refusal::WouldLoseQuorum));
    cluster.operate(leader, 2, remove(other));
    assert_eq!(cluster.wait(2), OperationResult::Done);
    let mut single = Cluster::new(1);
    single.leader();
    single.operate(NodeId(0), 1, remove(NodeId(0)));
    assert_eq!(single.wait(1), refused(Refusal::WouldLoseQuorum));
}

#[test]
fn one_change_is_made_at_a_time() {
    let mut cluster = Cluster::new(5);
    let (leader, follower) = cluster.follower();
    let others: Vec<NodeId> =
        cluster.replicas.keys().copied().filter(|node| ![leader, follower].contains(node)).collect();
    // The first change is committed, but never durable on the leader's own disk.
    cluster.stalled.insert(leader);
    cluster.operate(leader, 1, remove(follower));
    cluster.operate(leader, 2, remove(others[0]));
    assert_eq!(cluster.wait(2), refused(Refusal::ChangeUnderWay));
    assert_eq!(cluster.result(1), None);
}

#[test]
fn a_change_that_raft_turns_into_an_empty_entry_is_reported() {
    let mut cluster = Cluster::new(3);
    let (leader, _) = cluster.follower();
    let replica = cluster.replicas.get_mut(&leader).unwrap();
    let ids: Vec<RaftId> = replica.membership().voters.clone();
    let change = |id| Change { steps: vec![(Step::Remove, id)], ..Change::default() };
    let others: Vec<RaftId> = ids.into_iter().filter(|id| id.node() != leader).collect();
    assert!(replica.propose_change(&change(others[0])));
    assert!(!replica.propose_change(&change(others[1])), "one is under way");
}

#[test]
fn a_living_node_is_replaced_by_another_machine() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    cluster.propose(leader, "a");
    let former = cluster.replicas.remove(&follower).unwrap();
    let gone = former.config.own.raft_id;
    let other = Member { address: "127.0.0.1:99".to_owned(), ..member(follower.0, 2) };
    cluster.start_outsider(&other, 3);
    cluster.tick(60);
    assert!(cluster.voters(leader).contains(&gone), "another machine does not take a place by itself");
    let address = other.address.clone();
    cluster.operate(leader, 1, Operation::Replace { node: follower, address });
    assert_eq!(cluster.wait(1), OperationResult::Done);
    cluster.operate(leader, 2, Operation::Promote { node: follower });
    assert_eq!(cluster.wait(2), OperationResult::Done);
    let after = cluster.replicas[&leader].membership().clone();
    assert!(after.voters.contains(&other.raft_id) && !after.members.contains_key(&gone), "{after:?}");
    assert_eq!((after.voters.len(), after.removed), (3, vec![gone]));
    assert_eq!(cluster.keys(follower), ["a"]);
}

#[test]
fn leadership_goes_where_it_is_sent() {
    let mut cluster = Cluster::new(3);
    let (_, follower) = cluster.follower();
    cluster.operate(follower, 1, Operation::TransferLeader { to: Some(follower) });
    assert_eq!(cluster.wait(1), OperationResult::Done);
    assert_eq!(cluster.leader(), follower);
    cluster.operate(follower, 2, Operation::TransferLeader { to: Some(NodeId(9)) });
    assert_eq!(cluster.wait(2), refused(Refusal::NotAMember));
    cluster.operate(follower, 3, Operation::TransferLeader { to: None });
    assert_eq!(cluster.wait(3), OperationResult::Done);
    assert_ne!(cluster.leader(), follower);
}

#[test]
fn a_leader_hands_over_to_whoever_has_most_of_the_log() {
    let mut cluster = Cluster::new(5);
    let (leader, _) = cluster.follower();
    let others: Vec<NodeId> = cluster.replicas.keys().copied().filter(|node| *node != leader).collect();
    // One link loses what carries entries for a while; heartbeats get through.
    let behind = others[3];
    cluster.cut.insert(behind);
    for key in ["a", "b", "c"] {
        cluster.propose(leader, key);
    }
    cluster.cut.remove(&behind);
    cluster.replicas.get_mut(&leader).unwrap().heard.values_mut().for_each(|tick| *tick = 1_000);
    cluster.input(leader, Input::HandOver);
    cluster.tick(3);
    let next = cluster.leader();
    assert!(next != leader && next != behind, "{next} leads");
}

#[test]
fn a_node_that_moves_says_so_and_the_membership_follows() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let moved = Member { address: "127.0.0.1:77".to_owned(), ..member(follower.0, 1) };
    let former = cluster.replicas.remove(&follower).unwrap();
    let log = cluster.logs[&follower].clone();
    let start = ReplicaStart {
        hard_state: HardState { term: former.term(), vote: 0, commit: 0 },
        membership: founding_membership(3),
        term_starts: log.iter().map(|entry| (entry.index, entry.term)).collect(),
        last_index: log.len() as u64,
        tail: log,
        ..ReplicaStart::default()
    };
    cluster.committed.insert(follower, Vec::new());
    cluster.start(moved.clone(), 3, start);
    cluster.tick(60);
    for node in [leader, follower] {
        let membership = cluster.replicas[&node].membership();
        assert_eq!(membership.members[&moved.raft_id].address, moved.address);
        assert_eq!(membership.voters.len(), 3);
    }
    assert!(cluster.reach.contains(&(follower, moved.address)));
}

#[test]
fn a_removed_node_that_was_cut_off_disturbs_nobody_and_is_told() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let gone = cluster.replicas[&follower].config.own.raft_id;
    cluster.cut.insert(follower);
    cluster.operate(leader, 1, remove(follower));
    assert_eq!(cluster.wait(1), OperationResult::Done);
    cluster.tick(100);
    let term = cluster.replicas[&leader].term();
    assert!(cluster.removed.is_empty());
    cluster.cut.remove(&follower);
    cluster.tick(60);
    assert_eq!(cluster.removed, [gone]);
    assert_eq!(cluster.replicas[&leader].term(), term);
    assert!(cluster.replicas[&leader].is_leader());
}

#[test]
fn two_that_ask_to_leave_at_once_do_not_both_hear_yes() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let others: Vec<NodeId> = cluster.replicas.keys().copied().filter(|node| *node != leader).collect();
    for node in &others {
        cluster.input(*node, Input::MayLeave { within_ticks: 100 });
    }
    cluster.tick(40);
    let allowed = cluster.verdicts.iter().filter(|(_, verdict)| *verdict == Some(true)).count();
    assert_eq!((allowed, cluster.verdicts.len()), (1, 2), "{:?}", cluster.verdicts);
    cluster.operate(leader, 1, remove(others[0]));
    assert_eq!(cluster.wait(1), OperationResult::Done, "who was told to leave may be removed");
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    cluster.input(follower, Input::MayLeave { within_ticks: 100 });
    assert_eq!(cluster.verdicts, [(follower, Some(true))]);
    cluster.input(leader, Input::MayLeave { within_ticks: 100 });
    cluster.tick(40);
    assert_eq!(cluster.verdicts.last(), Some(&(leader, Some(false))));
}

#[test]
fn nobody_leaves_who_may_be_the_only_one_that_ran_a_request() {
    let mut cluster = Cluster::new(3);
    let (leader, follower) = cluster.follower();
    let applied = |cluster: &mut Cluster, index| {
        let condition = Condition { index, ..Condition::default() };
        cluster.input(leader, Input::Condition(Box::new(condition)));
    };
    applied(&mut cluster, 0);
    cluster.input(follower, Input::MayLeave { within_ticks: 200 });
    cluster.tick(20);
    assert_eq!(cluster.verdicts, [], "the leader's model is slow");
    cluster.tick(40);
    assert_eq!(cluster.verdicts, [(follower, Some(false))]);
    let commit = cluster.replicas[&leader].commit();
    applied(&mut cluster, commit);
    cluster.input(follower, Input::MayLeave { within_ticks: 200 });
    assert_eq!(cluster.verdicts.last(), Some(&(follower, Some(true))));
}

#[test]
fn a_removed_node_stays_until_the_others_know_for_good() {
    let mut cluster = Cluster::new(2);
    let (leader, follower) = cluster.follower();
    cluster.stalled.insert(leader);
    cluster.operate(leader, 1, remove(follower));
    let own = member(follower.0, 1).raft_id;
    // The entry becomes durable on the leader, but not that it is committed.
    for mark in 1..100 {
        cluster.input(leader, Input::Persisted(mark));
        cluster.tick(1);
        if !cluster.replicas[&follower].membership().members.contains_key(&own) {
            break;
        }
    }
    assert!(cluster.replicas[&leader].membership().members.contains_key(&own));
    cluster.tick(20);
    assert_eq!(cluster.removed, [], "the one that is left could still forget it");
    cluster.stalled.clear();
    cluster.input(leader, Input::Persisted(u64::MAX));
    cluster.tick(60);
    assert_eq!(cluster.removed.len(), 1);
    assert_eq!(cluster.voters(leader).len(), 1);
}

#[test]
fn a_successor_votes_before_it_knows_that_it_is_one() {
    let membership = founding_membership(2);
    let own = member(1, 2);
    let start = ReplicaStart { membership, ..ReplicaStart::default() };
    let mut replica = Replica::new(ReplicaConfig::new(own, 1), start).unwrap();
    assert!(!replica.may_take_part());
    replica.step(1, Input::Connected(NodeId(0)), &mut Vec::new()).unwrap();
    assert!(replica.may_take_part(), "its former self is nobody to be met");
}
