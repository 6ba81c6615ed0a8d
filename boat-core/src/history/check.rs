//! Whether a history keeps what Boat promises (`docs/guarantees.md`).

use std::collections::BTreeMap;

use super::Violation;
use super::order::check_order;
use super::record::Record;
use super::violation::Violations;

/// What a sound history held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Operations that were asked for.
    pub operations: usize,
    /// Those that were answered with an outcome.
    pub answered: usize,
    /// Those of which every asking failed with a definite error.
    pub definitely_not: usize,
    /// Those of which nobody was told what became of them.
    pub unknown: usize,
    /// Reads.
    pub reads: usize,
    /// The highest position that was seen.
    pub position: u64,
    /// Nodes whose last state is known.
    pub nodes: usize,
}

/// All that is known of one operation.
#[derive(Debug, Default)]
pub(super) struct Operation {
    pub(super) first_sent_us: Option<u64>,
    pub(super) first_answered_us: Option<u64>,
    pub(super) position: Option<u64>,
    sent: usize,
    definite: usize,
}

/// What stands at a position, as far as anybody told.
#[derive(Debug, Default)]
struct Standing<'a> {
    operation: Option<Option<&'a str>>,
    outcome: Option<&'a str>,
    digest: Option<&'a str>,
}

/// What is known of a node.
#[derive(Debug, Default)]
struct Node<'a> {
    applied: Vec<u64>,
    ended: Option<(u64, &'a str)>,
}

/// The records, sorted by what they are about.
#[derive(Debug, Default)]
pub(super) struct Books<'a> {
    pub(super) operations: BTreeMap<&'a str, Operation>,
    standings: BTreeMap<u64, Standing<'a>>,
    nodes: BTreeMap<u16, Node<'a>>,
    highest_acked: u64,
    highest_read: u64,
    pub(super) violations: Violations,
}

/// Checks a history: records in any order.
///
/// - S1, S2, S8: one operation, outcome and digest stand at a position, whoever tells of it, and it was asked for.
/// - S3: an operation has one position at most.
/// - S4, S6: what was asked after another thing's answer stands behind that; a read covers what was answered before it.
/// - S5: a node that tells its positions holds 1 to n.
/// - S7: an operation of which every asking was refused for good has no position.
/// - S2, L2: in the end all nodes hold the same, and all that anybody was answered.
///
/// # Errors
/// What is broken, a hundred at most.
pub fn check(records: &[Record]) -> Result<Summary, Vec<Violation>> {
    let mut books = Books::default();
    // First what was asked for: whoever tells of an answer may stand before it.
    records.iter().for_each(|record| books.asked(record));
    records.iter().for_each(|record| books.told(record));
    books.check_operations();
    check_order(&mut books, records);
    books.check_nodes();
    let summary = books.summary(records);
    books.violations.into_result(summary)
}

impl<'a> Books<'a> {
    fn asked(&mut self, record: &'a Record) {
        if let Record::Sent { at_us, operation } = record {
            let known = self.operations.entry(operation).or_default();
            known.sent += 1;
            known.first_sent_us = Some(known.first_sent_us.map_or(*at_us, |first_us| first_us.min(*at_us)));
        }
    }

    fn told(&mut self, record: &'a Record) {
        match record {
            Record::Sent { .. } => {}
            Record::Read { position, .. } => self.highest_read = self.highest_read.max(*position),
            Record::Answered { at_us, operation, position, outcome } => {
                self.highest_acked = self.highest_acked.max(*position);
                self.stands(operation, *position);
                let known = self.operations.entry(operation).or_default();
                let first_us = known.first_answered_us.map_or(*at_us, |first_us| first_us.min(*at_us));
                known.first_answered_us = Some(first_us);
                self.holds("S2", *position, Some(operation), (Some(outcome), None));
            }
            Record::Failed { operation, definite, .. } => {
                self.operations.entry(operation).or_default().definite += usize::from(*definite);
            }
            Record::Applied { node, position, operation, outcome, digest } => {
                self.nodes.entry(*node).or_default().applied.push(*position);
                if let Some(operation) = operation {
                    self.stands(operation, *position);
                }
                self.holds("S1", *position, operation.as_deref(), (outcome.as_deref(), digest.as_deref()));
            }
            Record::Ended { node, position, digest } => {
                let known = self.nodes.entry(*node).or_default();
                let before = known.ended.replace((*position, digest));
                self.violations.require(before.is_none(), "L2", || format!("node {node} ended twice"));
            }
        }
    }

