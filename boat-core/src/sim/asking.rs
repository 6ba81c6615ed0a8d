//! A process whose directory lost what it had acknowledged: it asks whether the others can do without it (design D13).

use super::context::Context;
use super::node::{Effect, NodeInput};
use super::waiters::Reply;
use crate::directory::Directory;
use crate::replica::{Failure, Input};
use crate::transport::PeerMessage;
use crate::{MemberList, RaftId};

/// How often the others are asked, in ticks.
const ASK_EVERY_TICKS: u64 = 10;

/// A process that asks.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) directory: Directory,
    pub(super) raft_id: RaftId,
    /// The nodes that it asks, where it knows them to be.
    pub(super) members: MemberList,
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
    ) -> Self {
        let ticket = context.word() >> 1;
        Asking { directory, raft_id, members, tickets: (ticket, ticket), tick: 0 }
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
                NodeInput::Replica(_) | NodeInput::Introduced { .. } | NodeInput::Read(_) => {}
            }
        }
        allowed
    }

    fn ask(&mut self, effects: &mut Vec<Effect>) {
        if self.tick.is_multiple_of(ASK_EVERY_TICKS) {
            self.tickets.1 += 1;
            let (raft_id, ticket) = (self.raft_id, self.tickets.1);
            let question = || PeerMessage::LeaveQuestion { raft_id, ticket };
            let others = self.members.iter().filter(|(node, _)| *node != raft_id.node());
            effects.extend(others.map(|(to, _)| Effect::Send(to, question())));
        }
        self.tick += 1;
    }
}
