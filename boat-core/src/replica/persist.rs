//! From Raft's Ready to log writes, and from durable writes to messages.

use raft::eraftpb::{Message, MessageType};
use raft::raw_node::Ready;

use super::change::Change;
use super::message::{entry_to_log, to_peer};
use super::{Fatal, KeptSnapshot, Output, Replica, store};
use crate::log::{EntryKind, HardState, LogEntry, LogStart, LogWrite};
use crate::transport::PeerMessage;
use crate::{Membership, RaftId};

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

impl Held {
    /// Whether nothing waits for this write but the commit.
    pub(super) fn is_plain(&self) -> bool {
        !self.votes && self.messages.is_empty()
    }
}

/// A committed membership change on its way to the disk. It takes effect once it is durable together with the commit that
/// covers it: a node that forgot it could win an election with the votes of a former membership.
#[derive(Debug)]
pub(super) struct Changing {
    mark: u64,
    change: Change,
    membership: Membership,
}

/// A snapshot that takes the log's place, on its way to the disk.
#[derive(Debug)]
pub(super) struct Installing {
    mark: u64,
    kept: KeptSnapshot,
}

impl Replica {
    pub(super) fn take_ready(&mut self, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        for _ in 0..READIES_MAX {
            if !self.raw.has_ready() {
                break;
            }
            let mut ready = self.raw.ready();
            self.answer_reads(ready.take_read_states(), outputs);
            self.handle_ready(ready, outputs)?;
        }
        self.hand_out_committed(outputs)
    }

    fn handle_ready(&mut self, mut ready: Ready, outputs: &mut Vec<Output>) -> Result<(), Fatal> {
        let number = ready.number();
        let hard_state = ready.hs().map(|hs| (hs.term, hs.vote));
        let votes = hard_state.is_some_and(|now| now != (self.written.term, self.written.vote));
        if let Some((term, vote)) = hard_state {
            (self.written.term, self.written.vote) = (term, vote);
        }
        let installed = self.install(&ready, outputs)?;
        let committed = ready.take_committed_entries();
        self.committed.extend(committed.iter().map(entry_to_log));
        let entries = ready.take_entries();
        self.raw.raft.mut_store().append(&entries);
        let mut messages = ready.take_persisted_messages();
        let mut immediate = ready.take_messages();
        drop_outdated(&mut immediate);
        if votes || self.held.iter().any(|held| held.votes) {
            // A leader's messages may overtake its entries' sync, but not its term's: `must_sync` alone does not say so, and
            // a sole voter leads a term before that is durable.
            messages.extend(immediate);
        } else {
            immediate.into_iter().for_each(|message| self.send(message, outputs));
        }
        if votes || !entries.is_empty() || installed.is_some() {
            let hard_state = Some(self.hard_state_to_write());
            let start =
                installed.as_ref().map(|kept| LogStart { index: kept.name.index, term: kept.name.term });
            let membership = installed.as_ref().map(|kept| kept.membership.clone());
            let write = LogWrite { start, entries: store::to_log(&entries), hard_state, membership };
            let mark = self.append(write, true, outputs);
            self.installing = installed.map(|kept| Installing { mark, kept }).or(self.installing.take());
            self.held.push_back(Held { mark, ready: number, votes, messages });
        } else if let Some(last) = self.held.back_mut() {
            // Nothing to write, but what it says may rest on writes that are still under way.
            last.ready = number;
            last.messages.append(&mut messages);
        } else {
            self.raw.advance_append_async(ready);
            self.raw.on_persist_ready(number);
            messages.into_iter().for_each(|message| self.send(message, outputs));
            return Ok(());
        }
        self.raw.advance_append_async(ready);
        Ok(())
    }

    /// Raft goes on from the snapshot that arrived: what was committed before it is in it, and what was to be changed of
    /// the membership is, too.
    fn install(&mut self, ready: &Ready, outputs: &mut Vec<Output>) -> Result<Option<KeptSnapshot>, Fatal> {
        let metadata = ready.snapshot().get_metadata();
        if metadata.index == 0 {
            return Ok(None);
        }
        let start = LogStart { index: metadata.index, term: metadata.term };
        let kept = self.take_arrived(start).ok_or_else(|| {
            Fatal::Consensus(format!("a snapshot as of entry {} that never arrived", metadata.index))
        })?;
        self.raw.raft.mut_store().install(kept.clone());
        self.committed.clear();
        self.changing = None;
        self.membership = kept.membership.clone();
        self.written.commit = start.index;
        // Before the write: what was decided up to there is not in the log any more afterwards.
        self.restore_decisions(kept.decisions.clone());
        outputs.push(Output::Decided(kept.decisions.clone()));
        Ok(Some(kept))
    }

