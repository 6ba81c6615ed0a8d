//! Reads: of any node, at any time, by whoever comes along.

use super::Mutant;
use super::check::Checker;
use super::context::{Checked, Context};
use super::faults::Fault;
use super::process::NodeInput;
use super::queue::Life;
use super::running::Running;
use super::world::World;
use crate::NodeId;
use crate::apply::Until;
use crate::replica::{Input, ReadId};

/// How many reads must see everything.
const LINEARIZABLE_PER_MILLE: u32 = 600;
/// For how many ticks a read waits at most, and for a leader.
const READ_TICKS_MAX: u64 = 100;
const LEADER_TICKS_MAX: u64 = 20;
/// The same once the faults are over.
const HEALED_TICKS_MAX: u64 = 500;

/// What a read wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) number: u64,
    /// The position that must be seen; `None` for everything that was answered.
    pub(super) at_least: Option<u64>,
    pub(super) within_ticks: u64,
}

impl World {
    /// Somebody reads, from some node.
    pub(super) fn read(&mut self) {
        let place = NodeId(self.context.up_to(self.nodes.len() as u64 - 1) as u16);
        let within_ticks = 1 + self.context.up_to(READ_TICKS_MAX);
        let acked = self.checker.book.acked();
        if self.context.chance(LINEARIZABLE_PER_MILLE) {
            self.read_linearizable(place, within_ticks);
        } else {
            let at_least = if self.context.chance(500) { acked } else { 0 };
            let number = self.checker.reads.begin_local(at_least);
            let read = Read { number, at_least: Some(at_least), within_ticks };
            self.put(place, NodeInput::Read(read));
        }
    }

    /// A read that must see everything. Its number.
    pub(super) fn read_linearizable(&mut self, place: NodeId, within_ticks: u64) -> u64 {
        let number = self.checker.reads.begin_linearizable(self.checker.book.acked());
        self.context.note(number, || format!("read {number} to node {place}"));
        self.put(place, NodeInput::Read(Read { number, at_least: None, within_ticks }));
        number
    }

    /// After the faults: reads on every node must be served. True: they were.
    pub(super) fn reads_healed(&mut self) -> bool {
        let Some(healing) = &self.healing else { return false };
        let (reads, book) = (&healing.reads, &self.checker.reads);
        // What a process was asked is lost with it.
        let lives =
            |place: &NodeId, life: &Life| self.nodes.get(place).is_some_and(|node| node.life == *life);
        if reads.iter().any(|(number, place, life)| book.waits(*number) && lives(place, life)) {
            return false;
        }
        if !reads.is_empty() && reads.iter().all(|(number, ..)| book.is_answered(*number)) {
            return true;
        }
        // Nodes outside the membership have nobody to ask.
        let latest = self.latest_membership().unwrap_or_default();
        let places = latest.voters.iter().map(|id| id.node());
        let places: Vec<(NodeId, Life)> =
            places.filter_map(|place| Some((place, self.nodes.get(&place)?.life))).collect();
        let reads = places
            .into_iter()
            .map(|(place, life)| (self.read_linearizable(place, HEALED_TICKS_MAX), place, life));
        let reads = reads.collect();
        if let Some(healing) = &mut self.healing {
            healing.reads = reads;
        }
        false
    }
}

impl Running {
    /// A read arrives: what to ask the replica, if it must be asked.
    pub(super) fn begin_read(&mut self, context: &Context, read: Read) -> Option<Input> {
        let until = match read.at_least {
            Some(at_least) => Until::Position(at_least),
            // For a mutant: what this node has must do.
            None if context.options.mutant == Some(Mutant::StaleRead) => Until::Index(0),
            None => {
                let (id, within_ticks) = (ReadId(read.number), read.within_ticks);
                return Some(Input::Read { id, within_ticks, leader_within_ticks: LEADER_TICKS_MAX });
            }
        };
        self.due.insert(until, read.number);
        None
    }

    /// The replica has said what these reads must see.
    pub(super) fn confirm_reads(&mut self, context: &Context, ids: &[ReadId], index: u64) {
        let hasty = context.options.mutant == Some(Mutant::ReadBeforeApplied);
        let until = Until::Index(if hasty { 0 } else { index });
        ids.iter().for_each(|id| self.due.insert(until, id.0));
    }

    /// Answers the reads whose turn has come.
    pub(super) fn answer_reads(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        // Reads are answered between batches; and what a model that went another way shows is no promise of anybody's.
        if self.replay.is_midway() || self.replay.is_tainted {
            return Ok(());
        }
        let (index, position) = (self.replay.applier.index(), self.replay.applier.position());
        while let Some(number) = self.due.pop(index, position) {
            let state = self.replay.model().state();
            let is_behind = position < checker.book.acked();
            context.note(number, || format!("read {number} shows position {position}"));
            let is_linearizable = checker.read(number, position, &state)?;
            context.count(match (is_linearizable, is_behind) {
                (true, _) => Fault::LinearizableRead,
                (false, true) => Fault::StaleRead,
                (false, false) => Fault::LocalRead,
            });
        }
        Ok(())
    }

    /// A read that no leader confirmed.
    pub(super) fn fail_read(context: &mut Context, checker: &mut Checker, id: ReadId) {
        context.count(Fault::FailedRead);
        checker.reads.failed(id.0);
    }
}
