//! The boundary between a node and its peers.
//!
//! A [`Transport`] carries [`PeerMessage`]s between nodes. It may lose, repeat and reorder them, and it drops rather than
//! waits when a peer is slow: Raft repeats what matters. What it must not do is invent: a message is delivered as it was
//! sent, and under the name of the peer whose [`Hello`] was accepted on its connection.

pub mod local;

use std::sync::Arc;

use bytes::Bytes;

use crate::log::LogEntry;
pub use crate::report::{Ailment, Ailments, CHECKPOINTS_MAX, Checkpoint, HOLDS_MAX, Hold, Report};
pub use crate::snapshot::SnapshotName;
use crate::{
    Birth, ClusterId, Genesis, MemberList, MembershipOperation, MembershipRefusal, NodeId, OperationToken,
    RaftId,
};

/// What a node says of itself when it opens a connection, and hears in answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The node's number.
    pub node: NodeId,
    /// The cluster, once the node knows of one.
    pub cluster: Option<ClusterId>,
    /// The node's incarnation, once it has one.
    pub raft_id: Option<RaftId>,
    /// The birth of its data directory.
    pub birth: Birth,
    /// How often this directory was started, this time included.
    pub boot: u64,
    /// Drawn anew at each start: tells two copies of one directory apart.
    pub nonce: u64,
    /// What its log held when this process opened it; `None` before that.
    pub log: Option<LogEnd>,
}

/// How far a log goes. A node that comes back has at least what it was heard to say before, unless its directory went back
/// in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEnd {
    /// The latest term that is known there, whether or not it has an entry of it.
    pub term: u64,
    /// The last entry. A later term may have taken entries away.
    pub last_index: u64,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer belongs to another cluster.
    #[error("it belongs to another cluster")]
    OtherCluster,
    /// The peer is not the node that was meant to be at this address.
    #[error("another node answers at this address")]
    WrongNode,
    /// The peer's directory went back in time, or runs twice: a later start of it has been seen.
    #[error("its directory is stale: a later start of the same directory was seen")]
    StaleDirectory,
    /// The peer's cluster was recovered without it: it goes on as this one.
    #[error("its cluster was recovered without it, and goes on as another")]
    Superseded,
    /// The peer speaks another version of the protocol.
    #[error("it speaks another version of the protocol")]
    Version,
}

/// The node's side of a handshake, asked by the transport on every connection.
pub trait Reception: Send + Sync + 'static {
    /// What this node says of itself now. It changes when the node joins a cluster; connections made before that are
    /// closed by the transport when [`PeerLinks::renew`] is called.
    fn hello(&self) -> Hello;

    /// Whether to accept what a peer says of itself; called for inbound connections and for answers to our own.
    ///
    /// # Errors
    /// The [`Refusal`] to send back before the connection is closed.
    fn judge(&self, peer: &Hello) -> Result<(), Refusal>;
}

/// Where a transport delivers. Never blocks: what does not fit is dropped.
pub trait PeerInbox: Send + Sync + 'static {
    /// Something happened on the link from or to a peer.
    fn deliver(&self, event: PeerEvent);
}

/// What a transport tells its node.
#[derive(Debug)]
pub enum PeerEvent {
    /// Our connection to the peer is up and both sides accepted each other.
    Connected(Hello),
    /// A message arrived on a connection whose hello was accepted.
    Message {
        /// Who sent it, as accepted in the handshake.
        from: NodeId,
        /// The sender's incarnation as accepted in the handshake, if it has one.
        from_raft_id: Option<RaftId>,
        /// What it says.
        message: PeerMessage,
    },
    /// Our connection to the peer ended.
    Disconnected {
        /// Whom we cannot reach.
        node: NodeId,
        /// Whether its machine refused the connection when we tried again: nobody listens there, so the process is gone.
        refused: bool,
    },
    /// The peer refused our hello, on a connection that we made, or on one that it made.
    Refused {
        /// Who refused.
        node: NodeId,
        /// Why.
        reason: Refusal,
    },
}

/// Connects a node to its peers.
///
/// # Contract
/// - After `start`, messages flow until [`PeerLinks::shutdown`]; the transport owns its tasks.
/// - Every connection is opened with [`Reception::hello`] and checked by [`Reception::judge`], on both sides. Whoever is
///   refused hears of it, whoever made the connection.
/// - Delivery from one peer over one connection keeps the order of sending.
pub trait Transport: Send + 'static {
    /// Starts receiving for this node. Must be called from within a tokio runtime if the transport needs one.
    ///
    /// # Errors
    /// What kept it from starting.
    fn start(
        self,
        reception: Arc<dyn Reception>,
        inbox: Arc<dyn PeerInbox>,
    ) -> Result<Arc<dyn PeerLinks>, TransportError>;
}

