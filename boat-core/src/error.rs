//! Errors, sorted by what the caller may do.

use std::time::Duration;

/// Why a prediction has no answer. [`PredictError::may_be_applied`] tells the two kinds apart: *definite* errors were never
/// applied and never will be; after an *unknown* one, ask again with the same key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The request is not one that the model understands. Definite.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The request is longer than the node accepts. Definite.
    #[error("the request has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Too much waits already. Definite: try again later.
    #[error("overloaded: {waiting} of {waiting_max} {what} wait for their answers")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        waiting_max: usize,
        /// What is counted.
        what: &'static str,
    },
    /// No leader was found in the time that was waited, and the request never left this node. Definite. A node that is not
    /// in the cluster yet does not wait.
    #[error("this node knew of no leader for {0:?}: a majority of the nodes must be up and see each other")]
    NoLeader(Duration),
    /// The table of remembered keys is full of young ones. Definite: try again later, or without a key.
    #[error("the table of remembered keys is full")]
    KeyTableFull,
    /// Below the free-space reserve of the disk nothing new is accepted. Definite.
    #[error("the disk is full")]
    DiskFull,
    /// The key was used for another request. Definite for this one.
    #[error("the key was used for another request, at position {position}")]
    KeyReused {
        /// Where the first request under this key stands.
        position: u64,
    },
    /// The session is not known, or no longer. This attempt was not applied.
    #[error("session {session} has expired")]
    SessionExpired {
        /// Which session.
        session: u64,
    },
    /// This node had not applied the opening of the request's session in the time that was waited. Definite: try again, here
    /// or on another node.
    #[error("this node has applied position {position}, not the opening of the session, within {waited:?}")]
    Behind {
        /// How long was waited.
        waited: Duration,
        /// What this node has applied.
        position: u64,
    },
    /// The request was answered before, and its client said that it had the answer. This attempt was not applied.
    #[error("the outcome was forgotten: its client had acknowledged it")]
    OutcomeForgotten,
    /// The model refused the input, as it would on every node. Definite, and the request has a position.
    #[error("the model rejected the request at position {position}: {reason}")]
    Rejected {
        /// The request's position.
        position: u64,
        /// The model's reason.
        reason: String,
    },
    /// The request crashed the models of a majority of the nodes, and was put aside. It has a position, and no other outcome
    /// ever. Definite: the same request would crash them again.
    #[error("the request at position {position} crashes the model, and was quarantined")]
    Quarantined {
        /// The request's position.
        position: u64,
    },
    /// The node stops, and the request was never proposed. Definite.
    #[error("the node is shutting down")]
    Stopped,
    /// No answer in time: the request may yet be applied, or was. Ask again with the same key.
    #[error("no answer within {waited:?}; the request may yet be applied: ask again with key {key}")]
    Unknown {
        /// How long was waited.
        waited: Duration,
        /// The key to ask again with.
        key: String,
    },
}

impl PredictError {
    /// Whether the request may have been applied, or may yet be: only for [`PredictError::Unknown`].
    pub fn may_be_applied(&self) -> bool {
        matches!(self, PredictError::Unknown { .. })
    }
}

/// Why no session was opened for the caller. One may have been opened that nobody knows of: it expires.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// As many sessions are open as there may be: try again once one has expired.
    #[error("{sessions_max} sessions are open, and no more are")]
    TooMany {
        /// How many there may be.
        sessions_max: usize,
    },
    /// Too much waits already: try again later.
    #[error("overloaded: {waiting} of {waiting_max} requests wait for their answers")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        waiting_max: usize,
    },
    /// Nobody opened it in the time that was waited.
    #[error("no session was opened within {0:?}: a majority of the nodes must be up and see each other")]
    NoLeader(Duration),
    /// Below the free-space reserve of the disk nothing new is accepted.
    #[error("the disk is full")]
    DiskFull,
    /// The node stops.
    #[error("the node is shutting down")]
    Stopped,
}

