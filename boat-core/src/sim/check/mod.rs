//! The invariants: one file each, named after its source. They see every step of a run, and keep their own books.
//!
//! "Promise S1" to "S9" are the safety promises in `docs/guarantees.md`; the others are the Raft paper's (Ongaro and
//! Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, figure 3).

mod acked;
mod commits;
mod honest;
mod leaders;
mod log_matching;
mod membership;
mod memory;
mod once;
mod one_order;
mod operations;
mod reads;
mod real_time;
mod reference;
mod sent;
mod shadow;
mod votes;

use std::collections::BTreeMap;
use std::rc::Rc;

use self::commits::Commits;
use self::leaders::Leaders;
use self::log_matching::{LogMatching, Print};
use self::membership::Memberships;
use self::memory::Memory;
use self::one_order::OneOrder;
pub(super) use self::operations::{Book, Operation};
use self::reads::Reads;
use self::reference::Reference;
pub(super) use self::shadow::Shadow;
use self::votes::Votes;
use super::context::Checked;
use super::model::Models;
use super::waiters::{Attempt, Reply};
use crate::apply::Outcome;
use crate::log::{LogEntry, LogWrite, Recovered};
use crate::replica::{OperationResult, Output, Replica};
use crate::transport::{ConsensusKind, PeerMessage};
use crate::{Membership, NodeId, OperationToken, RaftId, Request};

/// Something that must never be, was.
#[derive(Debug)]
pub(super) struct Violation {
    pub(super) invariant: &'static str,
    pub(super) what: String,
}

/// Fails with a violation of `invariant` unless `holds`.
pub(super) fn require(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// All books.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) book: Book,
    pub(super) reads: Reads,
    pub(super) reference: Reference,
    order: OneOrder,
    votes: Votes,
    leaders: Leaders,
    matching: LogMatching,
    commits: Commits,
    memory: Memory,
    memberships: Memberships,
    terms: BTreeMap<RaftId, u64>,
    /// What an applier should be that goes on from a snapshot as of an entry.
    frozen: BTreeMap<u64, Shadow>,
}

impl Checker {
    /// Books for a run whose nodes serve these models.
    pub(super) fn new(models: &Rc<dyn Models>) -> Self {
        Checker { reference: Reference::new(models), ..Checker::default() }
    }

    /// A process opened its log. `commits` restart from what it holds.
    pub(super) fn opened(&mut self, id: RaftId, recovered: &Recovered, now_ms: u64) -> Checked {
        self.memory.opened(id, recovered)?;
        self.memberships.applied(id, &recovered.membership, now_ms)?;
        self.memberships.opened(id, recovered.hard_state.term);
        self.commits.opened(id, recovered.hard_state.commit);
        let known = self.terms.get(&id).copied().unwrap_or(0);
        require(recovered.hard_state.term >= known, memory::INVARIANT, || {
            format!("{id} spoke in term {known}, and comes back in term {}", recovered.hard_state.term)
        })
    }

    /// An incarnation comes back with its disk as it was some time before: it must not vote any more.
    pub(super) fn went_back(&mut self, id: RaftId) {
        self.memory.went_back(id);
        self.votes.went_back(id);
        self.terms.remove(&id);
    }

    /// A snapshot has proved to a process that opened its log that this much was committed.
    pub(super) fn proven(&mut self, id: RaftId, commit: u64) -> Checked {
        self.commits.opened(id, commit);
        require(commit <= self.commit(), "only what was committed is in a snapshot", || {
            format!("{id} takes entry {commit} for committed, and {} are", self.commit())
        })
    }

    /// A replica has taken an input, and nothing was carried out yet. True: it has just begun to lead.
    pub(super) fn stepped(&mut self, id: RaftId, replica: &Replica) -> Checked<bool> {
        self.memberships.stepped(id, replica.term())?;
        let begins = replica.is_leader() && self.leaders.observe(id, replica.term())?;
        if begins {
            self.commits.leader(id, replica)?;
        }
        self.commits.observe(id, replica, &self.memory)?;
        Ok(begins)
    }

