use std::collections::BTreeMap;

mod health;
mod members;
mod patience;
mod snapshots;

use bytes::Bytes;

use super::*;
use crate::transport::{ConsensusKind, ConsensusMessage};
use crate::{Birth, Command, NodeId, OperationToken, Origin, Request, RequestKind};

/// Replicas in one thread, with disks and links that never fail: what goes wrong is the simulator's business.
struct Cluster {
    replicas: BTreeMap<NodeId, Replica>,
    logs: BTreeMap<NodeId, Vec<LogEntry>>,
    committed: BTreeMap<NodeId, Vec<LogEntry>>,
    failed: Vec<(NodeId, RequestId, Failure)>,
    verdicts: Vec<(NodeId, Option<bool>)>,
    operated: Vec<(NodeId, OperationToken, OperationResult)>,
    reach: Vec<(NodeId, String)>,
    /// Replicas that ended because they were removed.
    removed: Vec<RaftId>,
    read_at: Vec<(ReadId, u64)>,
    read_failed: Vec<ReadId>,
    cut: BTreeSet<NodeId>,
    /// Whose disks hang.
    stalled: BTreeSet<NodeId>,
}

fn member(node: u16, incarnation: u64) -> Member {
    let raft_id = RaftId::new(NodeId(node), incarnation);
    Member { raft_id, birth: Birth(u128::from(incarnation)), address: format!("127.0.0.1:{node}") }
}

fn founding_membership(nodes: u16) -> Membership {
    let members: Vec<Member> = (0..nodes).map(|node| member(node, 1)).collect();
    Membership {
        voters: members.iter().map(|member| member.raft_id).collect(),
        members: members.into_iter().map(|member| (member.raft_id, member)).collect(),
        ..Membership::default()
    }
}

impl Cluster {
    fn new(nodes: u16) -> Self {
        let mut cluster = Cluster {
            replicas: BTreeMap::new(),
            logs: BTreeMap::new(),
            committed: BTreeMap::new(),
            failed: Vec::new(),
            verdicts: Vec::new(),
            operated: Vec::new(),
            reach: Vec::new(),
            removed: Vec::new(),
            read_at: Vec::new(),
            read_failed: Vec::new(),
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
        };
        for node in 0..nodes {
            cluster.start(
                member(node, 1),
                nodes,
                ReplicaStart { membership: founding_membership(nodes), ..ReplicaStart::default() },
            );
        }
        cluster
    }

