//! Nodes in one thread, and what is between them: everything that is said arrives at once, unless the scenario wills.

use std::collections::{BTreeMap, VecDeque};

use boat_core::proof::Asking;
use boat_core::replica::Input;
use boat_core::{Birth, Member, Membership, NodeId, OperationToken, RaftId};

use super::describe;
use super::disk::{Disk, Saved};
use super::links::Links;
use super::node::{Limits, Node};
use super::seeker::Seeker;
use super::trace::Trace;

#[derive(Default)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) disks: BTreeMap<NodeId, Disk>,
    /// Nodes that have nothing, and look for their cluster.
    pub(crate) seekers: BTreeMap<NodeId, Seeker>,
    /// Nodes that ask whether the others can do without what their directories held.
    pub(crate) askers: BTreeMap<NodeId, Asking>,
    /// How many starts found their directories damaged.
    pub(crate) damages: u64,
    pub(crate) links: Links,
    pub(crate) trace: Trace,
    /// Whether nodes reach only whom they dial where it is.
    pub(crate) dials: bool,
    /// Where each node is reached that is not where its number says.
    addresses: BTreeMap<NodeId, String>,
    pub(crate) incarnations: BTreeMap<NodeId, u64>,
    pub(crate) founders: Membership,
    copies: BTreeMap<NodeId, Disk>,
    /// What is small in this scenario.
    pub(crate) limits: Option<Limits>,
    pub(crate) inputs: VecDeque<(NodeId, Input)>,
    /// Nodes that stand still, and what has gathered there.
    pub(crate) paused: BTreeMap<NodeId, Vec<Input>>,
    /// Operations by the names that the scenario gave them.
    pub(crate) operations: Vec<String>,
}

impl Cluster {
    /// Starts the founders of a cluster.
    pub(crate) fn found(&mut self, count: u16) {
        let members: Vec<Member> = (0..count).map(|node| self.member(NodeId(node))).collect();
        self.founders = Membership {
            voters: members.iter().map(|member| member.raft_id).collect(),
            members: members.into_iter().map(|member| (member.raft_id, member)).collect(),
            ..Membership::default()
        };
        (0..count).for_each(|node| self.start_empty(NodeId(node)));
    }

    pub(crate) fn member(&self, node: NodeId) -> Member {
        let incarnation = self.incarnations.get(&node).copied().unwrap_or(1);
        let address = self.addresses.get(&node).cloned().unwrap_or_else(|| format!("host-{node}:1"));
        let birth = Birth(u128::from(incarnation));
        Member { raft_id: RaftId::new(node, incarnation), birth, address }
    }

    /// Starts a node that has nothing but the genesis.
    pub(crate) fn start_empty(&mut self, node: NodeId) {
        self.disks.insert(node, Disk::new(self.founders.clone()));
        self.start(node);
    }

    /// The node loses its disk, and comes back as another incarnation.
    pub(crate) fn wipe(&mut self, node: NodeId) {
        self.end(node);
        *self.incarnations.entry(node).or_insert(1) += 1;
        self.start_empty(node);
    }

    /// Where the node is reached from its next start on.
    pub(crate) fn move_to(&mut self, node: NodeId, address: &str) {
        self.addresses.insert(node, address.to_owned());
    }

    /// Starts a node from its disk, and connects it with all that run.
    pub(crate) fn start(&mut self, node: NodeId) {
        let (own, limits) = (self.member(node), self.limits);
        let disk = self.disks.get_mut(&node).unwrap();
        let from = match disk.open() {
            Ok(from) => from,
            Err(error) => return self.trace.line(format!("{node} does not start: {error}")),
        };
        let started = Node::start(own, disk, from, limits);
        self.nodes.insert(node, started);
        if self.dials {
            return self.begin_to_dial(node);
        }
        let peers: Vec<NodeId> = self.nodes.keys().copied().filter(|peer| *peer != node).collect();
        for peer in peers {
            self.input(node, Input::Connected(peer));
            self.input(peer, Input::Connected(node));
        }
    }

    /// A process ends.
    pub(crate) fn end(&mut self, node: NodeId) {
        self.nodes.remove(&node);
        self.disks.get_mut(&node).into_iter().for_each(Disk::close);
    }

    /// The machine loses power, and is silent.
    pub(crate) fn lose_power(&mut self, node: NodeId) {
        self.disks.get_mut(&node).unwrap().lose_power();
        self.stop(node, false);
    }

