//! The operator: changes the membership, and who leads, while faults happen, and puts machines that came back elsewhere in
//! their places once the faults are over.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Checked;
use super::death::Death;
use super::faults::Fault;
use super::node::Node;
use super::process::NodeInput;
use super::running::Running;
use super::world::World;
use crate::replica::{Input, OperationResult};
use crate::{Membership, MembershipOperation as Operation, NodeId, OperationToken};

/// How long an operation may take, at most and at least, in ticks.
const WITHIN_TICKS: (u64, u64) = (50, 400);
/// How often an operation that was asked for is asked for once more, on another node.
const ASK_TWICE_PER_MILLE: u32 = 300;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Operator {
    latest: u128,
    /// On how many nodes each operation was asked for.
    asked: BTreeMap<OperationToken, u32>,
    /// Whom it took out because their damaged directories were in the way.
    taken_out: BTreeSet<NodeId>,
}

impl World {
    /// The latest membership that a running node has applied.
    pub(super) fn latest_membership(&self) -> Option<Membership> {
        let running = self.nodes.values().filter_map(|node| node.running());
        let latest = running.map(|running| running.replica.membership()).max_by_key(|known| known.index);
        latest.cloned()
    }

    /// One node moves at a time, and only once it knows where the others are, for good: what a machine forgets that nobody
    /// finds at its former address, nobody can tell it. What has lost its disk knows no more than its list.
    pub(super) fn may_move(&self, id: NodeId, death: Death) -> bool {
        let Some(latest) = self.latest_membership() else { return false };
        let known =
            |node: &Node| latest.incarnation(node.id).is_none_or(|member| member.address == node.address);
        let current =
            |node: &Node| node.running().is_some_and(|running| running.members_as_of == latest.index);
        // Who was removed is told by those it finds.
        let told = |node: &Node| {
            let knows = |running: &Running| !latest.removed.contains(&running.raft_id);
            latest.incarnation(node.id).is_some() || node.is_placeless() || node.running().is_some_and(knows)
        };
        let founded = latest.index > 0 || self.checker.commit() > 0;
        let listed = death != Death::Wipe || self.nodes.values().all(|node| node.moves == 0);
        let others_know = self.nodes.values().all(|node| known(node) && told(node));
        founded && listed && others_know && self.nodes.get(&id).is_some_and(current)
    }

    /// Asks for something.
    pub(super) fn operate(&mut self) {
        let Some(members) = self.latest_membership() else { return };
        let place = self.context.up_to(self.nodes.len().saturating_sub(1) as u64);
        let Some(node) = self.nodes.values().nth(place as usize) else { return };
        let (node, address) = (node.id, node.address.clone());
        let is_member = members.incarnation(node).is_some();
        let operation = match self.context.up_to(5) {
            0 => Operation::TransferLeader { to: Some(node) },
            1 => Operation::TransferLeader { to: None },
            2 => Operation::Replace { node, address },
            3 => Operation::Promote { node },
            _ if is_member => Operation::Remove { node },
            _ => Operation::Add { node, address },
        };
        self.operator.latest += 1;
        let token = OperationToken(self.operator.latest);
        self.ask_for(token, &operation);
    }

    fn ask_for(&mut self, token: OperationToken, operation: &Operation) {
        let (least, most) = WITHIN_TICKS;
        let within_ticks = least + self.context.up_to(most - least);
        let times = if self.context.chance(ASK_TWICE_PER_MILLE) { 2 } else { 1 };
        for _ in 0..times {
            let place = self.context.up_to(self.nodes.len().saturating_sub(1) as u64) as u16;
            let Some(node) = self.nodes.get_mut(&NodeId(place)).filter(|node| node.running().is_some())
            else {
                continue;
            };
            *self.operator.asked.entry(token).or_default() += 1;
            self.context.count(Fault::Operation);
            self.context.note(token.0 as u64, || format!("operator to node {place}: {operation}"));
            let operation = operation.clone();
            node.put(
                &mut self.context,
                NodeInput::Replica(Input::Operate { token, operation, within_ticks }),
            );
        }
    }