    fn start(&mut self, own: Member, nodes: u16, start: ReplicaStart) {
        let node = own.raft_id.node();
        let mut replica = Replica::new(ReplicaConfig::new(own, 5), start).unwrap();
        for peer in (0..nodes).map(NodeId).filter(|peer| *peer != node) {
            replica.step(1, Input::Connected(peer), &mut Vec::new()).unwrap();
        }
        self.replicas.insert(node, replica);
        self.logs.entry(node).or_default();
        self.committed.entry(node).or_default();
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let mut inputs = VecDeque::from([(node, input)]);
        while let Some((node, input)) = inputs.pop_front() {
            let Some(replica) = self.replicas.get_mut(&node) else { continue };
            let mut outputs = Vec::new();
            let own = replica.config.own.raft_id;
            let stepped = replica.step(1_000, input, &mut outputs);
            match stepped.and_then(|()| replica.flush(&mut outputs)) {
                Ok(()) => {}
                Err(Fatal::Removed { .. }) => {
                    replica.abandon(&mut outputs);
                    self.replicas.remove(&node);
                    self.removed.push(own);
                }
                Err(fatal) => panic!("{fatal}"),
            }
            for output in outputs {
                match output {
                    Output::Send { to, message } if !self.cut.contains(&to) && !self.cut.contains(&node) => {
                        inputs.push_back((to, Input::Peer { from: node, from_raft_id: Some(own), message }));
                    }
                    Output::Send { .. } | Output::Membership(_) => {}
                    Output::Decided(_) | Output::Hold { .. } | Output::Diverged { .. } => {}
                    Output::Append { mark, write, .. } => {
                        let log = self.logs.get_mut(&node).unwrap();
                        if let Some(first) = write.entries.first() {
                            log.truncate(first.index as usize - 1);
                            log.extend(write.entries);
                        }
                        if !self.stalled.contains(&node) {
                            inputs.push_back((node, Input::Persisted(mark)));
                        }
                    }
                    Output::Committed(entries) => {
                        // Models without a delay.
                        let index = entries.last().unwrap().index;
                        let condition = Condition { index, ..Condition::default() };
                        inputs.push_back((node, Input::Condition(Box::new(condition))));
                        self.committed.get_mut(&node).unwrap().extend(entries);
                    }
                    Output::Fetch { low, high, .. } => {
                        let entries = self.logs[&node][low as usize - 1..high as usize - 1].to_vec();
                        inputs.push_back((node, Input::Fetched { low, entries }));
                    }
                    Output::Failed { id, failure } => self.failed.push((node, id, failure)),
                    // Here the whole log is kept.
                    Output::ReadSnapshot { .. }
                    | Output::BeginSnapshot(_)
                    | Output::WriteSnapshot { .. }
                    | Output::FinishSnapshot(_)
                    | Output::Installed(_) => panic!("no snapshot is needed"),
                    Output::MayLeave(verdict) => self.verdicts.push((node, verdict)),
                    Output::Operated { token, result } => self.operated.push((node, token, result)),
                    Output::Reach { node, address, .. } => self.reach.push((node, address)),
                    Output::ReadAt { ids, index } => self.read_at.extend(ids.iter().map(|id| (*id, index))),
                    Output::ReadFailed(id) => self.read_failed.push(id),
                }
            }
        }
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            for node in self.replicas.keys().copied().collect::<Vec<_>>() {
                self.input(node, Input::Tick);
            }
        }
    }

    fn leader(&mut self) -> NodeId {
        for _ in 0..200 {
            self.tick(1);
            let leads = |replica: &&Replica| replica.is_leader() && replica.raw.raft.commit_to_current_term();
            let live = self.replicas.iter().filter(|(node, _)| !self.cut.contains(node));
            let mut leaders = live.map(|(_, replica)| replica).filter(leads);
            if let Some(leader) = leaders.next() {
                return leader.config.own.raft_id.node();
            }
        }
        panic!("no leader: {:?}", self.replicas)
    }

    fn propose(&mut self, node: NodeId, key: &'static str) -> RequestId {
        let origin = Origin::Key(Bytes::from_static(key.as_bytes()));
        let body = Bytes::from_static(b"{}");
        let request = Request { kind: RequestKind::Predict, origin, body };
        let id = RequestId::of(&request.origin, request.hash());
        let mut encoded = Vec::new();
        request.encode(&mut encoded);
        let encoded = encoded.into();
        self.input(
            node,
            Input::Propose { id: id.clone(), encoded, within_ticks: 100, leader_within_ticks: 50 },
        );
        id
    }

    /// An incarnation asks the leader to be taken in.
    fn join(&mut self, leader: NodeId, outsider: &Member) {
        let Member { raft_id, birth, address } = outsider.clone();
        let message = PeerMessage::Join(Join { raft_id, birth, address });
        self.input(leader, Input::Peer { from: raft_id.node(), from_raft_id: Some(raft_id), message });
    }

    fn keys(&self, node: NodeId) -> Vec<String> {
        let commands = self.committed[&node]
            .iter()
            .filter(|entry| entry.kind == crate::log::EntryKind::Normal && !entry.data.is_empty());
        let requests = commands.flat_map(|entry| Command::decode(&entry.data).unwrap().requests);
        requests
            .map(|request| match request.origin {
                Origin::Key(key) => String::from_utf8_lossy(&key).into_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn requests_of_leader_and_followers_are_committed_everywhere() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    for (node, key) in [(0, "a"), (1, "b"), (2, "c")] {
        cluster.propose(NodeId(node), key);
    }
    cluster.tick(5);
    let mut keys = cluster.keys(leader);
    for node in 0..3 {
        assert_eq!(cluster.keys(NodeId(node)), keys);
    }
    keys.sort();
    assert_eq!(keys, ["a", "b", "c"]);
}

#[test]
fn a_leader_asks_on_for_a_hold_that_a_former_one_had_asked_for() {
    use crate::transport::{Hold, Report};
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let others: Vec<NodeId> = (0..3).map(NodeId).filter(|node| *node != leader).collect();
    // Two had crashed; of them one has lost its disk since.
    for (node, crashed) in [(leader, true), (others[0], false)] {
        let report = Report { holds: vec![Hold { position: 1, round: 0, crashed }], ..Report::default() };
        cluster.input(node, Input::Condition(Box::new(Condition { report, ..Condition::default() })));
    }
    cluster.tick(2);
    assert_eq!(cluster.replicas[&leader].blocked(), None, "not at once");
    cluster.tick(200);
    assert_eq!(
        cluster.replicas[&leader].blocked(),
        Some((1, &others[1..])),
        "a person is told who is missing"
    );
}

#[test]
fn a_single_node_leads_itself() {
    let mut cluster = Cluster::new(1);
    cluster.leader();
    cluster.propose(NodeId(0), "a");
    assert_eq!(cluster.keys(NodeId(0)), ["a"]);
}

#[test]
fn a_single_voter_leads_again_only_once_its_log_is_durable() {
    let mut cluster = Cluster::new(1);
    cluster.leader();
    cluster.stalled.insert(NodeId(0));
    cluster.propose(NodeId(0), "a");
    // A former member that was elected before it heard of its removal.
    let (to, from) = (member(0, 1).raft_id, member(1, 1).raft_id);
    let heartbeat = ConsensusMessage::bare(ConsensusKind::Heartbeat, from, to, 9);
    let message = PeerMessage::Consensus(Box::new(heartbeat));
    cluster.input(NodeId(0), Input::Peer { from: NodeId(1), from_raft_id: Some(from), message });
    cluster.tick(60);
    assert!(!cluster.replicas[&NodeId(0)].is_leader());
    cluster.stalled.clear();
    cluster.input(NodeId(0), Input::Persisted(u64::MAX));
    cluster.leader();
}

#[test]
fn without_a_leader_a_request_fails_definitely_and_after_it_was_sent_unknown() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.cut.insert(leader);
    let sent = cluster.propose(leader, "sent");
    cluster.tick(120);
    assert!(cluster.failed.contains(&(leader, sent, Failure::Unknown)), "{:?}", cluster.failed);
    let unsent = cluster.propose(leader, "unsent");
    cluster.tick(60);
    assert!(cluster.failed.contains(&(leader, unsent, Failure::NoLeader)), "{:?}", cluster.failed);
}

#[test]
fn a_request_survives_the_leader_that_it_was_forwarded_to() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let follower = NodeId((leader.0 + 1) % 3);
    cluster.cut.insert(leader);
    cluster.propose(follower, "a");
    cluster.leader();
    cluster.tick(5);
    assert_eq!(cluster.keys(follower), ["a"]);
}

