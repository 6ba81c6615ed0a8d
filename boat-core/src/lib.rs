//! Fault-tolerant prediction serving.
//!
//! A [`Node`] holds one copy of a machine-learning model behind a [`Predictor`]; every request becomes an entry of a Raft
//! log, and every node applies the same requests in the same order to its own copy. A node that loses its process, its
//! disk or its model replays that log until the model's state is as if nothing had happened.
//!
//! The [guides](guide) begin with a model, three nodes and one answer.
//!
//! # What a call promises
//!
//! | call | it is answered | by |
//! |---|---|---|
//! | [`Node::predict`], [`Node::feedback`], [`Node::configure`] | from a place in the one order that all nodes share, at a position above every one that was answered before it was asked | any node; it goes through the leader |
//! | [`Node::query`] with [`Read::Linearizable`] | from a state that has seen every position that was answered before it was asked | any node that reaches a leader |
//! | [`Node::query`] with [`Read::Local`] | from what the node has, and no less than was asked for; it says that it may be [stale](QueryAnswer::stale) | any node, also alone |
//! | [`Node::outcome`] | with what became of an earlier request, if that is remembered | any node |
//!
//! An answer that was given stands for ever, as long as a majority of the nodes keep what they have synced.
//!
//! # Errors, and asking again
//!
//! Each operation has an enum of its own, and each of its kinds says what may be done. Most are *definite*: the request was not
//! applied and never will be, so it may be asked again at any time, or not at all. Only [`PredictError::Unknown`] leaves that open
//! ([`PredictError::may_be_applied`]): nobody answered in time, and the request may yet be applied. It names a key. Asked again
//! under that key, through any node, a request is applied once at most, and every answer to it is the first one
//! ([`Answer::replayed`] tells whether the node remembered it). Errors of reads are all definite, for a read changes nothing.
//!
//! What makes a request recognizable is one of three things. They are all remembered in the replicated state itself, so that a change of
//! leader, a restart or a replay forgets none of them:
//!
//! - a **key** of the client's own ([`Predict::key`]): for clients that have a name for each request. Kept for ten minutes of log
//!   time, in a table that is bounded;
//! - a **session** of the client's own ([`Node::session`]): numbers instead of names, for clients that ask much. Kept until
//!   answered, and as long as the session is used at least every ten minutes of log time; after that a request in it is
//!   [`PredictError::SessionExpired`], and not applied;
//! - neither: the node gives the request a number in a session of its own, so that Boat's own retries are exact, and names the
//!   key in the answer and in [`PredictError::Unknown`].
//!
//! Whatever waits is bounded. Full is an answer ([`PredictError::Overloaded`]) and comes at once; with the feature `tower`,
//! `Node::service` waits for room instead.
pub mod apply;
mod codec;
mod command;
pub mod config;
pub mod digest;
mod directory;
mod driver;
mod error;
mod event;
pub mod founding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod guide;
#[cfg(any(test, feature = "history"))]
pub mod history;
#[cfg(feature = "http")]
pub mod http;
mod ids;
pub mod inspect;
pub mod log;
mod membership;
mod model;
mod node;
mod operation;
mod predictor;
#[cfg(all(feature = "http", feature = "supervisor"))]
mod program;
#[cfg(all(feature = "fuzzing", feature = "sim"))]
pub mod proof;
pub mod quarantine;
mod recover;
pub mod replica;
mod report;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod snapshot;
mod status;
#[cfg(feature = "supervisor")]
pub mod supervisor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;

pub use codec::Malformed;
pub use command::{
    Command, CommandView, Decision, Origin, OriginView, Request, RequestKind, RequestView, Requests,
    SessionRequest,
};
pub use error::{Error, OutcomeError, PredictError, QuarantineError, QueryError, SessionError, WipeError};
pub use event::{Events, NodeEvent};
pub use ids::{Birth, ClusterId, NodeId, RaftId};
pub use membership::{Genesis, Member, MemberList, MemberListError, Membership};
pub use model::{Context, Model, ModelError, ModelPredictor};
pub use node::{
    Answer, ChangeMembers, Interface, Json, Node, NodeBuilder, Predict, QueryAnswer, QueryRequest, Raw, Read,
    Session,
};
#[cfg(feature = "tower")]
pub use node::{NodeRequest, NodeService};
pub use operation::{MembershipError, MembershipOperation, MembershipRefusal, OperationToken};
pub use predictor::{
    Call, CallOutcome, Check, FrozenState, Predictor, PredictorError, Query, QueryOutcome, StateKind,
    query_by_predicting,
};
#[cfg(all(feature = "http", feature = "supervisor"))]
pub use program::run_node;
pub use recover::{Recovery, recover};
pub use status::{Alarm, BackendStatus, Health, MemberStatus, Phase, ReplayProgress, SnapshotStatus, Status};