    /// The process ends; if it `refused`, its machine says so when the others ask.
    pub(crate) fn stop(&mut self, node: NodeId, refused: bool) {
        self.end(node);
        let peers: Vec<NodeId> = self.nodes.keys().copied().filter(|_| refused).collect();
        for refused in [false, true] {
            peers.iter().for_each(|peer| self.input(*peer, Input::Disconnected { node, refused }));
        }
    }

    /// The process stands still.
    pub(crate) fn pause(&mut self, node: NodeId) {
        self.paused.insert(node, Vec::new());
    }

    /// The process goes on, and takes all that has gathered in one turn.
    pub(crate) fn resume(&mut self, node: NodeId) {
        let gathered = self.paused.remove(&node).unwrap_or_default();
        self.turn(node, gathered);
        self.run();
    }

    /// Somebody copies a disk.
    pub(crate) fn copy_disk(&mut self, node: NodeId) {
        self.copies.insert(node, self.disks[&node].copy());
    }

    /// The node ends, and its disk is what it was when it was copied.
    pub(crate) fn restore_disk(&mut self, node: NodeId) {
        self.end(node);
        self.disks.insert(node, self.copies[&node].copy());
    }

    /// The disk of a node takes writes again.
    pub(crate) fn go_on(&mut self, node: NodeId) {
        let Some(own) = self.nodes.get_mut(&node) else { return };
        own.hangs = false;
        std::mem::take(&mut own.unwritten).into_iter().for_each(|unwritten| self.write(node, unwritten));
        self.run();
    }

    /// The disk of a node takes the oldest of the writes for which it hangs, and hangs on.
    pub(crate) fn sync_oldest(&mut self, node: NodeId) {
        let unwritten = self.nodes.get_mut(&node).unwrap().unwritten.pop_front().unwrap();
        self.trace.line(format!("{node} has on disk: {}", describe::write(&unwritten.write)));
        self.write(node, unwritten);
        self.run();
    }

    /// A node takes a snapshot of what it has applied, and cuts its log behind it, or behind the one before.
    pub(crate) fn take_snapshot(&mut self, node: NodeId, keeps_older: bool) {
        let (own, disk) = (&self.nodes[&node], &self.disks[&node]);
        let membership = own.replica.membership().clone();
        let saved = Saved { applier: own.applier.clone(), model: own.model.clone() };
        let newest = disk.save(&saved, membership, own.quarantine.decisions().clone()).unwrap();
        let cut_to = if keeps_older { disk.oldest_snapshot() } else { saved.applier.index() };
        self.input(node, Input::SnapshotTaken { newest: Box::new(newest), cut_to });
    }

    /// Delivers what was kept back, on one link or on all.
    pub(crate) fn deliver_late(&mut self, only: Option<(NodeId, NodeId)>) {
        for letter in self.links.take_late(only) {
            self.trace.late(&letter);
            self.arrive(letter);
        }
        self.run();
    }

    pub(crate) fn tick(&mut self, only: Option<NodeId>) {
        self.trace.tick();
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes.into_iter().filter(|node| only.is_none_or(|only| only == *node)) {
            let runs = !self.paused.contains_key(&node);
            let Some(own) = self.nodes.get(&node).filter(|_| runs) else { continue };
            let condition = own.condition();
            self.input(node, Input::Condition(Box::new(condition)));
            self.input(node, Input::Tick);
            self.dial(node);
        }
        let seekers: Vec<NodeId> = self.seekers.keys().copied().collect();
        let seekers = seekers.into_iter().filter(|node| only.is_none_or(|only| only == *node));
        seekers.for_each(|node| self.tick_seeker(node));
        let askers: Vec<NodeId> = self.askers.keys().copied().collect();
        let askers = askers.into_iter().filter(|node| only.is_none_or(|only| only == *node));
        askers.for_each(|node| self.tick_asker(node));
    }

    /// A new name for an operation.
    pub(crate) fn operation(&mut self, name: String) -> OperationToken {
        let place = self.operations.iter().position(|known| *known == name).unwrap_or(self.operations.len());
        if place == self.operations.len() {
            self.operations.push(name);
        }
        self.trace.operations.clone_from(&self.operations);
        // Token 0 stands for none.
        OperationToken(place as u128 + 1)
    }

    /// One line about each node.
    pub(crate) fn show(&mut self) {
        for node in self.nodes.values() {
            self.trace.always(describe::node(node, &self.disks[&node.id()]));
        }
    }
}