    /// A snapshot was taken: the log is cut, as far as nobody needs it.
    pub(super) fn on_snapshot_taken(&mut self, newest: KeptSnapshot, cut_to: u64, outputs: &mut Vec<Output>) {
        if self.raw.raft.store().snapshot_kept().is_some_and(|kept| kept.name.index >= newest.name.index) {
            return;
        }
        self.raw.raft.mut_store().set_snapshot(newest);
        // What was not handed over yet may still be read from memory; and a write under way may replace the log.
        let index = cut_to.min(self.cut_limit()).min(self.handed);
        if index < self.first_index() || self.installing.is_some() || self.changing.is_some() {
            return;
        }
        let Some(term) = self.term_at(index) else { return };
        let start = LogStart { index, term };
        self.raw.raft.mut_store().cut(start);
        let hard_state = Some(self.hard_state_to_write());
        self.append(LogWrite { start: Some(start), hard_state, ..LogWrite::default() }, true, outputs);
    }

    fn send(&mut self, message: Message, outputs: &mut Vec<Output>) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            return self.offer(RaftId(message.to), message.term, outputs);
        }
        if let Some(message) = to_peer(message) {
            let to = message.to.node();
            outputs.push(Output::Send { to, message: PeerMessage::Consensus(Box::new(message)) });
        }
    }

    fn append(&mut self, write: LogWrite, sync: bool, outputs: &mut Vec<Output>) -> u64 {
        let mark = self.next_mark;
        self.next_mark += 1;
        self.commit_dirty_tick = None;
        outputs.push(Output::Append { mark, write: Box::new(write), sync });
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
            held.messages.into_iter().for_each(|message| self.send(message, outputs));
        }
        if let Some(number) = ready {
            self.raw.on_persist_ready(number);
        }
        if let Some(Installing { kept, .. }) = self.installing.take_if(|installing| installing.mark <= mark) {
            self.finish_install(kept, outputs);
        }
        // A snapshot that Raft took, and that is not installed yet, holds the change already: Raft counts by the membership
        // there, which the change would be made to once more. Installing it forgets the change.
        let is_outrun = self.raw.raft.raft_log.unstable_snapshot().is_some();
        if let Some(changing) = self.changing.take_if(|changing| changing.mark <= mark && !is_outrun) {
            self.apply_change(changing, outputs)?;
        }
        Ok(())
    }

    fn finish_install(&mut self, kept: KeptSnapshot, outputs: &mut Vec<Output>) {
        log::info!("the log goes on behind a snapshot as of entry {}", kept.name.index);
        self.handed = kept.name.index;
        self.raw.advance_apply_to(self.handed);
        self.doubt_up_to(kept.membership.index);
        outputs.push(Output::Membership(Box::new(kept.membership.clone())));
        outputs.push(Output::Installed(Box::new(kept)));
        // What waits may have been applied within the snapshot: asked again, it is answered from there.
        self.pending.send_all_again();
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
        self.doubt_up_to(self.membership.index);
        self.forget_joiners(&changing.change);
        outputs.push(Output::Membership(Box::new(changing.membership)));
        if let Some(entry) = self.committed.pop_front() {
            self.hand_over_entries(vec![entry], outputs);
        }
        if leaves {
            self.leave_membership(outputs);
        }
        Ok(())
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
        let mut membership = change
            .outcome(self.raw.raft.prs(), &self.membership, entry.index)
            .map_err(|error| consensus(error.to_string()))?;
        if !membership.members.contains_key(&self.config.own.raft_id) {
            // Behind a snapshot that is older than its admission, this node is a learner for its own Raft and nobody else's.
            membership.learners.retain(|id| *id != self.config.own.raft_id);
        }
        self.written.commit = entry.index;
        let hard_state = Some(self.written);
        let write = LogWrite { hard_state, membership: Some(membership.clone()), ..LogWrite::default() };
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

/// Drops news of commits that the next entries tell as well, to the same follower at the same time: it would take a turn for each, and
/// answer both.
fn drop_outdated(messages: &mut Vec<Message>) {
    let is_append = |message: &Message| message.get_msg_type() == MessageType::MsgAppend;
    for place in (0..messages.len().saturating_sub(1)).rev() {
        let Some((message, later)) = messages.get(place..).and_then(<[Message]>::split_first) else {
            continue;
        };
        let is_outdated = is_append(message)
            && message.entries.is_empty()
            && later.iter().any(|later| is_append(later) && later.to == message.to);
        if is_outdated {
            messages.remove(place);
        }
    }
}

fn names(ids: &[RaftId]) -> String {
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
