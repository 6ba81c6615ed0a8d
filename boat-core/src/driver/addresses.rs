//! Where peers are dialed. What the membership says counts, but it may be old here: a node that was down hears of nothing,
//! and one that asks to be taken in knows the genesis only. So what a node says of itself is tried first, and while a node
//! cannot be reached, each address that was ever given for it has its turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::transport::Introduction;
use crate::{MemberList, Membership, NodeId};

/// How long a node that is not connected is dialed at one address before the next has its turn, in ticks.
const TURN_TICKS: u64 = 50;
/// How long an address that was heard is remembered, in ticks.
const HEARD_TICKS: u64 = 3_000;
/// How long a connection is left alone after an urgent address was tried in its place, in ticks.
const URGENT_AGAIN_TICKS: u64 = 4 * TURN_TICKS;
/// How many nodes' addresses are remembered because they were heard.
const HEARD_MAX: usize = 64;

#[derive(Debug)]
struct Heard {
    address: String,
    tick: u64,
    /// When it was last dialed out of turn.
    urgent_tick: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Dialed {
    address: String,
    since_tick: u64,
    /// Whether the next address has its turn.
    turn: bool,
}

/// The addresses at which one node dials its peers.
#[derive(Debug)]
pub(crate) struct Addresses {
    own: NodeId,
    tick: u64,
    configured: BTreeMap<NodeId, String>,
    members: BTreeMap<NodeId, String>,
    heard: BTreeMap<NodeId, Heard>,
    dialed: BTreeMap<NodeId, Dialed>,
    /// Whether something changed since [`Addresses::changed`] was asked.
    dirty: bool,
}

impl Addresses {
    /// Those of a node with this list.
    pub(crate) fn new(own: NodeId, configured: &MemberList) -> Self {
        Addresses {
            own,
            tick: 0,
            configured: configured.iter().map(|(node, address)| (node, address.to_owned())).collect(),
            members: BTreeMap::new(),
            heard: BTreeMap::new(),
            dialed: BTreeMap::new(),
            dirty: true,
        }
    }

    /// The membership is this now. Who left is dialed for a while yet: it has to be told.
    pub(crate) fn set_membership(&mut self, membership: &Membership) {
        let ids = membership.members.keys().map(|id| id.node());
        let member = |node| Some((node, membership.incarnation(node)?.address.clone()));
        let after: BTreeMap<NodeId, String> = ids.filter_map(member).collect();
        self.dirty = true;
        for (node, address) in std::mem::replace(&mut self.members, after) {
            match self.members.get(&node) {
                None => self.hear(node, address, false),
                // What was heard before is what it was, or older.
                Some(now) if *now != address => {
                    self.heard.remove(&node);
                }
                Some(_) => {}
            }
        }
    }

    /// A node may be reached here, whatever else is known. `urgent`: dial there even if it is connected elsewhere.
    pub(crate) fn hear(&mut self, node: NodeId, address: String, urgent: bool) {
        let tick = self.tick;
        let known = self.heard.get(&node).filter(|known| known.address == address);
        let last = known.and_then(|known| known.urgent_tick);
        let now = urgent && last.is_none_or(|last| tick >= last + URGENT_AGAIN_TICKS);
        let urgent_tick = if now { Some(tick) } else { last };
        if known.is_none() || now {
            self.dirty = true;
        }
        if now && self.dialed.get(&node).is_some_and(|dialed| dialed.address != address) {
            self.dialed.insert(node, Dialed { address: address.clone(), since_tick: tick, turn: false });
        }
        if node != self.own && (self.heard.len() < HEARD_MAX || self.heard.contains_key(&node)) {
            self.heard.insert(node, Heard { address, tick, urgent_tick });
        }
    }

    /// A node introduced itself: one that is in a cluster says where its members are now.
    pub(crate) fn hear_members(&mut self, said: &Introduction) {
        for (node, address) in said.members.iter().filter(|_| said.genesis.is_some()) {
            self.hear(node, address.to_owned(), false);
        }
    }

    /// One tick has passed.
    pub(crate) fn tick(&mut self, connected: &BTreeSet<NodeId>) {
        self.tick += 1;
        let (tick, before) = (self.tick, self.heard.len());
        self.heard.retain(|_, heard| tick < heard.tick + HEARD_TICKS);
        self.dirty |= self.heard.len() != before;
        for (node, dialed) in &mut self.dialed {
            if connected.contains(node) {
                dialed.since_tick = tick;
            } else if tick >= dialed.since_tick + TURN_TICKS {
                // The next one has its turn.
                dialed.since_tick = tick;
                dialed.turn = true;
                self.dirty = true;
            }
        }
    }

    /// Whom to dial, and where, if that may have changed.
    pub(crate) fn changed(&mut self) -> Option<Vec<(NodeId, String)>> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        self.settle();
        Some(self.dialed.iter().map(|(node, dialed)| (*node, dialed.address.clone())).collect())
    }