#[test]
fn a_wiped_node_succeeds_itself_as_a_new_incarnation() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.propose(leader, "a");
    let wiped = NodeId((leader.0 + 1) % 3);
    cluster.input(wiped, Input::MayLeave { within_ticks: 50 });
    assert_eq!(cluster.verdicts, [(wiped, Some(true))]);
    cluster.replicas.remove(&wiped);
    cluster.logs.insert(wiped, Vec::new());
    cluster.committed.insert(wiped, Vec::new());
    cluster.tick(40);
    let reborn = member(wiped.0, 2);
    let membership = founding_membership(3);
    cluster.start(reborn.clone(), 3, ReplicaStart { membership, ..ReplicaStart::default() });
    cluster.tick(40);
    let after = cluster.replicas[&leader].membership().clone();
    assert!(after.voters.contains(&reborn.raft_id), "{after:?}");
    assert_eq!(after.voters.len(), 3);
    assert_eq!(after.members.len(), 3);
    assert_eq!(cluster.replicas[&wiped].membership(), &after);
    assert_eq!(cluster.committed[&wiped], cluster.committed[&leader]);
}

#[test]
fn an_incarnation_that_asked_and_died_does_not_succeed_its_successor() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let wiped = NodeId((leader.0 + 1) % 3);
    cluster.replicas.remove(&wiped);
    cluster.tick(40);
    let join = |cluster: &mut Cluster, incarnation| cluster.join(leader, &member(wiped.0, incarnation));
    let incarnation = |cluster: &Cluster| {
        cluster.replicas[&leader].membership().incarnation(wiped).map(|member| member.birth)
    };
    join(&mut cluster, 2);
    join(&mut cluster, 3);
    cluster.tick(1);
    assert_eq!(incarnation(&cluster), Some(Birth(2)));
    cluster.tick(25);
    assert_eq!(incarnation(&cluster), Some(Birth(2)), "what was asked before it came counts no more");
    join(&mut cluster, 3);
    cluster.tick(60);
    assert_eq!(incarnation(&cluster), Some(Birth(3)));
}

