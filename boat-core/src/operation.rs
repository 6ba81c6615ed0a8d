//! What an operator does to the membership, and why it may be refused.

use std::time::Duration;

use crate::NodeId;

/// What recognizes one operation on the membership, however often and through whichever nodes it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationToken(pub u128);

/// A change of who takes part, or of who leads, as an operator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembershipOperation {
    /// Takes in a node that is no member, and has asked to be. It gets the log first, and its vote by itself once it has
    /// caught up.
    Add {
        /// The node.
        node: NodeId,
        /// Where its peers reach it, `host:port`: what the node says of itself, too.
        address: String,
    },
    /// Takes a node out. Its incarnation never comes back.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// Puts the incarnation that is reached at `address` in the place of the one that holds it, whether that still lives or
    /// not.
    Replace {
        /// The node.
        node: NodeId,
        /// Where peers reach the new incarnation, `host:port`.
        address: String,
    },
    /// Waits until a node has its vote.
    Promote {
        /// The node.
        node: NodeId,
    },
    /// Hands leadership over.
    TransferLeader {
        /// The node that is to lead; `None`: whichever of the others has caught up most.
        to: Option<NodeId>,
    },
}

impl std::fmt::Display for MembershipOperation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MembershipOperation::Add { node, address } => write!(f, "add node {node} at {address}"),
            MembershipOperation::Remove { node } => write!(f, "remove node {node}"),
            MembershipOperation::Replace { node, address } => {
                write!(f, "replace node {node} by the one at {address}")
            }
            MembershipOperation::Promote { node } => write!(f, "promote node {node}"),
            MembershipOperation::TransferLeader { to: Some(node) } => {
                write!(f, "transfer leadership to node {node}")
            }
            MembershipOperation::TransferLeader { to: None } => f.write_str("transfer leadership"),
        }
    }
}

/// Why a leader does not carry an operation out. Nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipRefusal {
    /// The connected voters that would remain, holding everything committed, would be no majority of all that remain.
    #[error(
        "would lose the quorum: the connected nodes that hold everything committed would be no majority of the voters that remain"
    )]
    WouldLoseQuorum,
    /// Another change of the membership is not finished.
    #[error("another change of the membership is under way")]
    ChangeUnderWay,
    /// The node is no member.
    #[error("the node is no member")]
    NotAMember,
    /// The node is a member, at another address than the one that was given.
    #[error("the node is a member already, and is reached at {address}")]
    AlreadyMember {
        /// Where it is reached.
        address: String,
    },
    /// No node of this number asked to be taken in.
    #[error(
        "no such node has asked to be taken in: start it with an empty directory, and with members of this cluster in its list"
    )]
    NotThere,
    /// A node of this number asked to be taken in, from another address.
    #[error("the node that asked to be taken in is reached at {address}")]
    OtherAddress {
        /// Where.
        address: String,
    },
    /// The node has no vote, so it cannot lead.
    #[error("the node has no vote")]
    NotAVoter,
    /// The leader has not heard from the node lately.
    #[error("the leader does not hear from the node")]
    Unreachable,
    /// There are as many members as there may be.
    #[error("there are as many members as there may be")]
    TooManyMembers,
}

/// Why an operation on the membership has no result. [`MembershipError::may_be_applied`] tells the two kinds apart: after a
/// *definite* one nothing happened and nothing will; after an *unknown* one, look at the membership, or ask again with the
/// same key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// The operation makes no sense as it was asked for. Definite.
    #[error("invalid operation: {0}")]
    Invalid(String),
    /// The leader refused it. Definite.
    #[error("{operation}: {refusal}")]
    Refused {
        /// What was asked for.
        operation: MembershipOperation,
        /// Why not.
        refusal: MembershipRefusal,
    },
    /// Too many operations wait on this node. Definite.
    #[error("{0} operations on the membership wait on this node already")]
    Overloaded(usize),
    /// No leader was found in the time that was waited. Definite.
    #[error("this node knew of no leader for {0:?}: a majority of the nodes must be up and see each other")]
    NoLeader(Duration),
    /// The node stops, and nobody was asked. Definite.
    #[error("the node is shutting down")]
    Stopped,
    /// No result in time: the operation may have been carried out, or may yet be.
    #[error(
        "no result within {waited:?}; it may have been carried out, or may yet be: look at the membership, or ask again with key {key}"
    )]
    Unknown {
        /// How long was waited.
        waited: Duration,
        /// The key to ask again with.
        key: String,
    },
}

impl MembershipError {
    /// Whether the operation may have been carried out, or may yet be: only for [`MembershipError::Unknown`].
    pub fn may_be_applied(&self) -> bool {
        matches!(self, MembershipError::Unknown { .. })
    }
}
