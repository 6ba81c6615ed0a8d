//! What a process is: what wakes it, and what it does to the world.

use bytes::Bytes;

use super::asking::AskingProcess;
use super::death::Death;
use super::empty::Empty;
use super::reads::Read;
use super::running::Running;
use super::waiters::{Attempt, Reply};
use crate::replica::{Input, OperationResult, RequestId};
use crate::transport::{Introduction, PeerMessage, Refusal};
use crate::{NodeId, OperationToken};

/// What a process is woken by.
#[derive(Debug)]
pub(super) enum NodeInput {
    /// For the replica.
    Replica(Input),
    /// A peer introduces itself.
    Introduced { from: NodeId, said: Box<Introduction> },
    /// A client asks.
    Propose { attempt: Attempt, id: RequestId, encoded: Bytes },
    /// Somebody reads.
    Read(Read),
    /// A peer refuses to be connected.
    Refused { by: NodeId, reason: Refusal },
}

/// What a process does to the world.
#[derive(Debug)]
pub(super) enum Effect {
    Send(NodeId, PeerMessage),
    Answer(Attempt, Reply),
    /// For the process itself.
    Input(Input),
    /// It has become a member: its connections are made anew.
    Adopted,
    MayLeave(Option<bool>),
    /// Its directory lost what it had acknowledged: it says so in there, and ends.
    Unusable(String),
    Operated(OperationToken, OperationResult),
    Die(Death),
}

/// What runs on a node.
#[derive(Debug)]
pub(super) enum Process {
    Down,
    Empty(Box<Empty>),
    Asking(Box<AskingProcess>),
    Running(Box<Running>),
}