/// The sending side of a started transport.
pub trait PeerLinks: Send + Sync + 'static {
    /// Queues `messages` for `to`, in order. Returns at once; messages to an unknown or slow peer are dropped.
    fn send(&self, to: NodeId, messages: Vec<PeerMessage>);

    /// Says where peers are. Peers that are not named any more are disconnected.
    fn set_peers(&self, peers: Vec<(NodeId, String)>);

    /// Closes all connections and opens them anew, because [`Reception::hello`] changed.
    fn renew(&self);

    /// Closes all connections and stops listening.
    fn shutdown(&self);
}

/// A transport that could not start.
#[derive(Debug, thiserror::Error)]
#[error("transport: {0}")]
pub struct TransportError(pub String);

/// What peers say to each other.
#[derive(Debug, Clone, PartialEq)]
pub enum PeerMessage {
    /// Consensus: one of the kinds that Raft peers send.
    Consensus(Box<ConsensusMessage>),
    /// A request for the leader.
    Forward(Forward),
    /// The sender does not accept what this node says of itself: the only message on a connection that it made. Transports
    /// deliver it as a [`PeerEvent::Refused`].
    Refused(Refusal),
    /// The answer to a forward that was not proposed. One that was is answered by its own application on every node.
    ForwardRefused(ForwardRefused),
    /// What a node tells of itself and of the genesis it knows, to found or find a cluster.
    Introduction(Box<Introduction>),
    /// An incarnation says who it is and where it is reached: one outside the membership asks to be taken in, a member that
    /// is reached elsewhere than the membership says asks for that to be changed.
    Join(Join),
    /// The answer to an incarnation that is not in the membership.
    Outside(Box<Outside>),
    /// The answer to a member that is reached elsewhere than the membership says: while it was away, others may have come.
    Members(Box<Members>),
    /// An operation on the membership, for the leader.
    Operate(Box<Operate>),
    /// What the leader says of an operation.
    OperateAnswer(Box<OperateAnswer>),
    /// A node asks the leader whether the others can do without what is on its disk.
    LeaveQuestion {
        /// Who asks.
        raft_id: RaftId,
        /// To match the answer.
        ticket: u64,
    },
    /// The leader's answer to a [`PeerMessage::LeaveQuestion`].
    LeaveAnswer {
        /// The question's ticket.
        ticket: u64,
        /// Whether the connected voters other than the asker, holding everything committed, are a majority of all voters.
        allowed: bool,
    },
    /// The leader has a snapshot for a follower that lacks what the leader's log does not hold any more.
    SnapshotOffer(SnapshotOffer),
    /// How much of an offered snapshot its receiver has: it asks for what comes next.
    SnapshotAnswer(SnapshotAnswer),
    /// A part of a snapshot.
    SnapshotPiece(SnapshotPiece),
    /// What a node says of itself to the other members.
    Report(Box<Report>),
}

/// A leader's offer of a snapshot. Repeated until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// The incarnation that needs it.
    pub to: RaftId,
    /// The leader.
    pub from: RaftId,
    /// The leader's term.
    pub term: u64,
    /// Which snapshot.
    pub snapshot: SnapshotName,
}

/// What a receiver has of a snapshot, and so what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotAnswer {
    /// Who offered it.
    pub to: RaftId,
    /// Who receives it.
    pub from: RaftId,
    /// Which snapshot.
    pub snapshot: SnapshotName,
    /// Where the next piece begins; `None` when it cannot be taken.
    pub offset: Option<u64>,
}

/// A part of a snapshot's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Who receives it.
    pub to: RaftId,
    /// Who sends it.
    pub from: RaftId,
    /// Which snapshot.
    pub snapshot: SnapshotName,
    /// Where in the file it begins.
    pub offset: u64,
    /// The CRC-32C of `bytes`.
    pub checksum: u32,
    /// The bytes, not empty.
    pub bytes: Bytes,
}

/// A request on its way from the node that accepted it to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// To match a refusal; meaningful to the sender only.
    pub ticket: u64,
    /// The encoded request. Opaque to the transport.
    pub request: Bytes,
}

/// Why a forwarded request was not proposed. Nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRefused {
    /// The forward's ticket.
    pub ticket: u64,
    /// Why.
    pub reason: ForwardRefusal,
}

/// Why a leader, or a node taken for it, does not propose what was forwarded to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardRefusal {
    /// It does not lead.
    NotLeader,
    /// Too much waits there already.
    Overloaded,
    /// Its disk is nearly full.
    DiskFull,
}

