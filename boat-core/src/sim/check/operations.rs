//! What clients want, asked and were told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::super::waiters::Attempt;
use crate::replica::RequestId;
use crate::{Request, RequestKind};

/// What is known of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing: the answer is under way, or lost.
    Open,
    /// A definite error was answered.
    Definite,
    /// Anything else was answered.
    Answered,
}

/// One thing that a client wants done once, however often it asks.
#[derive(Debug)]
pub(in super::super) struct Operation {
    pub(in super::super) client: usize,
    pub(in super::super) id: RequestId,
    pub(super) kind: RequestKind,
    pub(super) body: Bytes,
    pub(super) encodings: BTreeSet<Bytes>,
    /// The highest position that anybody had been answered before this was first sent.
    pub(super) floor: u64,
    pub(super) fates: Vec<Fate>,
    /// Where it stands, with the log's age there.
    pub(super) positions: Vec<(u64, u64)>,
    /// After how much age it may stand a second time; `None` for never.
    pub(super) forgotten_after_ms: Option<u64>,
    /// Whether its client still waits for an answer.
    pub(in super::super) waits: bool,
}

impl Operation {
    /// Whether all attempts were answered by definite errors.
    pub(in super::super) fn is_definitely_not(&self) -> bool {
        self.fates.iter().all(|fate| *fate == Fate::Definite)
    }
}

/// All operations of a run.
#[derive(Debug, Default)]
pub(in super::super) struct Book {
    pub(super) operations: Vec<Operation>,
    by_id: BTreeMap<RequestId, usize>,
    pub(super) acked: u64,
}

impl Book {
    /// Begins an operation. Its number.
    pub(in super::super) fn begin(
        &mut self,
        client: usize,
        request: &Request,
        forgotten_after_ms: Option<u64>,
    ) -> usize {
        let id = RequestId::of(&request.origin, request.hash());
        let number = self.operations.len();
        self.by_id.insert(id.clone(), number);
        self.operations.push(Operation {
            client,
            id,
            kind: request.kind,
            body: request.body.clone(),
            encodings: BTreeSet::new(),
            floor: self.acked,
            fates: Vec::new(),
            positions: Vec::new(),
            forgotten_after_ms,
            waits: true,
        });
        number
    }

    /// A client sends an operation's request, in this form.
    pub(in super::super) fn attempt(&mut self, number: usize, encoded: Bytes) -> Attempt {
        let count = self.operations.get_mut(number).map_or(0, |operation| {
            operation.encodings.insert(encoded);
            operation.fates.push(Fate::Open);
            operation.fates.len() - 1
        });
        Attempt { operation: number, number: count }
    }

    pub(in super::super) fn get(&self, number: usize) -> Option<&Operation> {
        self.operations.get(number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Operation> {
        self.operations.get_mut(number)
    }

    /// Its client has given it up, or has its answer.
    pub(in super::super) fn close(&mut self, number: usize) {
        if let Some(operation) = self.operations.get_mut(number) {
            operation.waits = false;
        }
    }

    /// How many clients wait for an answer.
    pub(in super::super) fn waiting(&self) -> usize {
        self.operations.iter().filter(|operation| operation.waits).count()
    }

    /// How often an operation was sent.
    pub(in super::super) fn attempts(&self, number: usize) -> usize {
        self.operations.get(number).map_or(0, |operation| operation.fates.len())
    }

    /// The highest position that a client was answered.
    pub(in super::super) fn acked(&self) -> u64 {
        self.acked
    }

    pub(super) fn ack(&mut self, position: u64) {
        self.acked = self.acked.max(position);
    }

    pub(in super::super) fn find(&self, id: &RequestId) -> Option<usize> {
        self.by_id.get(id).copied()
    }
}
