//! Promise S6: a linearizable read sees every position that was answered before it began, and what an earlier such read
//! saw; any other read sees no less than it asked for. Both show the state after exactly the position that they name.

use bytes::Bytes;

use super::super::context::Checked;
use super::reference::Reference;
use super::require;

const INVARIANT: &str = "S6 reads";

/// A read that was begun.
#[derive(Debug)]
struct Begun {
    /// The lowest position that it may show.
    floor: u64,
    is_linearizable: bool,
    waits: bool,
    is_answered: bool,
}

/// All reads of a run.
#[derive(Debug, Default)]
pub(in super::super) struct Reads {
    begun: Vec<Begun>,
    /// The highest position that a linearizable read has shown.
    shown: u64,
}

impl Reads {
    /// Begins a read that must see everything, now that `acked` is the highest position answered. Its number.
    pub(in super::super) fn begin_linearizable(&mut self, acked: u64) -> u64 {
        self.begin(acked.max(self.shown), true)
    }

    /// Begins a read of whatever a node has, but no less than `at_least`. Its number.
    pub(in super::super) fn begin_local(&mut self, at_least: u64) -> u64 {
        self.begin(at_least, false)
    }

    fn begin(&mut self, floor: u64, is_linearizable: bool) -> u64 {
        self.begun.push(Begun { floor, is_linearizable, waits: true, is_answered: false });
        self.begun.len() as u64 - 1
    }

    pub(in super::super) fn waits(&self, number: u64) -> bool {
        self.begun.get(number as usize).is_some_and(|read| read.waits)
    }

    pub(in super::super) fn is_answered(&self, number: u64) -> bool {
        self.begun.get(number as usize).is_some_and(|read| read.is_answered)
    }

    pub(in super::super) fn failed(&mut self, number: u64) {
        if let Some(read) = self.begun.get_mut(number as usize) {
            read.waits = false;
        }
    }

    /// A read shows this state, as the one at `position`. Whether it was to be linearizable.
    pub(super) fn answered(
        &mut self,
        reference: &Reference,
        number: u64,
        position: u64,
        state: &Bytes,
    ) -> Checked<bool> {
        let Some(read) = self.begun.get_mut(number as usize) else { return Ok(false) };
        (read.waits, read.is_answered) = (false, true);
        let (floor, is_linearizable) = (read.floor, read.is_linearizable);
        require(position >= floor, INVARIANT, || {
            let kind = if is_linearizable { "linearizable" } else { "local" };
            format!("{kind} read {number} shows position {position}, and must show {floor} at least")
        })?;
        let expected = reference.state(position);
        require(Some(state) == expected, INVARIANT, || {
            format!("read {number} shows {state:?} as the state at position {position}: it was {expected:?}")
        })?;
        if is_linearizable {
            self.shown = self.shown.max(position);
        }
        Ok(is_linearizable)
    }
}