/// Why the outcome of a request is not told. Looking it up applies nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutcomeError {
    /// The request waits for its outcome on this node: look again later.
    #[error("the outcome is not there yet")]
    Pending,
    /// Nothing was applied under this key that is still remembered: the request was never asked, is still on its way on
    /// another node, or has been forgotten.
    #[error("no outcome is known under this key")]
    NotFound,
    /// There was an outcome, or could have been: its session has expired, or its client needed it no more.
    #[error("the outcome is no longer remembered")]
    Forgotten,
    /// The outcome is that the model refused the request.
    #[error("the model rejected the request at position {position}: {reason}")]
    Rejected {
        /// The request's position.
        position: u64,
        /// The model's reason.
        reason: String,
    },
    /// The outcome is that the request was taken out by agreement: it crashes the model.
    #[error("the request at position {position} is quarantined: it crashes the model")]
    Quarantined {
        /// The request's position.
        position: u64,
    },
    /// The outcome cannot be read as this model's.
    #[error("invalid outcome: {0}")]
    Invalid(String),
    /// This node knows of none, and no leader said within this time whether it has seen everything.
    #[error("no leader confirmed within {0:?} that nothing is missing on this node")]
    NoLeader(Duration),
    /// The applier did not get to it in time.
    #[error("this node has applied position {position}, and had no time to look")]
    Behind {
        /// What this node has applied.
        position: u64,
    },
    /// Too much waits already: try again later, or another node.
    #[error("overloaded: {waiting} of {waiting_max} queries wait for their answers")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        waiting_max: usize,
    },
    /// The node stops.
    #[error("the node is shutting down")]
    Stopped,
}

/// Why a query has no answer. A query changes nothing, so every one of these is *definite*: ask again, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The query is not one that the model understands.
    #[error("invalid query: {0}")]
    Invalid(String),
    /// The query is longer than the node accepts.
    #[error("the query has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// The model answers no queries: its predictions change its state. Ask for a prediction.
    #[error("this model answers no queries: ask for a prediction")]
    Unsupported,
    /// Too much waits already: try again later, or another node.
    #[error("overloaded: {waiting} of {waiting_max} queries wait for their answers")]
    Overloaded {
        /// How many wait.
        waiting: usize,
        /// How many may.
        waiting_max: usize,
    },
    /// No leader confirmed in the time that was waited what a linearizable read must see.
    #[error(
        "no leader confirmed the read within {0:?}: a majority of the nodes must be up and see each other"
    )]
    NoLeader(Duration),
    /// This node had not applied enough in the time that was waited: another may have.
    #[error("this node has applied position {position}, which was not enough within {waited:?}")]
    Behind {
        /// How long was waited.
        waited: Duration,
        /// What this node has applied.
        position: u64,
    },
    /// The backend could not be asked.
    #[error("{0}")]
    Unavailable(String),
    /// The model refused the query.
    #[error("the model rejected the query at position {position}: {reason}")]
    Rejected {
        /// What the model had seen.
        position: u64,
        /// Its reason.
        reason: String,
    },
    /// The node stops.
    #[error("the node is shutting down")]
    Stopped,
}

/// Why a node must not be wiped now. Nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WipeError {
    /// The connected voters other than this node, holding everything committed, are no majority.
    #[error(
        "would lose the quorum: the other connected nodes that hold everything committed are no majority of all voters"
    )]
    WouldLoseQuorum,
    /// Nobody could be asked in the time that was waited.
    #[error("no leader answered within {0:?}")]
    NoLeader(Duration),
}

/// Why a request was not quarantined by an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// No node holds the request, as far as this one has heard. Nothing was done.
    #[error("no node holds a request at position {position}")]
    NotHeld {
        /// Which request.
        position: u64,
    },
    /// It was not decided in time: no leader, perhaps. It may yet be. Asking again is harmless: what was decided is decided once.
    #[error("not decided within {waited:?}; it may yet be, and may be asked for again")]
    Unknown {
        /// How long was waited.
        waited: Duration,
    },
    /// The node stops. Nothing was done.
    #[error("the node is shutting down")]
    Stopped,
}

