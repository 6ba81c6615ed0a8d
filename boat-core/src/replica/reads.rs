//! Linearizable reads that leave the log alone: Raft's ReadIndex (Ongaro, "Consensus: Bridging Theory and Practice", 6.4).
//!
//! The leader notes its commit, makes sure by a round of heartbeats that it still leads, and tells the index: whoever has
//! applied that much may answer. One question serves all reads that waited when it was asked, on whichever node; those that
//! come later wait for the next. A lease would save the round and stake the promise on clocks, so there is none.

use std::collections::{BTreeMap, VecDeque};

use raft::ReadState;

use super::{Output, Replica};

/// After how many ticks an unanswered question is asked again: messages may be lost, and Raft drops questions silently.
const ASK_AGAIN_TICKS: u64 = 10;
/// How many questions may still be answered late. An earlier one's answer serves the reads that it was asked for.
const ASKED_MAX: usize = 8;

/// What recognizes a read on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

#[derive(Debug)]
struct Waiting {
    id: ReadId,
    deadline_tick: u64,
    leader_deadline_tick: u64,
}

/// A question that was asked.
#[derive(Debug)]
struct Asked {
    number: u64,
    /// It was asked for all reads that came before this one.
    before: u64,
    tick: u64,
}

/// The reads of this node that wait for an index.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Tells the questions of this start from those of earlier ones, whose answers may still be on their way.
    nonce: u64,
    questions: u64,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    asked: VecDeque<Asked>,
    /// The leader and term that the last question went to.
    asked_of: (u64, u64),
}

impl Reads {
    /// Nothing waits. `nonce` is drawn at each start.
    pub(super) fn new(nonce: u64) -> Self {
        Reads { nonce, ..Reads::default() }
    }

    fn accept(&mut self, id: ReadId, deadline_tick: u64, leader_deadline_tick: u64) {
        self.waiting.insert(self.next, Waiting { id, deadline_tick, leader_deadline_tick });
        self.next += 1;
    }

    /// The next question's number, if one is to be asked now.
    fn ask(&mut self, tick: u64, leader: (u64, u64)) -> Option<u64> {
        let last = self.waiting.last_key_value().map(|(place, _)| *place)?;
        if let Some(asked) = self.asked.back()
            && self.asked_of == leader
            && tick < asked.tick + ASK_AGAIN_TICKS
        {
            return None;
        }
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_front();
        }
        self.asked_of = leader;
        self.questions += 1;
        self.asked.push_back(Asked { number: self.questions, before: last + 1, tick });
        Some(self.questions)
    }

    /// A question was answered: the reads that it was asked for.
    fn answered(&mut self, number: u64) -> Vec<ReadId> {
        let Some(asked) = self.asked.iter().find(|asked| asked.number == number) else { return Vec::new() };
        let later = self.waiting.split_off(&asked.before);
        let served = std::mem::replace(&mut self.waiting, later);
        self.asked.retain(|asked| asked.number > number);
        self.forget_if_done();
        served.into_values().map(|waiting| waiting.id).collect()
    }

    /// The reads whose time is over. `waits_in_vain`: no leader is going to be known here.
    fn overdue(&mut self, tick: u64, has_leader: bool, waits_in_vain: bool) -> Vec<ReadId> {
        let is_late = |waiting: &Waiting| {
            let is_over = waits_in_vain || tick >= waiting.leader_deadline_tick;
            tick >= waiting.deadline_tick || !has_leader && is_over
        };
        let late =
            self.waiting.values().filter(|waiting| is_late(waiting)).map(|waiting| waiting.id).collect();
        self.waiting.retain(|_, waiting| !is_late(waiting));
        self.forget_if_done();
        late
    }

    /// Questions that nobody waits for any more would only hold back the next one.
    fn forget_if_done(&mut self) {
        if self.waiting.is_empty() {
            self.asked.clear();
        }
    }

    fn drain(&mut self) -> Vec<ReadId> {
        self.asked.clear();
        std::mem::take(&mut self.waiting).into_values().map(|waiting| waiting.id).collect()
    }
}