    /// A node says what became of an operation.
    pub(super) fn operated(&mut self, token: OperationToken, result: &OperationResult) -> Checked {
        let asked = self.operator.asked.get(&token).copied().unwrap_or(0);
        self.context.note(token.0 as u64, || format!("operation {token:?}: {result:?}"));
        match result {
            OperationResult::Done => self.context.count(Fault::OperationDone),
            OperationResult::Refused(_) => self.context.count(Fault::OperationRefused),
            OperationResult::Overloaded | OperationResult::NoLeader | OperationResult::Unknown => {}
        }
        // What one node gave up, another may still be asked for.
        if asked == 1 { self.checker.operated(token, result) } else { Ok(()) }
    }

    /// Once the faults are over: machines whose places are held at other addresses are put into them.
    pub(super) fn settle_places(&mut self) {
        let Some(members) = self.latest_membership() else { return };
        let misplaced = self.nodes.values().filter_map(|node| {
            let place = members.incarnation(node.id)?;
            // It may have moved before it lost its disk, and be found by nobody; and where whoever its list names has left, nobody
            // tells it that it is outside (seed 211843).
            let outside = match node.running() {
                Some(running) => !running.replica.is_member() && place.raft_id != running.raft_id,
                None => node.is_placeless(),
            };
            (outside && place.address != node.address).then(|| (node.id, node.address.clone()))
        });
        for (node, address) in misplaced.collect::<Vec<_>>() {
            self.operator.latest += 1;
            let token = OperationToken(self.operator.latest);
            let operation = Operation::Replace { node, address };
            self.ask_for(token, &operation);
        }
    }

    /// Once the faults are over: whoever was removed and finds nobody who could tell it is ended by hand. All that it knew the
    /// addresses of have moved or left since (seed 311755).
    pub(super) fn end_forgotten(&mut self) {
        let Some(members) = self.latest_membership() else { return };
        let is_voter = |node: &Node| node.running().is_some_and(|running| members.is_voter(running.raft_id));
        let voters: BTreeSet<NodeId> =
            self.nodes.values().filter(|node| is_voter(node)).map(|node| node.id).collect();
        let forgotten = self.nodes.values().filter(|node| {
            node.running().is_some_and(|running| {
                members.removed.contains(&running.raft_id)
                    && running.replica.connected().iter().all(|peer| !voters.contains(peer))
            })
        });
        for node in forgotten.map(|node| node.id).collect::<Vec<_>>() {
            self.die(node, Death::Kill);
        }
    }

    /// The nodes with damaged directories for which a leader waits before it quarantines a request: they do not know what they
    /// have answered.
    pub(super) fn blocking(&self) -> Vec<NodeId> {
        let leaders = self.nodes.values().filter_map(Node::running).filter(|one| one.replica.is_leader());
        let missing = leaders.filter_map(|leader| leader.replica.blocked()).flat_map(|(_, nodes)| nodes);
        let is_asking = |node: &&NodeId| self.nodes.get(*node).is_some_and(Node::is_asking);
        missing.filter(is_asking).copied().collect()
    }

    /// Once the faults are over: the alarm of a request that cannot be quarantined names who is in the way.
    pub(super) fn remove_blocking(&mut self) {
        for node in self.blocking() {
            self.operator.latest += 1;
            self.operator.taken_out.insert(node);
            self.ask_for(OperationToken(self.operator.latest), &Operation::Remove { node });
        }
        self.add_again();
    }

    /// Whoever was taken out to be set right is a member again once it is there.
    fn add_again(&mut self) {
        let Some(members) = self.latest_membership() else { return };
        let returned = self.operator.taken_out.iter().filter_map(|id| self.nodes.get(id)).filter(|node| {
            members.incarnation(node.id).is_none()
                && node.running().is_some_and(|running| running.replica.outside().is_some())
        });
        for (node, address) in returned.map(|node| (node.id, node.address.clone())).collect::<Vec<_>>() {
            self.operator.latest += 1;
            self.ask_for(OperationToken(self.operator.latest), &Operation::Add { node, address });
        }
    }
}
