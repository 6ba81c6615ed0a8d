//! What an answer promises, and what no answer means.
//!
//! **One order.** Every request has a position: 1, 2, 3, without gaps, the same on every node. A request that is asked after another was
//! answered stands behind it.
//!
//! **An answer stands.** It is given once a majority of the nodes have the request on their disks and this node has applied it. It
//! outlives any minority of the disks, and any number of restarts.
//!
//! **No answer.** An error is *definite* (not applied, and never will be) or *unknown*: nobody answered in time, and the request
//! may yet be applied. Only [`PredictError::Unknown`](crate::PredictError::Unknown) is of the second kind. It names a key:
//!
//! ```no_run
//! # use boat_core::{Node, PredictError};
//! use std::time::Duration;
//!
//! use bytes::Bytes;
//!
//! /// How often a request is asked before its caller is told.
//! const ATTEMPTS_MAX: u32 = 5;
//!
//! # async fn ask(node: &Node, body: Bytes) -> Result<Bytes, PredictError> {
//! let mut asking = node.predict(body.clone());
//! for _ in 1..ATTEMPTS_MAX {
//!     match asking.within(Duration::from_secs(2)).await {
//!         Ok(answer) => return Ok(answer.output),
//!         // Whether it ran or not: under its key it runs once.
//!         Err(PredictError::Unknown { key, .. }) => asking = node.predict(body.clone()).key(key),
//!         Err(definite) => return Err(definite),
//!     }
//! }
//! asking.await.map(|answer| answer.output)
//! # }
//! ```
//!
//! **Exactly once, within limits.** Retries are recognized by a key, by a number in a session, or by the number that the node gives to a
//! request without either. What is remembered is part of the replicated state, so no change of leader, restart or replay forgets it:
//! a key for ten minutes of log time at least; a session as long as it is used every ten minutes. A request in a session that has
//! expired is refused, not applied ([`PredictError::SessionExpired`](crate::PredictError::SessionExpired)). A retry that comes
//! after its key was forgotten is a new request.
//!
//! **Reads.** [`Read::Linearizable`](crate::Read::Linearizable) sees everything that was answered before it was asked;
//! [`Read::Local`](crate::Read::Local) sees what the node has, and says which position that is.
//!
//! **What is not promised.** That a model which is not [deterministic](super::determinism) answers alike; that effects which a model
//! has elsewhere (a mail, a row in a database) happen once, for it runs on every node, and again at each replay; anything once a
//! majority of the disks is lost.
