//! How an empty node founds its cluster, or finds it (design D13).
//!
//! The lowest configured node founds, once all configured members have told it that they are empty and have the same
//! member list. A node that hears of a genesis takes it: as the voter that it names by its directory's birth, or, when it
//! is not named, as a new incarnation that asks to be taken in.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::apply::SessionLimits;
use crate::transport::{Introduction, PeerMessage};
use crate::{Birth, ClusterId, Genesis, Member, MemberList, NodeId, RaftId};

/// How often an empty node introduces itself, in ticks.
const INTRODUCE_TICKS: u64 = 10;
/// How long an introduction counts, in ticks: who was empty then may not be any more.
const FRESH_TICKS: u64 = 100;
/// How often a node that waits says for whom, in ticks.
const SAY_TICKS: u64 = 250;
/// To how many nodes outside of the list an empty node introduces itself, at most.
const STRANGERS_MAX: usize = 64;

/// What an empty node does.
#[derive(Debug)]
pub enum FoundingOutput {
    /// Tell a peer.
    Send(NodeId, PeerMessage),
    /// Store this genesis and one's own Raft id in it durably, then start as its member.
    Adopt(Genesis, RaftId),
}

#[derive(Debug)]
struct Heard {
    birth: Birth,
    tick: u64,
    same_list: bool,
}

/// An empty node, as a state machine: no clock, no socket, no file.
#[derive(Debug)]
pub struct Founding {
    node: NodeId,
    birth: Birth,
    members: MemberList,
    limits: SessionLimits,
    heard: BTreeMap<NodeId, Heard>,
    /// Nodes that are not in the list, and said where they are.
    strangers: BTreeSet<NodeId>,
    tick: u64,
    rng: ChaCha8Rng,
    adopted: bool,
    joins: bool,
}