impl Replica {
    pub(super) fn on_read(&mut self, id: ReadId, within_ticks: u64, leader_within_ticks: u64) {
        let deadline_tick = self.tick.saturating_add(within_ticks);
        let leader_deadline_tick = self.tick.saturating_add(leader_within_ticks);
        self.reads.accept(id, deadline_tick, leader_deadline_tick);
    }

    /// Asks for the index that the waiting reads need, unless that was asked already. True: Raft has something to say.
    pub(super) fn ask_for_reads(&mut self) -> bool {
        let raft = &self.raw.raft;
        // Raft would drop the question silently: without a leader, and before the leader's term has its first commit.
        let heard = if self.is_leader() { raft.commit_to_current_term() } else { self.leader().is_some() };
        if !heard {
            return false;
        }
        let Some(number) = self.reads.ask(self.tick, (raft.leader_id, raft.term)) else { return false };
        self.raw.read_index(self.read_context(number));
        true
    }

    /// What recognizes a question wherever it goes: Raft takes equal ones for one, and an answer to an equal one of an
    /// earlier start would be stale.
    fn read_context(&self, number: u64) -> Vec<u8> {
        let words = [self.config.own.raft_id.0, self.reads.nonce, number];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn answer_reads(&mut self, states: Vec<ReadState>, outputs: &mut Vec<Output>) {
        for ReadState { index, request_ctx } in states {
            let number = request_ctx.last_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            let Some(number) = number.filter(|number| self.read_context(*number) == request_ctx) else {
                continue;
            };
            let ids = self.reads.answered(number);
            if !ids.is_empty() {
                outputs.push(Output::ReadAt { ids, index });
            }
        }
    }

    pub(super) fn fail_late_reads(&mut self, outputs: &mut Vec<Output>) {
        let has_leader = self.leader().is_some();
        let late = self.reads.overdue(self.tick, has_leader, self.waits_in_vain());
        outputs.extend(late.into_iter().map(Output::ReadFailed));
    }

    pub(super) fn abandon_reads(&mut self, outputs: &mut Vec<Output>) {
        outputs.extend(self.reads.drain().into_iter().map(Output::ReadFailed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: (u64, u64) = (7, 1);

    fn waiting(ids: std::ops::Range<u64>) -> Reads {
        let mut reads = Reads::new(3);
        ids.for_each(|id| reads.accept(ReadId(id), 100, 50));
        reads
    }

    #[test]
    fn one_question_serves_all_that_waited_and_nobody_who_came_later() {
        let mut reads = waiting(0..3);
        assert_eq!(reads.ask(0, LEADER), Some(1));
        reads.accept(ReadId(3), 100, 50);
        assert_eq!(reads.ask(0, LEADER), None, "one is under way");
        assert_eq!(reads.answered(1), [ReadId(0), ReadId(1), ReadId(2)]);
        assert_eq!(reads.answered(1), []);
        assert_eq!(reads.ask(0, LEADER), Some(2));
        assert_eq!(reads.answered(2), [ReadId(3)]);
        assert_eq!(reads.ask(0, LEADER), None, "nobody waits");
    }

    #[test]
    fn a_question_is_asked_again_in_time_and_of_another_leader_and_its_late_answer_still_serves() {
        let mut reads = waiting(0..1);
        assert_eq!(reads.ask(0, LEADER), Some(1));
        assert_eq!(reads.ask(1, (8, 2)), Some(2));
        reads.accept(ReadId(1), 100, 50);
        assert_eq!(reads.ask(ASK_AGAIN_TICKS, (8, 2)), None);
        assert_eq!(reads.ask(1 + ASK_AGAIN_TICKS, (8, 2)), Some(3));
        assert_eq!(reads.answered(2), [ReadId(0)]);
        assert_eq!(reads.answered(3), [ReadId(1)]);
    }

    #[test]
    fn what_nobody_answers_is_late() {
        let mut reads = waiting(0..2);
        assert_eq!(reads.overdue(50, true, false), []);
        assert_eq!(reads.overdue(49, false, false), []);
        assert_eq!(reads.overdue(50, false, false), [ReadId(0), ReadId(1)]);
        assert_eq!(waiting(4..5).overdue(100, true, false), [ReadId(4)]);
        assert_eq!(waiting(4..5).overdue(1, false, true), [ReadId(4)]);
        assert_eq!(waiting(4..5).drain(), [ReadId(4)]);
    }
}