    /// A replica wants this to be carried out now.
    pub(super) fn output(&mut self, id: RaftId, output: &Output, now_ms: u64) -> Checked {
        match output {
            Output::Membership(membership) => self.memberships.applied(id, membership, now_ms),
            Output::Send { message, .. } => {
                self.memberships.sent(message, now_ms)?;
                self.leaders.sent(id, message)?;
                if let PeerMessage::Consensus(message) = message {
                    self.votes.sent(message)?;
                    // In other kinds an entry is no entry, but the context of a read.
                    if message.kind == ConsensusKind::Append {
                        let before = (message.index, message.log_term);
                        self.matching.stand(id, before, message.entries.iter().map(Print::of))?;
                    }
                    if votes::is_in_own_term(message) {
                        let known = self.terms.entry(id).or_default();
                        *known = (*known).max(message.term);
                    }
                }
                Ok(())
            }
            Output::Committed(entries) => self.commits.handed(id, entries),
            Output::Installed(kept) => self.commits.installed(id, (kept.name.index, kept.name.term)),
            _ => Ok(()),
        }
    }

    /// A replica is about to hear this from a peer.
    pub(super) fn heard(&mut self, id: RaftId, message: &PeerMessage) {
        self.memberships.heard(id, message);
    }

    /// Whether a member's log holds a change of the membership that may be committed, and is not in force.
    pub(super) fn is_change_under_way(&self, latest: &Membership) -> bool {
        self.memberships.is_change_under_way(latest)
    }

    /// An operator is told what became of an operation.
    pub(super) fn operated(&mut self, token: OperationToken, result: &OperationResult) -> Checked {
        self.memberships.operated(token, result)
    }

    /// A write is on its way to the disk.
    pub(super) fn writing(&mut self, id: RaftId, mark: u64, write: &LogWrite) {
        self.memory.writing(id, mark, write);
        self.memberships.writing(id, &write.entries);
    }

    /// All writes up to this mark were synced.
    pub(super) fn synced(&mut self, id: RaftId, mark: u64) -> Checked {
        for (index, term, prints) in self.memory.synced(id, mark) {
            self.matching.stand(id, (index, term), prints)?;
        }
        Ok(())
    }

    /// An applier that was right so far is frozen as of this entry.
    pub(super) fn froze(&mut self, index: u64, shadow: &Shadow) {
        self.frozen.insert(index, shadow.clone());
    }

    /// What an applier from a snapshot as of this entry should be.
    pub(super) fn frozen_at(&self, index: u64) -> Option<Shadow> {
        self.frozen.get(&index).cloned()
    }

    /// A node is about to apply an entry.
    pub(super) fn applying(&self, node: NodeId, entry: &LogEntry) -> Checked {
        self.commits.applying(node, entry)
    }

    /// A node has given a request a position and an outcome.
    pub(super) fn applied(
        &mut self,
        node: NodeId,
        request: &Request,
        outcome: &Outcome,
        age_ms: u64,
    ) -> Checked {
        let is_new = self.order.applied(node, request, outcome)?;
        if is_new {
            let operation = sent::check(&mut self.book, request, outcome.position)?;
            real_time::check(operation, outcome.position)?;
            once::applied(operation, outcome.position, age_ms)?;
            honest::applied(operation)?;
        }
        Ok(())
    }

    /// A node has finished a batch.
    pub(super) fn digested(&self, node: NodeId, position: u64, digest: crate::digest::Digest) -> Checked {
        self.order.digest(node, position, digest)
    }

    /// A client gets an answer.
    pub(super) fn answered(&mut self, attempt: Attempt, reply: &Reply) -> Checked {
        match reply {
            Reply::Applied(applied) => match &applied.result {
                Ok(outcome) => {
                    acked::check(&self.order, &self.book, attempt, outcome)?;
                    once::answered(&self.book, attempt, outcome)?;
                    self.book.ack(outcome.position);
                    Ok(())
                }
                Err(refused) => once::refused(&self.book, attempt, refused),
            },
            Reply::Failed(failure) => honest::failed(&mut self.book, attempt, *failure),
        }
    }

    /// A read is answered with the model's state at this position. Whether it was to be linearizable.
    pub(super) fn read(&mut self, number: u64, position: u64, state: &bytes::Bytes) -> Checked<bool> {
        self.reads.answered(&self.reference, number, position, state)
    }

    /// The highest position that a node gave.
    pub(super) fn position(&self) -> u64 {
        self.order.position()
    }

    /// The highest commit that was seen.
    pub(super) fn commit(&self) -> u64 {
        self.commits.highest()
    }

    /// The end of a run: what a node holds must cover what was promised.
    pub(super) fn ended(&self, node: NodeId, position: u64) -> Checked {
        acked::ended(&self.book, node, position)
    }
}

#[cfg(test)]
mod tests;
