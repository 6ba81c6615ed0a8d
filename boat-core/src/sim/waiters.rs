//! Who waits for which outcome on a node, from acceptance to answer.

use std::collections::BTreeMap;

use crate::apply::Applied;
use crate::replica::{Failure, RequestId};

/// One sending of an operation's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) operation: usize,
    pub(super) number: usize,
}

/// What a client hears.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// The request was applied, or refused where it would have been.
    Applied(Applied),
    /// It was not, as far as the node knows.
    Failed(Failure),
}

/// The attempts that wait on one node. They die with its process.
#[derive(Debug, Default)]
pub(super) struct Waiters(BTreeMap<RequestId, Vec<Attempt>>);

impl Waiters {
    pub(super) fn wait(&mut self, id: RequestId, attempt: Attempt) {
        self.0.entry(id).or_default().push(attempt);
    }

    pub(super) fn take(&mut self, id: &RequestId) -> Vec<Attempt> {
        self.0.remove(id).unwrap_or_default()
    }
}
