//! What a replica is told, what it asks for, and why it ends.

use bytes::Bytes;

use super::{Condition, Failure, KeptSnapshot, OperationResult, ReadId, RequestId};
use crate::log::{LogEntry, LogWrite};
use crate::quarantine::Decisions;
use crate::transport::{PeerMessage, SnapshotName};
use crate::{Membership, MembershipOperation, NodeId, OperationToken, RaftId};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// One tick has passed.
    Tick,
    /// A peer said something, over a connection whose handshake named it.
    Peer {
        /// The peer.
        from: NodeId,
        /// Its incarnation, if it has one.
        from_raft_id: Option<RaftId>,
        /// What it said.
        message: PeerMessage,
    },
    /// A handshake with a peer was completed.
    Connected(NodeId),
    /// Our connection to a peer ended; `refused` when nobody listens there any more.
    Disconnected {
        /// The peer.
        node: NodeId,
        /// Whether a new connection was refused.
        refused: bool,
    },
    /// A request of this node. It is answered by its application, or by [`Output::Failed`].
    Propose {
        /// What recognizes it.
        id: RequestId,
        /// The encoded request.
        encoded: Bytes,
        /// Ticks from now until its time is over.
        within_ticks: u64,
        /// Ticks from now that it waits for a leader, at most.
        leader_within_ticks: u64,
    },
    /// A read that must see everything that was answered before it came. Answered by [`Output::ReadAt`] or
    /// [`Output::ReadFailed`].
    Read {
        /// What recognizes it.
        id: ReadId,
        /// Ticks from now until its time is over.
        within_ticks: u64,
        /// Ticks from now that it waits for a leader, at most.
        leader_within_ticks: u64,
    },
    /// The write of this mark, and all before it, are durable.
    Persisted(u64),
    /// Requests of this node were applied.
    Answered(Vec<RequestId>),
    /// The entries that an [`Output::Fetch`] asked for, from `low` on.
    Fetched {
        /// The first index asked for.
        low: u64,
        /// The entries.
        entries: Vec<LogEntry>,
    },
    /// A snapshot was taken here, and is the newest.
    SnapshotTaken {
        /// Which one.
        newest: Box<KeptSnapshot>,
        /// Up to here nothing is needed of the log, should the newest prove damaged.
        cut_to: u64,
    },
    /// The part of a snapshot that an [`Output::ReadSnapshot`] asked for.
    SnapshotRead {
        /// Whom it is for.
        to: RaftId,
        /// Which snapshot.
        snapshot: SnapshotName,
        /// Where the part begins.
        offset: u64,
        /// The part; `None` when the snapshot is not there any more.
        bytes: Option<Bytes>,
    },
    /// An [`Output::BeginSnapshot`] or [`Output::WriteSnapshot`] was carried out.
    SnapshotWritten {
        /// Which snapshot.
        snapshot: SnapshotName,
        /// How many bytes of it are here, from the first on; `None` when it cannot be taken.
        bytes: Option<u64>,
    },
    /// An [`Output::FinishSnapshot`] was carried out.
    SnapshotFinished {
        /// Which snapshot.
        snapshot: SnapshotName,
        /// What it holds; `None` when it was not the one that was offered, and was dropped.
        kept: Option<Box<KeptSnapshot>>,
    },
    /// May this node's disk be wiped? Answered by [`Output::MayLeave`].
    MayLeave {
        /// Ticks from now until the answer is no.
        within_ticks: u64,
    },
    /// An operation on the membership that was asked for on this node. Answered by [`Output::Operated`].
    Operate {
        /// What recognizes it.
        token: OperationToken,
        /// What to do.
        operation: MembershipOperation,
        /// Ticks from now until its time is over.
        within_ticks: u64,
    },
    /// The disk is nearly full, or is not any more: whether to propose what others forward.
    DiskFull(bool),
    /// How this node is: given with every tick.
    Condition(Box<Condition>),
    /// An operator wants the request at this position quarantined, whatever it was answered.
    Force {
        /// Which request.
        position: u64,
        /// Ticks from now that the wish stands.
        within_ticks: u64,
    },
    /// The node is about to stop: hand leadership over.
    HandOver,
}

