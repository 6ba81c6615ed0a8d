//! Commits (Raft, figure 3 and section 5.4): a commit stands on the disks of a majority, a committed entry never changes,
//! every later leader has it, and commits never fall.

use std::collections::BTreeMap;

use super::super::context::Checked;
use super::log_matching::Print;
use super::memory::Memory;
use super::{Violation, require};
use crate::log::LogEntry;
use crate::replica::Replica;
use crate::{Membership, NodeId, RaftId};

const COMPLETE: &str = "leader completeness";
const NEVER_CHANGES: &str = "a committed entry never changes";
const QUORUM: &str = "a commit stands on a majority's disks";
const MONOTONE: &str = "commits never fall";

#[derive(Debug)]
struct Commit {
    term: u64,
    /// The term of the leader that committed it.
    led_in: u64,
    print: Option<Print>,
}

/// What was committed, and how far each incarnation knows it.
#[derive(Debug, Default)]
pub(super) struct Commits {
    commits: Vec<Commit>,
    known: BTreeMap<RaftId, u64>,
    /// The term that each incarnation led when it was last looked at.
    led: BTreeMap<RaftId, u64>,
    handed: BTreeMap<RaftId, u64>,
    /// Each incarnation's membership when it was last looked at.
    memberships: BTreeMap<RaftId, Membership>,
}

impl Commits {
    pub(super) fn highest(&self) -> u64 {
        self.commits.len() as u64
    }

    fn at(&self, index: u64) -> Option<&Commit> {
        let place = usize::try_from(index.checked_sub(1)?).ok()?;
        self.commits.get(place)
    }

    /// A process begins anew: it knows what its log knows.
    pub(super) fn opened(&mut self, id: RaftId, commit: u64) {
        self.known.insert(id, commit);
        self.handed.insert(id, commit);
        self.memberships.remove(&id);
        self.led.remove(&id);
    }

    /// A leader has begun its term.
    pub(super) fn leader(&self, id: RaftId, replica: &Replica) -> Checked {
        for (index, commit) in (1..).zip(&self.commits) {
            if commit.led_in < replica.term() {
                let own = replica.term_at(index);
                // A snapshot stands in for what was cut.
                if own.is_none() && index < replica.first_index() {
                    continue;
                }
                require(own == Some(commit.term), COMPLETE, || {
                    format!(
                        "{id} leads in term {} with {own:?} at {index}, where term {} was committed in term {}",
                        replica.term(),
                        commit.term,
                        commit.led_in
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Looks at what a replica holds for committed.
    pub(super) fn observe(&mut self, id: RaftId, replica: &Replica, memory: &Memory) -> Checked {
        let commit = replica.commit();
        let known = self.known.insert(id, commit).unwrap_or(0);
        require(commit >= known, MONOTONE, || format!("{id} goes from {known} back to {commit}"))?;
        // One sync may take what makes a majority for an entry, and the removal of the leader that counts it: that leader
        // steps down in the step in which it learns of the commit (seed 144532).
        let has_led = self.led.remove(&id) == Some(replica.term());
        if replica.is_leader() {
            self.led.insert(id, replica.term());
        }
        for index in known + 1..=commit {
            let term = replica.term_at(index);
            if term.is_none() && index < replica.first_index() {
                // It came within a snapshot, of what others had committed.
                require(self.at(index).is_some(), QUORUM, || {
                    format!("{id} has a snapshot of entry {index}, which nobody committed")
                })?;
                continue;
            }
            let term = term.unwrap_or(0);
            if let Some(first) = self.at(index) {
                require(first.term == term, NEVER_CHANGES, || {
                    format!("{id} commits entry {index} with term {term}, it was {}", first.term)
                })?;
                continue;
            }
            require(replica.is_leader() || has_led, QUORUM, || {
                format!("{id} does not lead, and is the first to know of commit {index}")
            })?;
            let led_in = replica.term();
            self.commits.push(Commit { term, led_in, print: None });
            if index == commit {
                self.check_quorum(id, replica, memory, (index, term))?;
            }
        }
        if self.memberships.get(&id) != Some(replica.membership()) {
            self.memberships.insert(id, replica.membership().clone());
        }
        Ok(())
    }

    /// A write that is durable may first commit entries, and then bring the next membership into force: either one counts.
    fn check_quorum(
        &self,
        id: RaftId,
        replica: &Replica,
        memory: &Memory,
        (index, term): (u64, u64),
    ) -> Checked {
        let holds = |voter: &&RaftId| memory.is_synced(**voter, index, term);
        let majority =
            |voters: &[RaftId]| voters.is_empty() || voters.iter().filter(holds).count() > voters.len() / 2;
        let quorum =
            |membership: &Membership| majority(&membership.voters) && majority(&membership.voters_outgoing);
        let former = self.memberships.get(&id);
        require(quorum(replica.membership()) || former.is_some_and(quorum), QUORUM, || {
            let holders: Vec<&RaftId> = replica.membership().voters.iter().filter(holds).collect();
            format!("{id} commits entry {index} of term {term}, and only {holders:?} have it on disk")
        })
    }

    /// A snapshot took a log's place.
    pub(super) fn installed(&mut self, id: RaftId, (index, term): (u64, u64)) -> Checked {
        let before = self.handed.insert(id, index).unwrap_or(0);
        require(index > before, MONOTONE, || {
            format!("{id} installs a snapshot as of {index}, and stood at {before}")
        })?;
        require(self.at(index).is_some_and(|commit| commit.term == term), NEVER_CHANGES, || {
            format!("{id} installs a snapshot as of {index} in term {term}: {:?}", self.at(index))
        })
    }

    /// Entries are handed to the applier.
    pub(super) fn handed(&mut self, id: RaftId, entries: &[LogEntry]) -> Checked {
        for entry in entries {
            let before = self.handed.insert(id, entry.index).unwrap_or(0);
            require(entry.index == before + 1, MONOTONE, || {
                format!("{id} hands entry {} over behind {before}", entry.index)
            })?;
            let place = usize::try_from(entry.index - 1).unwrap_or(usize::MAX);
            let Some(commit) = self.commits.get_mut(place) else {
                let what = format!("{id} hands entry {} over, which nobody committed", entry.index);
                return Err(Violation { invariant: QUORUM, what });
            };
            let print = Print::of(entry);
            let first = *commit.print.get_or_insert(print);
            require(commit.term == entry.term && first == print, NEVER_CHANGES, || {
                format!("{id} hands over another entry {} of term {}", entry.index, entry.term)
            })?;
        }
        Ok(())
    }

    /// An entry is applied, from memory or from the log.
    pub(super) fn applying(&self, node: NodeId, entry: &LogEntry) -> Checked {
        let commit = self.at(entry.index);
        let same = commit.is_some_and(|commit| {
            commit.term == entry.term && commit.print.is_none_or(|first| first == Print::of(entry))
        });
        require(same, NEVER_CHANGES, || {
            format!("node {node} applies entry {} of term {}: {commit:?}", entry.index, entry.term)
        })
    }
}