/// Why a node could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is wrong: says which field, and what it should be.
    #[error("configuration: {0}")]
    Config(String),
    /// The member list is wrong.
    #[error(transparent)]
    Members(#[from] crate::MemberListError),
    /// Another process uses the data directory.
    #[error("data directory {0} is in use by another process")]
    DirectoryInUse(std::path::PathBuf),
    /// The data directory belongs to another node.
    #[error("data directory {path} belongs to node {found}, not to node {expected}")]
    OtherNode {
        /// The directory.
        path: std::path::PathBuf,
        /// Whose it is.
        found: crate::NodeId,
        /// Whose it should be.
        expected: crate::NodeId,
    },
    /// Reading, writing or syncing the data directory failed. The node has stopped and must not be trusted until restarted.
    #[error("storage: {0}")]
    Storage(String),
    /// The directory went back in time, or runs twice.
    #[error("stale data directory: {0}")]
    StaleDirectory(String),
    /// The node was removed from the cluster. Its next start sets its directory aside and waits until the node is added.
    #[error("removed: {0}. Its next start sets its data aside, and waits until the node is added again")]
    Removed(String),
    /// Bytes that the log had synced are not what was written. The next start sets the directory aside and joins anew, if the
    /// other nodes hold everything.
    #[error("damaged data directory: {0}")]
    Damaged(String),
    /// An address cannot be listened on. It may be free again later: a program that started again can find that another
    /// took its port meanwhile.
    #[error("cannot listen on {address} for {purpose}: {reason}")]
    Listen {
        /// What it is for.
        purpose: &'static str,
        /// Which address.
        address: std::net::SocketAddr,
        /// What the operating system says.
        reason: String,
    },
    /// The backend did not start.
    #[error("backend: {0}")]
    Backend(String),
    /// The transport could not start.
    #[error(transparent)]
    Transport(#[from] crate::transport::TransportError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] crate::ModelError),
    /// Something that must hold did not; the node has stopped rather than go on wrongly.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// The same error once more, for another who waits: what it carries as text.
    pub(crate) fn duplicate(&self) -> Error {
        match self {
            Error::Config(why) => Error::Config(why.clone()),
            Error::Members(error) => Error::Members(error.clone()),
            Error::DirectoryInUse(path) => Error::DirectoryInUse(path.clone()),
            Error::OtherNode { path, found, expected } => {
                Error::OtherNode { path: path.clone(), found: *found, expected: *expected }
            }
            Error::Storage(why) => Error::Storage(why.clone()),
            Error::StaleDirectory(why) => Error::StaleDirectory(why.clone()),
            Error::Removed(why) => Error::Removed(why.clone()),
            Error::Damaged(why) => Error::Damaged(why.clone()),
            Error::Listen { purpose, address, reason } => {
                Error::Listen { purpose, address: *address, reason: reason.clone() }
            }
            Error::Backend(why) => Error::Backend(why.clone()),
            Error::Transport(error) => Error::Internal(error.to_string()),
            Error::Model(error) => Error::Internal(error.to_string()),
            Error::Internal(why) => Error::Internal(why.clone()),
        }
    }

    /// The exit status for a process that ends because of this error: 64 usage, 74 storage, 75 directory in use, 76 stale
    /// or damaged directory, 77 removed from the cluster, 70 else (after BSD's `sysexits.h`). Only 64 says that another try
    /// would end the same way.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Members(_) | Error::OtherNode { .. } => 64,
            Error::Storage(_) => 74,
            Error::DirectoryInUse(_) => 75,
            Error::StaleDirectory(_) | Error::Damaged(_) => 76,
            Error::Removed(_) => 77,
            Error::Listen { .. }
            | Error::Backend(_)
            | Error::Transport(_)
            | Error::Model(_)
            | Error::Internal(_) => 70,
        }
    }
}
