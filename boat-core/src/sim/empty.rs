//! A process without a cluster: it founds one or finds one.

use super::process::{Effect, NodeInput};
use super::waiters::Reply;
use crate::directory::Directory;
use crate::driver::Whereabouts;
use crate::founding::{Founding, FoundingOutput};
use crate::replica::{Failure, Input};
use crate::transport::PeerMessage;
use crate::{Genesis, RaftId};

/// A process without a cluster.
#[derive(Debug)]
pub(super) struct Empty {
    pub(super) directory: Directory,
    pub(super) founding: Founding,
    pub(super) whereabouts: Whereabouts,
}

impl Empty {
    /// Takes what has gathered. The genesis to adopt, if there is one.
    pub(super) fn wake(&mut self, inputs: Vec<NodeInput>) -> (Vec<Effect>, Option<(Genesis, RaftId)>) {
        let (mut effects, mut outputs, mut adopted) = (Vec::new(), Vec::new(), None);
        for input in inputs {
            match input {
                NodeInput::Replica(Input::Tick) => {
                    self.founding.tick(&mut outputs);
                    self.whereabouts.tick();
                }
                NodeInput::Replica(Input::Connected(node)) => self.whereabouts.set_connected(node, true),
                NodeInput::Replica(Input::Disconnected { node, .. }) => {
                    self.whereabouts.set_connected(node, false);
                }
                NodeInput::Replica(Input::Peer { from, message: message @ PeerMessage::Join(_), .. }) => {
                    self.whereabouts.hear(from, &message);
                    self.founding.hear_of(from);
                }
                NodeInput::Introduced { from, said } => {
                    self.whereabouts.addresses.hear_members(&said);
                    self.founding.on_introduction(from, &said, &mut outputs);
                }
                NodeInput::Propose { attempt, .. } => {
                    effects.push(Effect::Answer(attempt, Reply::Failed(Failure::NoLeader)));
                }
                // A node without a cluster has nothing to show.
                NodeInput::Replica(_) | NodeInput::Read(_) | NodeInput::Refused { .. } => {}
            }
        }
        self.whereabouts.addresses.changed();
        for output in outputs {
            match output {
                FoundingOutput::Send(to, message) => effects.push(Effect::Send(to, message)),
                FoundingOutput::Adopt(genesis, raft_id) => adopted = Some((genesis, raft_id)),
            }
        }
        (effects, adopted)
    }
}
