//! Going on after a majority's disks are lost: what to write into the log of a node that is left.

use raft::{Config, RawNode};

use super::change::{Change, Step};
use super::store::Store;
use super::{Fatal, ReplicaStart, slog_bridge};
use crate::log::{EntryKind, HardState, LogEntry, LogWrite};
use crate::{Member, Membership};

/// The writes, in order, that make everything in this log committed and `own` the only member. Each must be durable before
/// the next.
///
/// The membership becomes so by an ordinary change at the end of the log, so that whoever gets this log later comes to the
/// same membership.
///
/// # Errors
/// [`Fatal::Consensus`] when the log and the membership contradict each other, or `own` is no member.
pub(crate) fn alone(own: &Member, start: ReplicaStart) -> Result<Vec<LogWrite>, Fatal> {
    let consensus = |error: &dyn std::fmt::Display| Fatal::Consensus(error.to_string());
    let last_term = start.term_starts.last().map_or(0, |(_, term)| *term);
    let (last_index, tail) = (start.last_index, start.tail.clone());
    let mut steps = Steps {
        membership: start.membership.clone(),
        term: start.hard_state.term.max(last_term) + 1,
        raw: tracker(start)?,
        writes: Vec::new(),
    };
    for entry in tail.iter().filter(|entry| entry.kind == EntryKind::MembershipChange) {
        let change = Change::decode(&entry.data).map_err(|error| consensus(&error))?;
        steps.apply(&change, entry.index, Vec::new())?;
    }
    let mut index = last_index;
    if steps.membership.is_joint() {
        index += 1;
        steps.append(&Change::default(), index)?;
    }
    if !steps.membership.members.contains_key(&own.raft_id) {
        return Err(consensus(&format!("{} is no member: {:?}", own.raft_id, steps.membership.voters)));
    }
    let others = steps.membership.members.keys().copied().filter(|id| *id != own.raft_id);
    let mut changes: Vec<_> = others.map(|id| (Step::Remove, id)).collect();
    // Also where it has its vote already: its address may be another now.
    changes.push((Step::AddVoter, own.raft_id));
    index += 1;
    steps.append(&Change { token: None, steps: changes, members: vec![own.clone()] }, index)?;
    if steps.membership.is_joint() {
        index += 1;
        steps.append(&Change::default(), index)?;
    }
    Ok(steps.writes)
}

fn tracker(start: ReplicaStart) -> Result<RawNode<Store>, Fatal> {
    let id = start.membership.voters.first().map_or(1, |id| id.0);
    let config = Config { id, applied: start.hard_state.commit, ..Config::default() };
    let store = Store::new(start, usize::MAX, usize::MAX);
    let raw = RawNode::new(&config, store, &slog_bridge::logger());
    raw.map_err(|error| Fatal::Consensus(error.to_string()))
}

struct Steps {
    raw: RawNode<Store>,
    membership: Membership,
    term: u64,
    writes: Vec<LogWrite>,
}

impl Steps {
    /// Adds an entry with this change, and what becomes of the membership.
    fn append(&mut self, change: &Change, index: u64) -> Result<(), Fatal> {
        let entry =
            LogEntry { index, term: self.term, kind: EntryKind::MembershipChange, data: change.encode() };
        self.apply(change, index, vec![entry])
    }

    fn apply(&mut self, change: &Change, index: u64, entries: Vec<LogEntry>) -> Result<(), Fatal> {
        let consensus = |error: raft::Error| Fatal::Consensus(format!("entry {index}: {error}"));
        self.membership = change.outcome(self.raw.raft.prs(), &self.membership, index).map_err(consensus)?;
        self.raw.apply_conf_change(&change.to_raft()).map_err(consensus)?;
        let hard_state = Some(HardState { term: self.term, vote: 0, commit: index });
        self.writes.push(LogWrite {
            start: None,
            entries,
            hard_state,
            membership: Some(self.membership.clone()),
        });
        Ok(())
    }
}
