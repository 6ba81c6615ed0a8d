//! The latest outcomes of one session.

use bytes::Bytes;

use super::{Outcome, Refused};
use crate::CallOutcome;
use crate::digest::RequestHash;

/// What a session knows of one of its requests.
///
/// The parts stand side by side and are written one by one: this is the hot path of a replay, and a value that is moved
/// in wide words just after it was written in narrow ones makes the processor wait.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    /// What stands for the request; means nothing in an empty slot.
    pub(super) hash: RequestHash,
    /// The outcome, once it is done.
    outcome: Outcome,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// It has not been applied.
    #[default]
    Empty,
    /// It is in the batch being applied.
    Running,
    /// It was applied.
    Done,
}

impl Slot {
    /// The outcome of a request that was applied.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        (self.state == SlotState::Done).then_some(&self.outcome)
    }

    /// Remembers the outcome.
    #[inline]
    pub(super) fn finish(&mut self, hash: RequestHash, outcome: Outcome) {
        let Outcome { position, term, result } = outcome;
        self.state = SlotState::Done;
        self.hash = hash;
        self.outcome.position = position;
        self.outcome.term = term;
        self.outcome.result = result;
    }

    fn clear(&mut self) {
        if self.state == SlotState::Done {
            self.outcome.result = CallOutcome::Output(Bytes::new());
        }
        self.state = SlotState::Empty;
    }
}

/// A window on the requests of a session, which starts at its lowest unanswered number.
#[derive(Debug)]
pub(super) struct Window {
    lowest: u64,
    /// Behind the highest number that was looked for, and at least `lowest`.
    end: u64,
    /// Number n of `lowest..end` stands at n modulo the length, a power of two; all other slots are empty.
    ring: Vec<Slot>,
    outcomes_max: usize,
}

impl Window {
    /// A window that holds so many outcomes at most.
    pub(super) fn new(outcomes_max: usize) -> Window {
        Window { lowest: 0, end: 0, ring: Vec::new(), outcomes_max }
    }

    /// Forgets the numbers below `lowest`.
    pub(super) fn forget_below(&mut self, lowest: u64) {
        // A running request is unanswered by nature; a client that says otherwise loses only its own outcome.
        for sequence in self.lowest..lowest.min(self.end) {
            if let Some(slot) = self.at_mut(sequence) {
                slot.clear();
            }
        }
        self.lowest = self.lowest.max(lowest);
        self.end = self.end.max(lowest);
    }

    /// The place of a number, which is empty if it is new.
    ///
    /// # Errors
    /// [`Refused::OutcomeForgotten`] below the window, [`Refused::WindowFull`] above what it can hold.
    pub(super) fn slot(&mut self, sequence: u64) -> Result<&mut Slot, Refused> {
        let place = sequence.checked_sub(self.lowest).ok_or(Refused::OutcomeForgotten)?;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= self.outcomes_max {
            return Err(Refused::WindowFull { outcomes_max: self.outcomes_max });
        }
        if place >= self.ring.len() {
            self.grow(place + 1);
        }
        self.end = self.end.max(sequence.saturating_add(1));
        self.at_mut(sequence).ok_or(Refused::OutcomeForgotten)
    }

    /// Whether a number was acknowledged.
    pub(super) fn is_forgotten(&self, sequence: u64) -> bool {
        sequence < self.lowest
    }

    /// What is known of a number.
    pub(super) fn get(&self, sequence: u64) -> Option<&Slot> {
        let place = usize::try_from(sequence.checked_sub(self.lowest)?).ok()?;
        if place < self.ring.len() { self.ring.get(self.place(sequence)) } else { None }
    }

    fn place(&self, sequence: u64) -> usize {
        sequence as usize & self.ring.len().wrapping_sub(1)
    }

    fn at_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let place = self.place(sequence);
        self.ring.get_mut(place)
    }

    /// Makes room for `count` numbers from the lowest on.
    fn grow(&mut self, count: usize) {
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(count.next_power_of_two(), Slot::default);
        let old = std::mem::replace(&mut self.ring, slots);
        let old_mask = old.len().wrapping_sub(1);
        // Number n stands at n modulo the length: the one at a given place is the first from `lowest` on that fits.
        for (place, slot) in old.into_iter().enumerate() {
            let ahead = place.wrapping_sub(self.lowest as usize) & old_mask;
            if let Some(new) = self.at_mut(self.lowest.wrapping_add(ahead as u64)) {
                *new = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn done(position: u64) -> Outcome {
        Outcome { position, term: 1, result: CallOutcome::Output(position.to_string().into()) }
    }

    fn position(slot: &Slot) -> Option<u64> {
        slot.outcome().map(|outcome| outcome.position)
    }

    proptest! {
        /// Against a map: whatever is acknowledged and however the window grows, each number keeps its own outcome.
        #[test]
        fn a_number_keeps_its_outcome(
            start in prop_oneof![Just(0), Just(u64::MAX - 99), Just(u64::MAX - 70), any::<u64>()],
            steps in vec((0_u64..100, 0_u64..100), 1..100),
        ) {
            let (mut window, mut model, mut lowest) = (Window::new(70), BTreeMap::new(), 0);
            window.forget_below(start);
            lowest = lowest.max(start);
            for (at, (ahead, acknowledged)) in (1..).zip(steps) {
                let sequence = start.saturating_add(ahead);
                let found = window.slot(sequence).map(|slot| position(slot));
                if sequence < lowest {
                    prop_assert_eq!(found, Err(Refused::OutcomeForgotten));
                } else if sequence - lowest >= 70 {
                    prop_assert_eq!(found, Err(Refused::WindowFull { outcomes_max: 70 }));
                } else {
                    prop_assert_eq!(found, Ok(model.get(&sequence).copied()));
                    window.slot(sequence).unwrap().finish(RequestHash::default(), done(at));
                    model.insert(sequence, at);
                }
                if acknowledged % 5 == 0 {
                    lowest = lowest.max(start.saturating_add(acknowledged));
                    window.forget_below(lowest);
                    model = model.split_off(&lowest);
                }
                for sequence in (0..200).map(|ahead| start.saturating_add(ahead)) {
                    let known = window.get(sequence).and_then(position);
                    prop_assert_eq!(known, model.get(&sequence).copied());
                }
            }
        }
    }

    #[test]
    fn a_window_far_from_its_start_takes_no_room_for_what_lies_between() {
        let mut window = Window::new(4);
        assert!(window.slot(3).is_ok());
        window.forget_below(u64::MAX);
        assert!(window.slot(u64::MAX).is_ok());
        assert_eq!(window.ring.len(), 4);
        assert_eq!(window.slot(3).unwrap_err(), Refused::OutcomeForgotten);
    }
}
