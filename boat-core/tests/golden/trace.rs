//! The trace: one line for each thing that matters.

use std::collections::{BTreeMap, BTreeSet};

use boat_core::apply::Applied;
use boat_core::log::{EntryKind, LogEntry};
use boat_core::replica::{Fatal, OperationResult, Output, RequestId};
use boat_core::{CallOutcome, Decision, NodeId, RaftId};

use super::describe::{id, membership, message, name};
use super::links::{Fate, Letter};
use super::node::Node;

/// What was known of a node's election: term, leader, whether it leads.
type Known = (u64, Option<NodeId>, bool);

#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) lines: Vec<String>,
    pub(crate) operations: Vec<String>,
    tick: u64,
    /// What this step has said already.
    said: BTreeSet<String>,
    known: BTreeMap<RaftId, Known>,
}

impl Trace {
    pub(crate) fn tick(&mut self) {
        self.tick += 1;
    }

    /// Another step of the scenario begins.
    pub(crate) fn next_step(&mut self) {
        self.said.clear();
    }

    pub(crate) fn line(&mut self, line: String) {
        if self.said.insert(line.clone()) {
            self.always(line);
        }
    }

    pub(crate) fn always(&mut self, line: String) {
        self.lines.push(format!("{:5}  {line}", self.tick));
    }

    /// What a node knows of the leader, if that has changed.
    pub(crate) fn state(&mut self, node: &Node) {
        let replica = &node.replica;
        let now = (replica.term(), replica.leader(), replica.is_leader());
        if self.known.insert(node.own.raft_id, now).unwrap_or_default() == now {
            return;
        }
        let (own, (term, leader, leads)) = (id(node.own.raft_id), now);
        self.line(match leader {
            _ if leads => format!("{own} leads in term {term}"),
            Some(leader) => format!("{own} follows {leader} in term {term}"),
            None => format!("{own} knows no leader in term {term}"),
        });
    }

    /// What a node has read of its log for others.
    pub(crate) fn read(&mut self, node: NodeId, entries: &[LogEntry]) {
        match entries {
            [] => {}
            [one] => self.line(format!("{node} reads entry {} of its log", one.index)),
            [first, .., last] => {
                self.line(format!("{node} reads entries {}-{} of its log", first.index, last.index))
            }
        }
    }

    pub(crate) fn ended(&mut self, node: NodeId, fatal: &Fatal) {
        self.line(format!("{node} ends: {fatal}"));
    }

    pub(crate) fn late(&mut self, letter: &Letter) {
        if let Some(said) = message(&letter.message) {
            self.line(format!("{} -> {}  {said} (late)", id(letter.from), letter.to));
        }
    }

    pub(crate) fn sent(&mut self, letter: &Letter, fate: Fate) {
        let Some(said) = message(&letter.message) else { return };
        let fate = match fate {
            Fate::Arrives => "",
            Fate::ArrivesTwice => " (twice)",
            Fate::Lost => " (lost)",
            Fate::Late => " (kept back)",
        };
        self.line(format!("{} -> {}  {said}{fate}", id(letter.from), letter.to));
    }

    pub(crate) fn applied(&mut self, node: NodeId, request: &RequestId, applied: &Applied, waits: bool) {
        let again = if applied.replayed { " again" } else { "" };
        let answers = if waits { ", and answers" } else { "" };
        let what = match &applied.result {
            Ok(outcome) => {
                let said = match &outcome.result {
                    CallOutcome::Output(output) => format!("\"{}\"", String::from_utf8_lossy(output)),
                    CallOutcome::Rejected(reason) => format!("rejected: {reason}"),
                    CallOutcome::Quarantined => "quarantined".to_owned(),
                };
                format!("at position {}: {said}", outcome.position)
            }
            Err(refused) => format!("{refused:?}"),
        };
        self.line(format!("{node} applies {}{again} {what}{answers}", name(request)));
    }

    pub(crate) fn output(&mut self, node: &Node, output: &Output) {
        let own = node.id();
        let line = match output {
            Output::Append { write, .. } if node.hangs && !write.entries.is_empty() => {
                let (first, last) = (write.entries[0].index, write.entries[write.entries.len() - 1].index);
                format!("{own} waits for its disk with entries {first}-{last}")
            }
            Output::Committed(entries) => {
                let commands = entries.iter().filter(|entry| entry.kind == EntryKind::Normal);
                for decision in commands.filter_map(|entry| Decision::of_entry(&entry.data)) {
                    self.line(format!("{own} learns: {decision}"));
                }
                return;
            }
            Output::Diverged { position, rebuild } => {
                let then = if *rebuild { "begins anew" } else { "gives up" };
                format!("{own} differs from the majority at position {position}, and {then}")
            }
            Output::BeginSnapshot(name) => format!("{own} makes room for snapshot {}", name.index),
            Output::FinishSnapshot(name) => format!("{own} verifies snapshot {}", name.index),
            Output::Installed(kept) => format!("{own} goes on from snapshot {}", kept.name.index),
            Output::Failed { id, failure } => format!("{own} fails {}: {failure:?}", name(id)),
            Output::ReadAt { ids, index } => {
                let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
                format!("{own} may answer read {} once it has applied {index}", ids.join(", "))
            }
            Output::ReadFailed(id) => format!("{own} fails read {}", id.0),
            Output::Membership(after) => format!("{own} has {}", membership(after)),
            Output::Operated { token, result } => {
                let result = match result {
                    OperationResult::Refused(refusal) => format!("refused, {refusal}"),
                    other => format!("{other:?}").to_lowercase(),
                };
                format!("{own} answers: {}: {result}", self.operations[token.0 as usize - 1])
            }
            Output::MayLeave(verdict) => match verdict {
                Some(true) => format!("{own} may leave"),
                Some(false) => format!("{own} must stay"),
                None => format!("{own} finds nobody to ask whether it may leave"),
            },
            _ => return,
        };
        self.line(line);
    }
}