    /// Where a node is dialed now.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn dialed(&self, node: NodeId) -> Option<&str> {
        self.dialed.get(&node).map(|dialed| dialed.address.as_str())
    }

    fn settle(&mut self) {
        let nodes = self.nodes();
        self.dialed.retain(|node, _| nodes.contains(node));
        for node in nodes {
            let candidates = self.candidates(node);
            let known = self.dialed.get(&node);
            let place = known.and_then(|known| candidates.iter().position(|one| *one == known.address));
            let next = match (place, known) {
                (Some(place), Some(known)) if known.turn => (place + 1) % candidates.len(),
                (Some(_), _) => continue,
                (None, _) => 0,
            };
            if let Some(address) = candidates.into_iter().nth(next) {
                self.dialed.insert(node, Dialed { address, since_tick: self.tick, turn: false });
            }
        }
    }

    fn nodes(&self) -> BTreeSet<NodeId> {
        let all = self.configured.keys().chain(self.members.keys()).chain(self.heard.keys());
        all.copied().filter(|node| *node != self.own).collect()
    }

    /// The addresses of a node, the likeliest first, each once.
    fn candidates(&self, node: NodeId) -> Vec<String> {
        let heard = self.heard.get(&node).map(|heard| &heard.address);
        let known = [heard, self.members.get(&node), self.configured.get(&node)];
        let mut candidates: Vec<String> = Vec::new();
        for address in known.into_iter().flatten() {
            if !candidates.contains(address) {
                candidates.push(address.clone());
            }
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Birth, Member, RaftId};

    fn addresses() -> Addresses {
        Addresses::new(NodeId(0), &"0=own:1,1=configured:1,2=configured:2".parse().unwrap())
    }

    fn membership(address: &str) -> Membership {
        let raft_id = RaftId::new(NodeId(1), 7);
        let member = Member { raft_id, birth: Birth(1), address: address.to_owned() };
        let members = [(raft_id, member)].into();
        Membership { voters: vec![raft_id], members, ..Membership::default() }
    }

    fn dialed(addresses: &mut Addresses, node: u16) -> Option<String> {
        addresses.settle();
        addresses.dialed.get(&NodeId(node)).map(|dialed| dialed.address.clone())
    }

    fn pass(addresses: &mut Addresses, ticks: u64, connected: &[u16]) {
        for _ in 0..ticks {
            addresses.tick(&connected.iter().copied().map(NodeId).collect());
            addresses.changed();
        }
    }

    #[test]
    fn an_unreachable_node_is_dialed_at_each_of_its_addresses_in_turn() {
        let mut addresses = addresses();
        addresses.changed();
        addresses.set_membership(&membership("member:1"));
        let mut seen = BTreeSet::new();
        for _ in 0..2 {
            seen.extend(dialed(&mut addresses, 1));
            pass(&mut addresses, TURN_TICKS, &[]);
        }
        assert_eq!(seen, ["configured:1", "member:1"].map(str::to_owned).into());
        let before = dialed(&mut addresses, 1);
        pass(&mut addresses, 3 * TURN_TICKS, &[1]);
        assert_eq!(dialed(&mut addresses, 1), before, "a connected one is left alone");
    }

    #[test]
    fn what_a_member_says_of_itself_counts_at_once_until_the_membership_says_more() {
        let mut addresses = addresses();
        addresses.set_membership(&membership("member:1"));
        pass(&mut addresses, 1, &[1]);
        addresses.hear(NodeId(1), "moved:1".to_owned(), false);
        assert_ne!(dialed(&mut addresses, 1).as_deref(), Some("moved:1"));
        addresses.hear(NodeId(1), "moved:1".to_owned(), true);
        assert_eq!(dialed(&mut addresses, 1).as_deref(), Some("moved:1"));
        addresses.set_membership(&membership("moved:2"));
        assert_ne!(dialed(&mut addresses, 1).as_deref(), Some("moved:1"));
    }

    #[test]
    fn who_left_is_dialed_for_a_while_and_strangers_are_forgotten() {
        let mut addresses = addresses();
        addresses.hear(NodeId(9), "stranger:9".to_owned(), true);
        addresses.set_membership(&membership("member:1"));
        addresses.configured.remove(&NodeId(1));
        addresses.set_membership(&Membership::default());
        assert!(dialed(&mut addresses, 9).is_some());
        assert_eq!(dialed(&mut addresses, 1).as_deref(), Some("member:1"));
        pass(&mut addresses, HEARD_TICKS, &[]);
        assert_eq!((dialed(&mut addresses, 1), dialed(&mut addresses, 9)), (None, None));
        assert_eq!(addresses.changed(), None, "nothing changes any more");
    }
}
