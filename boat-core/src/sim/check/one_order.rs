//! Promise S1: two nodes that have applied a position agree on its request, its outcome and the running digest.

use super::super::context::Checked;
use super::require;
use crate::apply::Outcome;
use crate::digest::Digest;
use crate::{CallOutcome, NodeId, Request};

const INVARIANT: &str = "S1 one order";

/// What stands at a position.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) request: Request,
    pub(super) outcome: Outcome,
    digest: Digest,
}

/// Everything that was ever applied anywhere, by position.
#[derive(Debug, Default)]
pub(super) struct OneOrder {
    records: Vec<Record>,
}

impl OneOrder {
    pub(super) fn position(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn at(&self, position: u64) -> Option<&Record> {
        let place = usize::try_from(position.checked_sub(1)?).ok()?;
        self.records.get(place)
    }

    /// True: nobody had applied this position before.
    pub(super) fn applied(&mut self, node: NodeId, request: &Request, outcome: &Outcome) -> Checked<bool> {
        let position = outcome.position;
        if let Some(known) = self.at(position) {
            require(known.request == *request && known.outcome == *outcome, INVARIANT, || {
                format!(
                    "position {position} is {:?} -> {:?} on node {node}, and was {:?} -> {:?}",
                    request, outcome, known.request, known.outcome
                )
            })?;
            return Ok(false);
        }
        require(position == self.position() + 1, INVARIANT, || {
            format!("node {node} gives position {position}, the highest so far is {}", self.position())
        })?;
        let before = self.records.last().map_or(Digest::default(), |record| record.digest);
        let (kind, bytes) = match &outcome.result {
            CallOutcome::Output(output) => (0, output.as_ref()),
            CallOutcome::Rejected(reason) => (1, reason.as_bytes()),
            CallOutcome::Quarantined => (2, &[][..]),
        };
        let digest = before.fold(position, request.hash(), kind, bytes);
        self.records.push(Record { request: request.clone(), outcome: outcome.clone(), digest });
        Ok(true)
    }

    pub(super) fn digest(&self, node: NodeId, position: u64, digest: Digest) -> Checked {
        let known = self.at(position).map_or(Digest::default(), |record| record.digest);
        require(digest == known, INVARIANT, || {
            format!("node {node} has digest {digest} at position {position}, it should be {known}")
        })
    }
}