#[test]
fn an_incarnation_that_asks_while_it_is_taken_out_does_not_succeed_its_successor() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let wiped = NodeId((leader.0 + 1) % 3);
    cluster.replicas.remove(&wiped);
    cluster.tick(40);
    let join = |cluster: &mut Cluster, incarnation| cluster.join(leader, &member(wiped.0, incarnation));
    cluster.stalled.insert(leader);
    join(&mut cluster, 2);
    cluster.tick(1);
    let is_joint = |cluster: &Cluster| cluster.replicas[&leader].membership().is_joint();
    for _ in 0..10 {
        if !is_joint(&cluster) {
            cluster.input(leader, Input::Persisted(u64::MAX));
        }
    }
    assert!(is_joint(&cluster));
    // It asked whether its damaged directory may go, and this comes late.
    join(&mut cluster, 1);
    cluster.stalled.clear();
    cluster.input(leader, Input::Persisted(u64::MAX));
    cluster.tick(25);
    let after = cluster.replicas[&leader].membership();
    assert!(!after.is_joint() && after.removed.contains(&member(wiped.0, 1).raft_id), "{after:?}");
    assert_eq!(after.incarnation(wiped).map(|member| member.birth), Some(Birth(2)));
}

#[test]
fn a_leader_hands_over_before_it_may_leave_and_the_last_two_must_stay() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.input(leader, Input::MayLeave { within_ticks: 100 });
    cluster.tick(30);
    assert_eq!(cluster.verdicts, [(leader, Some(true))]);
    assert!(!cluster.replicas[&leader].is_leader());
    let dead = leader;
    cluster.cut.insert(dead);
    let leader = cluster.leader();
    cluster.tick(40);
    cluster.input(leader, Input::MayLeave { within_ticks: 100 });
    cluster.tick(40);
    assert_eq!(cluster.verdicts.last(), Some(&(leader, Some(false))));
}

#[test]
fn a_dead_leader_is_replaced_before_its_lease_ends() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.tick(10);
    cluster.replicas.remove(&leader);
    let others: Vec<NodeId> = cluster.replicas.keys().copied().collect();
    for refused in [false, true] {
        for node in &others {
            cluster.input(*node, Input::Disconnected { node: leader, refused });
        }
    }
    cluster.tick(3);
    assert!(cluster.replicas.values().any(Replica::is_leader), "{:?}", cluster.replicas);
}

#[test]
fn a_node_that_greeted_no_majority_neither_votes_nor_campaigns() {
    let start = ReplicaStart { membership: founding_membership(3), ..ReplicaStart::default() };
    let mut replica = Replica::new(ReplicaConfig::new(member(0, 1), 1), start).unwrap();
    let mut outputs = Vec::new();
    for _ in 0..100 {
        replica.step(1, Input::Tick, &mut outputs).unwrap();
        replica.flush(&mut outputs).unwrap();
    }
    assert!(outputs.is_empty(), "{outputs:?}");
    replica.step(1, Input::Connected(NodeId(2)), &mut outputs).unwrap();
    for _ in 0..40 {
        replica.step(1, Input::Tick, &mut outputs).unwrap();
        replica.flush(&mut outputs).unwrap();
    }
    let campaigns =
        |output: &Output| matches!(output, Output::Send { message: PeerMessage::Consensus(_), .. });
    assert!(outputs.iter().any(campaigns), "{outputs:?}");
}

#[test]
fn a_heartbeat_that_knows_more_than_the_log_means_the_directory_went_back() {
    use crate::transport::{ConsensusKind, ConsensusMessage};
    let start = ReplicaStart { membership: founding_membership(3), ..ReplicaStart::default() };
    let mut replica = Replica::new(ReplicaConfig::new(member(0, 1), 1), start).unwrap();
    let (to, from) = (member(0, 1).raft_id, member(1, 1).raft_id);
    let heartbeat =
        ConsensusMessage { commit: 7, ..ConsensusMessage::bare(ConsensusKind::Heartbeat, from, to, 3) };
    let message = PeerMessage::Consensus(Box::new(heartbeat));
    let input = Input::Peer { from: NodeId(1), from_raft_id: Some(from), message };
    let fatal = replica.step(1, input, &mut Vec::new());
    assert_eq!(fatal, Err(Fatal::WentBack { commit: 7, last_index: 0 }));
}