    /// An operation stands at a position.
    fn stands(&mut self, operation: &'a str, position: u64) {
        let known = self.operations.entry(operation).or_default();
        let first = *known.position.get_or_insert(position);
        self.violations.require(first == position, "S3", || {
            format!("operation {operation} stands at position {first} and at {position}")
        });
    }

    /// Somebody tells what stands at a position.
    fn holds(
        &mut self,
        promise: &'static str,
        position: u64,
        operation: Option<&'a str>,
        (outcome, digest): (Option<&'a str>, Option<&'a str>),
    ) {
        let known = self.standings.entry(position).or_default();
        let first = *known.operation.get_or_insert(operation);
        self.violations.require(first == operation, promise, || {
            format!("position {position} is {operation:?}, and was {first:?} elsewhere")
        });
        for (name, known, told) in
            [("outcome", &mut known.outcome, outcome), ("digest", &mut known.digest, digest)]
        {
            if let Some(told) = told {
                let first = *known.get_or_insert(told);
                self.violations.require(first == told, promise, || {
                    format!("position {position} has {name} {told}, and had {first} elsewhere")
                });
            }
        }
    }

    fn check_operations(&mut self) {
        for (name, known) in &self.operations {
            let Some(position) = known.position else { continue };
            self.violations.require(known.first_sent_us.is_some(), "S8", || {
                format!("operation {name} stands at position {position}, and nobody asked for it")
            });
            let refused = known.sent > 0 && known.definite >= known.sent;
            self.violations.require(!refused, "S7", || {
                format!("operation {name} got nothing but definite errors, and stands at position {position}")
            });
        }
    }

    fn check_nodes(&mut self) {
        let ended: Vec<(u16, u64, &str)> = self
            .nodes
            .iter()
            .filter_map(|(node, known)| known.ended.map(|(position, digest)| (*node, position, digest)))
            .collect();
        for (node, position, digest) in &ended {
            let acked = self.highest_acked.max(self.highest_read);
            self.violations.require(*position >= acked, "S2", || {
                format!("position {acked} was answered, and node {node} ends at {position}")
            });
            if let Some((first, first_position, first_digest)) = ended.first() {
                let alike = (first_position, first_digest) == (position, digest);
                self.violations.require(alike, "L2", || {
                    format!(
                        "node {first} ends at {first_position} with {first_digest}, \
                         node {node} at {position} with {digest}"
                    )
                });
            }
        }
        for (node, known) in &mut self.nodes {
            if known.applied.is_empty() {
                continue;
            }
            known.applied.sort_unstable();
            let gap = (1..).zip(&known.applied).find(|(expected, position)| expected != *position);
            self.violations.require(gap.is_none(), "S5", || {
                format!("node {node} holds positions that are not 1 to n: {gap:?} (expected, found)")
            });
            let last = known.applied.last().copied().unwrap_or(0);
            // Of the last ones a node may not yet have written down that they are committed; its end tells of them.
            let acked = self.highest_acked.max(self.highest_read);
            self.violations.require(known.ended.is_some() || last >= acked, "S2", || {
                format!("position {acked} was answered, and node {node} holds 1 to {last}")
            });
            let end = known.ended.map_or(last, |(position, _)| position);
            self.violations
                .require(end >= last, "S5", || format!("node {node} ends at {end}, and holds 1 to {last}"));
        }
    }

    fn summary(&self, records: &[Record]) -> Summary {
        let mut summary = Summary { nodes: self.nodes.len(), ..Summary::default() };
        for known in self.operations.values() {
            summary.operations += 1;
            if known.first_answered_us.is_some() {
                summary.answered += 1;
            } else if known.definite >= known.sent {
                summary.definitely_not += 1;
            } else {
                summary.unknown += 1;
            }
        }
        summary.reads = records.iter().filter(|record| matches!(record, Record::Read { .. })).count();
        let last = self.standings.last_key_value().map_or(0, |(position, _)| *position);
        summary.position = last.max(self.highest_read);
        summary
    }
}
