//! From Raft's Ready to log writes, and from durable writes to messages.

use raft::eraftpb::Message;
use raft::raw_node::Ready;

use super::change::Change;
use super::message::{entry_to_log, to_peer};
use super::{Fatal, Output, Replica, store};
use crate::Membership;
use crate::log::{EntryKind, HardState, LogEntry, LogWrite};
use crate::transport::PeerMessage;

/// After how many ticks a commit that nothing carried is written by itself.
const LATE_COMMIT_TICKS: u64 = 5;
/// Readies taken out in one go, at most; the rest waits for the next flush.
const READIES_MAX: usize = 64;

/// Messages that wait for a write.
#[derive(Debug)]
pub(super) struct Held {
    mark: u64,
    /// The last Ready that is persisted with this write.
    ready: u64,
    /// Whether the write changes the term or the vote.
    votes: bool,
    messages: Vec<Message>,
}

/// A committed membership change on its way to the disk. It takes effect once it is durable together with the commit that
/// covers it: a node that forgot it could win an election with the votes of a former membership.
#[derive(Debug)]
pub(super) struct Changing {
    mark: u64,
    change: Change,
    membership: Membership,
}

impl Replica {
    pub(super) fn take_ready(&mut self, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        for _ in 0..READIES_MAX {
            if !self.raw.has_ready() {
                break;
            }
            let mut ready = self.raw.ready();
            self.answer_reads(ready.take_read_states(), outputs);
            self.handle_ready(ready, outputs);
        }
        self.hand_out_committed(outputs)
    }

    fn handle_ready(&mut self, mut ready: Ready, outputs: &mut Vec<Output>) {
        let number = ready.number();
        let hard_state = ready.hs().map(|hs| (hs.term, hs.vote));
        let votes = hard_state.is_some_and(|now| now != (self.written.term, self.written.vote));
        if let Some((term, vote)) = hard_state {
            (self.written.term, self.written.vote) = (term, vote);
        }
        let committed = ready.take_committed_entries();
        self.committed.extend(committed.iter().map(entry_to_log));
        let entries = ready.take_entries();
        self.raw.raft.mut_store().append(&entries);
        let mut messages = ready.take_persisted_messages();
        let immediate = ready.take_messages();
        if votes || self.held.iter().any(|held| held.votes) {
            // A leader's messages may overtake its entries' sync, but not its term's: `must_sync` alone does not say so, and
            // a sole voter leads a term before that is durable.
            messages.extend(immediate);
        } else {
            immediate.into_iter().for_each(|message| Self::send(message, outputs));
        }
        if votes || !entries.is_empty() {
            let hard_state = Some(self.hard_state_to_write());
            let write = LogWrite { entries: store::to_log(&entries), hard_state, membership: None };
            let mark = self.append(write, true, outputs);
            self.held.push_back(Held { mark, ready: number, votes, messages });
        } else if let Some(last) = self.held.back_mut() {
            // Nothing to write, but what it says may rest on writes that are still under way.
            last.ready = number;
            last.messages.append(&mut messages);
        } else {
            self.raw.advance_append_async(ready);
            self.raw.on_persist_ready(number);
            messages.into_iter().for_each(|message| Self::send(message, outputs));
            return;
        }
        self.raw.advance_append_async(ready);
    }

    fn send(message: Message, outputs: &mut Vec<Output>) {
        if let Some(message) = to_peer(message) {
            let to = message.to.node();
            outputs.push(Output::Send { to, message: PeerMessage::Consensus(Box::new(message)) });
        }
    }

    fn append(&mut self, write: LogWrite, sync: bool, outputs: &mut Vec<Output>) -> u64 {
        let mark = self.next_mark;
        self.next_mark += 1;
        self.commit_dirty_tick = None;
        outputs.push(Output::Append { mark, write, sync });
        mark
    }

    /// The commit on disk never covers a membership change that is not on disk itself: it ends where the applier was handed,
    /// or with the change that is being written.
    fn hard_state_to_write(&mut self) -> HardState {
        self.written.commit = self.written.commit.max(self.handed);
        self.written
    }

