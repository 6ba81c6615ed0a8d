//! Fault-tolerant prediction serving.
//!
//! A [`Node`] holds one copy of a machine-learning model behind a [`Predictor`]; every request becomes an entry of a Raft
//! log, and every node applies the same requests in the same order to its own copy. A node that loses its process, its
//! disk or its model replays that log until the model's state is as if nothing had happened.
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
pub mod quarantine;
pub mod replica;
mod report;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod status;
#[cfg(feature = "supervisor")]
pub mod supervisor;
pub mod transport;

pub use codec::Malformed;
pub use command::{
    Command, CommandView, Decision, Origin, OriginView, Request, RequestKind, RequestView, Requests,
    SessionRequest,
};
pub use error::{Error, OutcomeError, PredictError, QueryError, SessionError, WipeError};
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
pub use predictor::{Call, CallOutcome, Check, Predictor, PredictorError, Query, QueryOutcome, StateKind};
#[cfg(all(feature = "http", feature = "supervisor"))]
pub use program::run_node;
pub use status::{Alarm, BackendStatus, MemberStatus, Phase, ReplayProgress, Status};