/// See [`Replica::settled`](super::Replica::settled).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// Something to do. Outputs are carried out in order; [`Output::Append`]s may run while later outputs are carried out.
#[derive(Debug)]
pub enum Output {
    /// May leave at once: whatever it promises is durable.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// One atomic log write. Answered by [`Input::Persisted`] once it is durable.
    Append {
        /// What to say it is durable by; rising.
        mark: u64,
        /// What to write.
        write: Box<LogWrite>,
        /// Whether it must be synced; if not it only rides along, and is answered as soon as it is written.
        sync: bool,
    },
    /// The log has decided this about requests that crash models. To be made durable before any later output is carried
    /// out: a replay must know it before it begins.
    Decided(Decisions),
    /// The leader asks that the request at this position is not run until the log decides, if this node is not past it: a
    /// promise, told by the next [`Input::Condition`] once it is durable.
    Hold {
        /// Which request.
        position: u64,
        /// The round it is in.
        round: u32,
    },
    /// This node's digest differs from that of a majority: say so, and rebuild the predictor's state unless that was tried
    /// often enough.
    Diverged {
        /// Where it was found.
        position: u64,
        /// Whether to begin anew.
        rebuild: bool,
    },
    /// These entries are committed, durable here, and contiguous with those before: apply them.
    Committed(Vec<LogEntry>),
    /// Read entries from the log, `low` up to but not including `high`. Answered by [`Input::Fetched`], for which a follower
    /// that lags far behind waits: the later, the slower it is caught up with. Nothing has to be read where `high` is `low`.
    Fetch {
        /// The first index.
        low: u64,
        /// The index behind the last.
        high: u64,
        /// At most so many bytes, but at least one entry.
        bytes_max: u64,
    },
    /// Read a part of a snapshot. Answered by [`Input::SnapshotRead`].
    ReadSnapshot {
        /// Whom it is for.
        to: RaftId,
        /// Which snapshot.
        snapshot: SnapshotName,
        /// Where the part begins.
        offset: u64,
        /// How long it is.
        bytes: usize,
    },
    /// A snapshot is going to arrive: make room for it. Answered by [`Input::SnapshotWritten`].
    BeginSnapshot(SnapshotName),
    /// Write a part of the snapshot that arrives. Answered by [`Input::SnapshotWritten`].
    WriteSnapshot {
        /// Which snapshot.
        snapshot: SnapshotName,
        /// Where the part begins.
        offset: u64,
        /// The part.
        bytes: Bytes,
    },
    /// All of the snapshot that arrives is here: verify it, and make it durable. Answered by [`Input::SnapshotFinished`].
    FinishSnapshot(SnapshotName),
    /// The snapshot that arrived is where the log begins now, durably: the applier goes on from it, and other snapshots are
    /// of no use any more.
    Installed(Box<KeptSnapshot>),
    /// A waiting request gets no outcome.
    Failed {
        /// Which one.
        id: RequestId,
        /// Why.
        failure: Failure,
    },
    /// These reads may be answered by whoever has applied everything up to this index.
    ReadAt {
        /// Which ones.
        ids: Vec<ReadId>,
        /// The entry that must be applied, with all before it.
        index: u64,
    },
    /// No leader confirmed in time what this read must see.
    ReadFailed(ReadId),
    /// The membership changed: peers and their addresses.
    Membership(Box<Membership>),
    /// A node may be reached at this address, whatever else is known of it.
    Reach {
        /// The node.
        node: NodeId,
        /// `host:port`.
        address: String,
        /// Whether to try there at once, even if the node is connected at another address.
        urgent: bool,
    },
    /// The answer to [`Input::Operate`].
    Operated {
        /// Which operation.
        token: OperationToken,
        /// What became of it.
        result: OperationResult,
    },
    /// The answer to [`Input::MayLeave`]; `None` when nobody could be asked in time.
    MayLeave(Option<bool>),
}

/// Why a replica cannot go on. The node must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// A peer knows that we had more than we have.
    #[error(
        "the directory went back in time: a peer knows of commit {commit} here, the log ends at {last_index}"
    )]
    WentBack {
        /// What the leader knows to be committed and stored here.
        commit: u64,
        /// Where the log ends.
        last_index: u64,
    },
    /// A leader wants to replace what is committed.
    #[error(
        "entry {index} is committed with term {committed_term}, and a leader sends it with term {sent_term}"
    )]
    CommittedConflict {
        /// Which entry.
        index: u64,
        /// Its term here.
        committed_term: u64,
        /// Its term there.
        sent_term: u64,
    },
    /// This incarnation was removed from the membership.
    #[error("this node was removed from the cluster, as of entry {index}")]
    Removed {
        /// The entry that made the membership what it is.
        index: u64,
    },
    /// The consensus library refused what it was given.
    #[error("consensus: {0}")]
    Consensus(String),
}
