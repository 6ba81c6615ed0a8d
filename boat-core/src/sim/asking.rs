//! A process whose directory lost what it had acknowledged: it asks whether the others can do without it (design D13).

use std::collections::BTreeSet;

use super::context::Context;
use super::node::{Effect, NodeInput};
use super::waiters::Reply;
use crate::directory::Directory;
use crate::driver::Addresses;
use crate::replica::{Failure, Input};
use crate::transport::{Introduction, Join, PeerMessage};
use crate::{MemberList, NodeId, RaftId};

/// How often the others are asked, in ticks.
const ASK_EVERY_TICKS: u64 = 10;

/// A process that asks.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) directory: Directory,
    pub(super) raft_id: RaftId,
    members: MemberList,
    /// Where the nodes are that it asks.
    pub(super) addresses: Addresses,
    others: Vec<NodeId>,
    connected: BTreeSet<NodeId>,
    /// Where they reach it.
    address: String,
    /// The first of its own questions, and the latest.
    tickets: (u64, u64),
    tick: u64,
}

impl Asking {
    pub(super) fn new(
        context: &mut Context,
        directory: Directory,
        raft_id: RaftId,
        members: MemberList,
        address: String,
    ) -> Self {
        let ticket = context.word() >> 1;
        let mut addresses = Addresses::new(raft_id.node(), &members);
        let others = addresses.changed().into_iter().flatten().map(|(node, _)| node).collect();
        let connected = BTreeSet::new();
        let tickets = (ticket, ticket);
        Asking { directory, raft_id, members, addresses, others, connected, address, tickets, tick: 0 }
    }

    /// Takes what has gathered. True: the others can do without what stands in the directory.
    pub(super) fn wake(&mut self, inputs: Vec<NodeInput>, effects: &mut Vec<Effect>) -> bool {
        let mut allowed = false;
        for input in inputs {
            match input {
                NodeInput::Replica(Input::Tick) => self.ask(effects),
                NodeInput::Replica(Input::Peer {
                    message: PeerMessage::LeaveAnswer { ticket, allowed: yes },
                    ..
                }) => {
                    allowed |= yes && (self.tickets.0..=self.tickets.1).contains(&ticket);
                }
                NodeInput::Propose { attempt, .. } => {
                    effects.push(Effect::Answer(attempt, Reply::Failed(Failure::NoLeader)));
                }
                NodeInput::Replica(Input::Peer { from, message: PeerMessage::Join(join), .. }) => {
                    self.addresses.hear(from, join.address, true);
                }
                NodeInput::Replica(Input::Connected(node)) => {
                    self.connected.insert(node);
                }
                NodeInput::Replica(Input::Disconnected { node, .. }) => {
                    self.connected.remove(&node);
                }
                NodeInput::Introduced { said, .. } => self.addresses.hear_members(&said),
                NodeInput::Replica(_) | NodeInput::Read(_) | NodeInput::Refused { .. } => {}
            }
        }
        allowed
    }

    fn ask(&mut self, effects: &mut Vec<Effect>) {
        self.addresses.tick(&self.connected);
        if let Some(peers) = self.addresses.changed() {
            self.others = peers.into_iter().map(|(node, _)| node).collect();
        }
        if self.tick.is_multiple_of(ASK_EVERY_TICKS) {
            self.tickets.1 += 1;
            let (raft_id, ticket) = (self.raft_id, self.tickets.1);
            let (birth, address) = (self.directory.birth(), self.address.clone());
            let join = Join { raft_id, birth, address };
            let introduction =
                Introduction { birth, members: self.members.clone(), genesis: None, asks: true };
            for to in self.others.iter().copied() {
                effects.push(Effect::Send(to, PeerMessage::Join(join.clone())));
                effects.push(Effect::Send(to, PeerMessage::Introduction(Box::new(introduction.clone()))));
                effects.push(Effect::Send(to, PeerMessage::LeaveQuestion { raft_id, ticket }));
            }
        }
        self.tick += 1;
    }
}