/// What a node tells of itself while it looks for its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The birth of the sender's directory.
    pub birth: Birth,
    /// The member list the sender was configured with.
    pub members: MemberList,
    /// The genesis the sender has stored, if any. Without one it is empty.
    pub genesis: Option<Genesis>,
    /// Whether the sender asks for an answer.
    pub asks: bool,
}

/// An incarnation that says where it is reached, and asks to be taken in if it is outside the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Its Raft id; the node id in it tells whom it succeeds.
    pub raft_id: RaftId,
    /// The birth of its directory.
    pub birth: Birth,
    /// Where its peers reach it.
    pub address: String,
}

/// A member's answer to an incarnation that is not in the membership as the member knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The incarnation that is meant.
    pub raft_id: RaftId,
    /// The entry that made the membership what it is.
    pub index: u64,
    /// Where the incarnation is reached that holds the node's place, if one does.
    pub place_held_at: Option<String>,
    /// Everybody in the membership, and where they are reached.
    pub members: Vec<(NodeId, String)>,
    /// If the incarnation was in the membership, and never will be again: how many voters have to say so before it ends. Only
    /// voters do. It may not know: one that was taken out before it got anything of the log never heard that it was taken in.
    pub removed: Option<u16>,
}

/// A member's answer to another one that has moved: where all of them are, as far as it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The entry that made the membership what it is.
    pub index: u64,
    /// Everybody in the membership, and where they are reached.
    pub members: Vec<(NodeId, String)>,
}

/// An operation on the membership on its way from the node that was asked to the leader. It is sent again until the leader
/// has decided; the leader acts on the latest copy only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operate {
    /// Which copy this is; rising for each sender and start of it.
    pub ticket: u64,
    /// The term whose leader is meant. Nobody else acts on it.
    pub term: u64,
    /// What recognizes the operation.
    pub token: OperationToken,
    /// What to do.
    pub operation: MembershipOperation,
}

/// What the leader says of the copy of an operation that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperateAnswer {
    /// The copy's ticket.
    pub ticket: u64,
    /// What has come of the operation.
    pub verdict: Verdict,
}

/// What has come of an operation so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out: committed and in force as of this entry.
    Done {
        /// The entry that made the membership what it is.
        index: u64,
    },
    /// It is under way, or it cannot be said yet whether it is.
    Undecided,
    /// It is not carried out: neither this copy nor any before it.
    Refused(MembershipRefusal),
}

/// The kinds of consensus message that peers send each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConsensusKind {
    /// The leader's entries, or a probe without any.
    Append,
    /// The follower's answer to `Append`.
    AppendResponse,
    /// A candidate asks for a vote.
    RequestVote,
    /// The answer to `RequestVote`.
    RequestVoteResponse,
    /// The leader lives.
    Heartbeat,
    /// The answer to `Heartbeat`.
    HeartbeatResponse,
    /// The leader hands over: campaign at once.
    TimeoutNow,
    /// A follower asks the leader to hand over.
    TransferLeader,
    /// A follower asks up to where it must have applied to answer a read.
    ReadIndex,
    /// The answer to `ReadIndex`.
    ReadIndexResponse,
    /// A follower asks whether it would get a vote.
    RequestPreVote,
    /// The answer to `RequestPreVote`.
    RequestPreVoteResponse,
}

/// One consensus message: the fields of Raft's own message that its kind uses, the others zero.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsensusMessage {
    /// What kind of message this is.
    pub kind: ConsensusKind,
    /// The receiving incarnation.
    pub to: RaftId,
    /// The sending incarnation.
    pub from: RaftId,
    /// The sender's term (for a pre-vote, the term it would campaign in).
    pub term: u64,
    /// The term of the entry at `index`.
    pub log_term: u64,
    /// The index before the first entry, or the one acknowledged, rejected or asked for.
    pub index: u64,
    /// The entries, contiguous from `index` + 1.
    pub entries: Vec<LogEntry>,
    /// The sender's commit index.
    pub commit: u64,
    /// The term of the entry at `commit`.
    pub commit_term: u64,
    /// Whether the receiver's message was rejected.
    pub reject: bool,
    /// Where the rejecting follower suggests to look next.
    pub reject_hint: u64,
    /// The campaign's kind, or a read's context.
    pub context: Bytes,
    /// The candidate's priority.
    pub priority: i64,
}

#[cfg(test)]
impl ConsensusMessage {
    /// One that says nothing but this.
    pub(crate) fn bare(kind: ConsensusKind, from: RaftId, to: RaftId, term: u64) -> Self {
        ConsensusMessage {
            kind,
            to,
            from,
            term,
            log_term: 0,
            index: 0,
            entries: Vec::new(),
            commit: 0,
            commit_term: 0,
            reject: false,
            reject_hint: 0,
            context: Bytes::new(),
            priority: 0,
        }
    }
}
