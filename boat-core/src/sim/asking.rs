//! A process whose directory lost what it had acknowledged: it asks whether the others can do without it (design D13).

use std::time::Duration;

use super::context::Context;
use super::node::{Effect, NodeInput};
use super::options::TICK_MS;
use super::waiters::Reply;
use crate::MemberList;
use crate::directory::Directory;
use crate::driver::Asking;
use crate::replica::{Failure, Input};
use crate::transport::{Join, PeerMessage};

/// A process that asks.
#[derive(Debug)]
pub(super) struct AskingProcess {
    pub(super) directory: Directory,
    pub(super) asking: Asking,
}

impl AskingProcess {
    pub(super) fn new(context: &mut Context, directory: Directory, own: Join, members: MemberList) -> Self {
        let tick = Duration::from_millis(TICK_MS);
        AskingProcess { directory, asking: Asking::new(own, members, tick, context.word()) }
    }

    /// Takes what has gathered. True: the others can do without what stands in the directory.
    pub(super) fn wake(&mut self, inputs: Vec<NodeInput>, effects: &mut Vec<Effect>) -> bool {
        for input in inputs {
            match input {
                NodeInput::Replica(Input::Tick) => {
                    let questions = self.asking.tick().into_iter();
                    let said = questions.flat_map(|(to, said)| said.into_iter().map(move |said| (to, said)));
                    effects.extend(said.map(|(to, said)| Effect::Send(to, said)));
                }
                NodeInput::Replica(Input::Peer { from, message, .. }) => self.asking.hear(from, &message),
                NodeInput::Replica(Input::Connected(node)) => self.asking.set_connected(node, true),
                NodeInput::Replica(Input::Disconnected { node, .. }) => {
                    self.asking.set_connected(node, false);
                }
                NodeInput::Introduced { from, said } => {
                    self.asking.hear(from, &PeerMessage::Introduction(said));
                }
                NodeInput::Propose { attempt, .. } => {
                    effects.push(Effect::Answer(attempt, Reply::Failed(Failure::NoLeader)));
                }
                NodeInput::Replica(_) | NodeInput::Read(_) | NodeInput::Refused { .. } => {}
            }
        }
        self.asking.may_begin_anew()
    }
}