    pub(super) fn on_persisted(&mut self, mark: u64, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        let mut ready = None;
        while let Some(held) = self.held.pop_front() {
            if held.mark > mark {
                self.held.push_front(held);
                break;
            }
            ready = Some(held.ready);
            held.messages.into_iter().for_each(|message| Self::send(message, outputs));
        }
        if let Some(number) = ready {
            self.raw.on_persist_ready(number);
        }
        if let Some(changing) = self.changing.take_if(|changing| changing.mark <= mark) {
            self.apply_change(changing, outputs)?;
        }
        Ok(())
    }

    fn apply_change(&mut self, changing: Changing, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        let own = self.config.own.raft_id;
        let leaves = self.is_member() && !changing.membership.members.contains_key(&own);
        if self.is_leader() && !changing.membership.is_voter(own) {
            // Raft panics over a leader that is no voter. One hands over before it is removed; but one that was elected with
            // its own removal in the log must step down here.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        let applied = self.raw.apply_conf_change(&changing.change.to_raft());
        applied.map_err(|error| Fatal::Consensus(error.to_string()))?;
        log::info!(
            "membership as of entry {}: voters {}; learners {}",
            changing.membership.index,
            names(&changing.membership.voters),
            names(&changing.membership.learners),
        );
        self.membership = changing.membership.clone();
        self.forget_joiners(&changing.change);
        outputs.push(Output::Membership(changing.membership));
        if let Some(entry) = self.committed.pop_front() {
            self.hand_over_entries(vec![entry], outputs);
        }
        if leaves { self.end_removed(self.membership.index, outputs) } else { Ok(()) }
    }

    /// Hands committed entries on, up to the first membership change, which goes to disk first.
    pub(super) fn hand_out_committed(&mut self, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        if self.changing.is_some() {
            return Ok(());
        }
        let normal = self.committed.iter().take_while(|entry| entry.kind == EntryKind::Normal).count();
        let entries: Vec<LogEntry> = self.committed.drain(..normal).collect();
        self.hand_over_entries(entries, outputs);
        let Some(entry) = self.committed.front() else { return Ok(()) };
        let consensus = |why: String| Fatal::Consensus(format!("membership change {}: {why}", entry.index));
        let change = Change::decode(&entry.data).map_err(|error| consensus(error.to_string()))?;
        let membership = change
            .outcome(self.raw.raft.prs(), &self.membership, entry.index)
            .map_err(|error| consensus(error.to_string()))?;
        self.written.commit = entry.index;
        let hard_state = Some(self.written);
        let write = LogWrite { entries: Vec::new(), hard_state, membership: Some(membership.clone()) };
        let mark = self.append(write, true, outputs);
        self.changing = Some(Changing { mark, change, membership });
        Ok(())
    }

    fn hand_over_entries(&mut self, entries: Vec<LogEntry>, outputs: &mut Vec<Output>) {
        let Some(last) = entries.last() else { return };
        self.handed = last.index;
        // For Raft, applied is what was handed over: a slow model must not slow consensus (design D5).
        self.raw.advance_apply_to(self.handed);
        self.commit_dirty_tick.get_or_insert(self.tick);
        self.take_decisions(&entries, outputs);
        outputs.push(Output::Committed(entries));
    }

    /// A commit normally rides with the next entries. When none come it is written late, without a sync: losing it costs
    /// nothing but a few entries that the leader commits again.
    pub(super) fn write_late_commit(&mut self, outputs: &mut Vec<Output>) {
        if self.commit_dirty_tick.is_some_and(|since| self.tick >= since + LATE_COMMIT_TICKS)
            && self.changing.is_none()
            && self.written.commit < self.handed
        {
            let hard_state = Some(self.hard_state_to_write());
            let write = LogWrite { hard_state, ..LogWrite::default() };
            self.append(write, false, outputs);
        }
    }
}

fn names(ids: &[crate::RaftId]) -> String {
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