#[test]
fn a_sole_voter_says_nothing_before_its_term_is_durable() {
    let [voter, learner] = [member(0, 1), member(1, 1)];
    let membership = Membership {
        voters: vec![voter.raft_id],
        learners: vec![learner.raft_id],
        members: [voter.clone(), learner.clone()].map(|member| (member.raft_id, member)).into(),
        ..Membership::default()
    };
    let start = ReplicaStart { membership, ..ReplicaStart::default() };
    let mut replica = Replica::new(ReplicaConfig::new(voter, 1), start).unwrap();
    let mut outputs = Vec::new();
    while !replica.is_leader() {
        replica.step(1, Input::Tick, &mut outputs).unwrap();
        replica.flush(&mut outputs).unwrap();
    }
    for _ in 0..10 {
        let id = RequestId::Opening(1);
        let encoded = Bytes::from_static(b"x");
        let propose = Input::Propose { id, encoded, within_ticks: 100, leader_within_ticks: 50 };
        replica.step(1, propose, &mut outputs).unwrap();
        replica.step(1, Input::Tick, &mut outputs).unwrap();
        replica.flush(&mut outputs).unwrap();
    }
    assert!(outputs.iter().any(|output| matches!(output, Output::Append { .. })), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Send { .. })), "{outputs:?}");
    replica.step(1, Input::Persisted(u64::MAX), &mut outputs).unwrap();
    replica.flush(&mut outputs).unwrap();
    assert!(outputs.iter().any(|output| matches!(output, Output::Send { .. })), "{outputs:?}");
}

#[test]
fn a_read_on_any_node_gets_the_leaders_commit() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.propose(leader, "a");
    let commit = cluster.replicas[&leader].commit();
    for node in 0..3 {
        let id = ReadId(u64::from(node));
        cluster.input(NodeId(node), Input::Read { id, within_ticks: 50, leader_within_ticks: 20 });
    }
    assert_eq!(cluster.read_at, [(ReadId(0), commit), (ReadId(1), commit), (ReadId(2), commit)]);
}

#[test]
fn a_read_of_a_leader_that_is_cut_off_fails_and_so_does_one_without_a_leader() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.cut = BTreeSet::from([leader]);
    cluster.input(leader, Input::Read { id: ReadId(1), within_ticks: 10, leader_within_ticks: 5 });
    cluster.tick(9);
    assert_eq!((cluster.read_at.len(), cluster.read_failed.len()), (0, 0));
    cluster.tick(1);
    assert_eq!(cluster.read_failed, [ReadId(1)]);
    let other = cluster.leader();
    assert_ne!(other, leader);
    // By then it has given up leading: nobody is left to ask.
    cluster.tick(40);
    assert!(!cluster.replicas[&leader].is_leader());
    cluster.input(leader, Input::Read { id: ReadId(2), within_ticks: 100, leader_within_ticks: 5 });
    cluster.tick(5);
    assert_eq!(cluster.read_failed, [ReadId(1), ReadId(2)]);
    assert_eq!(cluster.read_at, []);
}

#[test]
fn leadership_is_handed_to_the_most_caught_up() {
    for lags_first in [true, false] {
        let mut cluster = Cluster::new(3);
        let leader = cluster.leader();
        let mut others: Vec<NodeId> = (0..3).map(NodeId).filter(|node| *node != leader).collect();
        if lags_first {
            others.reverse();
        }
        // What it misses is not sent again before the next heartbeat.
        cluster.cut = BTreeSet::from([others[1]]);
        cluster.propose(leader, "a");
        cluster.cut.clear();
        cluster.input(leader, Input::HandOver);
        assert_eq!(cluster.leader(), others[0]);
    }
}

#[test]
fn what_a_log_holds_may_have_been_answered_whether_it_tells_of_the_commit_or_not() {
    let entry = |index| LogEntry { index, term: 1, kind: crate::log::EntryKind::Normal, data: Bytes::new() };
    let start = |membership| ReplicaStart {
        hard_state: HardState { term: 1, vote: 0, commit: 1 },
        membership,
        term_starts: vec![(1, 1)],
        last_index: 2,
        tail: vec![entry(2)],
        ..ReplicaStart::default()
    };
    let started = |own, membership| Replica::new(ReplicaConfig::new(own, 5), start(membership)).unwrap();
    assert_eq!(started(member(1, 1), founding_membership(3)).doubtful_index(), Some(2));
    assert_eq!(started(member(3, 1), founding_membership(3)).doubtful_index(), None);
}