impl Founding {
    /// An empty node in a directory of this birth. `seed` must be random: names are drawn from it.
    pub fn new(node: NodeId, birth: Birth, members: MemberList, limits: SessionLimits, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ birth.0 as u64);
        Founding {
            node,
            birth,
            members,
            limits,
            heard: BTreeMap::new(),
            strangers: BTreeSet::new(),
            tick: 0,
            rng,
            adopted: false,
            joins: false,
        }
    }

    /// Whether the node joins a cluster that is there already: then it never founds one, and takes the genesis of whomever
    /// in its list has one.
    #[must_use]
    pub fn joining(self, joins: bool) -> Self {
        Founding { joins, ..self }
    }

    /// A node said where it is: a member of a cluster that this node knows nothing of any more, perhaps.
    pub fn hear_of(&mut self, node: NodeId) {
        if self.members.address(node).is_none() && self.strangers.len() < STRANGERS_MAX {
            self.strangers.insert(node);
        }
    }

    /// Whom this node has not heard from lately.
    pub fn waiting_for(&self) -> Vec<NodeId> {
        let fresh = |node: &NodeId| {
            self.heard.get(node).is_some_and(|heard| self.tick < heard.tick + FRESH_TICKS && heard.same_list)
        };
        let others = self.members.iter().map(|(node, _)| node).filter(|node| *node != self.node);
        others.filter(|node| !fresh(node)).collect()
    }

    /// One tick has passed.
    pub fn tick(&mut self, outputs: &mut Vec<FoundingOutput>) {
        if self.adopted {
            return;
        }
        let waiting_for = self.waiting_for();
        if !self.joins && waiting_for.is_empty() && self.members.founder() == Some(self.node) {
            return self.found(outputs);
        }
        if self.tick.is_multiple_of(SAY_TICKS) && self.tick > 0 && !waiting_for.is_empty() {
            log::info!("waiting for nodes {waiting_for:?} of {} to found or find the cluster", self.members);
        }
        if self.tick.is_multiple_of(INTRODUCE_TICKS) {
            let listed = self.members.iter().map(|(node, _)| node).filter(|node| *node != self.node);
            for to in listed.chain(self.strangers.iter().copied()) {
                outputs.push(FoundingOutput::Send(to, self.introduction(true)));
            }
        }
        self.tick += 1;
    }

    /// A peer introduced itself.
    pub fn on_introduction(
        &mut self,
        from: NodeId,
        introduction: &Introduction,
        outputs: &mut Vec<FoundingOutput>,
    ) {
        if self.adopted {
            return;
        }
        let same_list = introduction.members == self.members;
        if let Some(genesis) = &introduction.genesis {
            // Another list may be a slip of the pen that made a cluster of its own: this node is no part of that. What somebody
            // with a genesis tells as its list are the members there are now.
            let founded = genesis.members.iter().any(|member| member.raft_id.node() == self.node);
            let listed = introduction.members.address(self.node).is_some();
            if same_list || founded || listed || self.joins {
                return self.adopt(genesis.clone(), outputs);
            }
        }
        if !same_list && !self.joins {
            log::warn!(
                "node {from} has another member list: {} (here: {})",
                introduction.members,
                self.members
            );
        }
        self.heard.insert(from, Heard { birth: introduction.birth, tick: self.tick, same_list });
        if introduction.asks {
            outputs.push(FoundingOutput::Send(from, self.introduction(false)));
        }
    }

    fn introduction(&self, asks: bool) -> PeerMessage {
        let members = self.members.clone();
        PeerMessage::Introduction(Box::new(Introduction { birth: self.birth, members, genesis: None, asks }))
    }

    fn found(&mut self, outputs: &mut Vec<FoundingOutput>) {
        let members = self.members.clone();
        let members = members.iter().filter_map(|(node, address)| {
            let birth = if node == self.node { self.birth } else { self.heard.get(&node)?.birth };
            let raft_id = RaftId::new(node, self.rng.next_u64());
            Some(Member { raft_id, birth, address: address.to_owned() })
        });
        let members = members.collect();
        let high = u128::from(self.rng.next_u64());
        let cluster = ClusterId(high << 64 | u128::from(self.rng.next_u64()));
        log::info!("founding cluster {cluster} with members {}", self.members);
        self.adopt(Genesis { cluster, former: Vec::new(), members, limits: self.limits }, outputs);
    }

    fn adopt(&mut self, genesis: Genesis, outputs: &mut Vec<FoundingOutput>) {
        self.adopted = true;
        let named = genesis.members.iter().find(|member| member.birth == self.birth);
        let raft_id = match named {
            Some(member) => member.raft_id,
            None => {
                log::info!("cluster {} was founded without this directory: joining it anew", genesis.cluster);
                RaftId::new(self.node, self.rng.next_u64())
            }
        };
        outputs.push(FoundingOutput::Adopt(genesis, raft_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nodes(BTreeMap<NodeId, (Founding, Option<(Genesis, RaftId)>)>);

    impl Nodes {
        fn new(count: u16) -> Self {
            let list: MemberList = MemberList::new((0..3).map(|n| (NodeId(n), format!("h:{n}")))).unwrap();
            let node = |n| {
                let birth = Birth(100 + u128::from(n));
                let limits = SessionLimits::default();
                (NodeId(n), (Founding::new(NodeId(n), birth, list.clone(), limits, 5), None))
            };
            Nodes((0..count).map(node).collect())
        }

        fn run(&mut self, ticks: usize) {
            for _ in 0..ticks {
                for node in self.0.keys().copied().collect::<Vec<_>>() {
                    let mut outputs = Vec::new();
                    self.0.get_mut(&node).unwrap().0.tick(&mut outputs);
                    self.carry_out(node, outputs);
                }
            }
        }

        fn carry_out(&mut self, node: NodeId, outputs: Vec<FoundingOutput>) {
            for output in outputs {
                match output {
                    FoundingOutput::Adopt(genesis, id) => {
                        self.0.get_mut(&node).unwrap().1 = Some((genesis, id))
                    }
                    FoundingOutput::Send(to, PeerMessage::Introduction(introduction)) => {
                        let genesis = self.0[&node].1.clone().map(|(genesis, _)| genesis);
                        let said = Introduction { genesis, ..*introduction };
                        let Some((peer, adopted)) = self.0.get_mut(&to) else { continue };
                        let mut outputs = Vec::new();
                        match adopted {
                            // What the driver of a member does.
                            Some((genesis, _)) if said.asks => {
                                let genesis = Some(genesis.clone());
                                let members = peer.members.clone();
                                let answer = Introduction { genesis, asks: false, members, ..said };
                                self.0.get_mut(&node).unwrap().0.on_introduction(to, &answer, &mut outputs);
                                self.carry_out(node, outputs);
                            }
                            _ => {
                                peer.on_introduction(node, &said, &mut outputs);
                                self.carry_out(to, outputs);
                            }
                        }
                    }
                    FoundingOutput::Send(..) => {}
                }
            }
        }
    }

    #[test]
    fn nobody_founds_with_a_part_of_the_list_and_all_agree_once_it_is_whole() {
        let mut nodes = Nodes::new(2);
        nodes.run(500);
        assert!(nodes.0.values().all(|(_, adopted)| adopted.is_none()));
        assert_eq!(nodes.0[&NodeId(0)].0.waiting_for(), [NodeId(2)]);
        nodes.0.extend(Nodes::new(3).0.into_iter().filter(|(node, _)| *node == NodeId(2)));
        nodes.run(100);
        let adopted: Vec<_> = nodes.0.values().map(|(_, adopted)| adopted.clone().unwrap()).collect();
        assert!(adopted.iter().all(|(genesis, _)| *genesis == adopted[0].0));
        let ids: Vec<RaftId> = adopted[0].0.members.iter().map(|member| member.raft_id).collect();
        assert_eq!(adopted.iter().map(|(_, id)| *id).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_reborn_node_takes_the_genesis_but_not_its_former_id() {
        let mut nodes = Nodes::new(3);
        nodes.run(100);
        let (_, former) = nodes.0[&NodeId(0)].1.clone().unwrap();
        let list = nodes.0[&NodeId(0)].0.members.clone();
        let reborn = Founding::new(NodeId(0), Birth(999), list, SessionLimits::default(), 6);
        nodes.0.insert(NodeId(0), (reborn, None));
        nodes.run(100);
        let (genesis, id) = nodes.0[&NodeId(0)].1.clone().unwrap();
        assert_eq!(Some(&genesis), nodes.0[&NodeId(1)].1.as_ref().map(|(genesis, _)| genesis));
        assert_ne!(id, former);
        assert_eq!(id.node(), NodeId(0));
    }

    #[test]
    fn another_member_list_keeps_the_cluster_from_being_founded() {
        let mut nodes = Nodes::new(3);
        let other = MemberList::new([(NodeId(1), "elsewhere:1".to_owned())]).unwrap();
        nodes.0.get_mut(&NodeId(1)).unwrap().0.members = other;
        nodes.run(300);
        assert!(nodes.0[&NodeId(0)].1.is_none());
        assert_eq!(nodes.0[&NodeId(0)].0.waiting_for(), [NodeId(1)]);
    }
}
