//! Sessions: a client's identity and its latest outcomes, which make its retries harmless (design D15).

use std::collections::VecDeque;

use super::{Outcome, Refused, SessionLimits};
use crate::SessionRequest;
use crate::digest::RequestHash;

/// What a session knows of one of its requests. The parts are written one by one: this is the hot path of a replay.
#[derive(Debug)]
struct Slot {
    /// What stands for the request; means nothing in an empty slot.
    hash: RequestHash,
    state: SlotState,
}

#[derive(Debug)]
enum SlotState {
    /// It has not been applied.
    Empty,
    /// It is in the batch being applied.
    Running,
    /// It was applied.
    Done(Outcome),
}

impl Slot {
    fn empty() -> Slot {
        Slot { hash: RequestHash::default(), state: SlotState::Empty }
    }
}

/// What the table says of a request, before it is applied.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// It is new, and its place is taken.
    New,
    /// It stands earlier in the batch being applied.
    Running,
    /// It was applied: this is its outcome.
    Done(Outcome),
}

/// The latest outcomes of one session: a window that starts at its lowest unanswered number.
#[derive(Debug)]
struct Session {
    /// The position of its opening.
    id: u64,
    lowest: u64,
    slots: VecDeque<Slot>,
    outcomes_max: usize,
    active_age_ms: u64,
}

impl Session {
    fn forget_below(&mut self, lowest: u64) {
        if lowest > self.lowest {
            let count = usize::try_from(lowest - self.lowest).unwrap_or(usize::MAX);
            // A running request is unanswered by nature; a client that says otherwise loses only its own outcome.
            // Not `drain`: nearly always this is one slot.
            for _ in 0..count.min(self.slots.len()) {
                self.slots.pop_front();
            }
            self.lowest = lowest;
        }
    }

    fn slot(&mut self, sequence: u64) -> Result<&mut Slot, Refused> {
        let place = sequence.checked_sub(self.lowest).ok_or(Refused::OutcomeForgotten)?;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        if place >= self.outcomes_max {
            return Err(Refused::WindowFull { outcomes_max: self.outcomes_max });
        }
        if place >= self.slots.len() {
            // Not `resize`: nearly always this is one slot.
            while self.slots.len() <= place {
                self.slots.push_back(Slot::empty());
            }
        }
        self.slots.get_mut(place).ok_or(Refused::OutcomeForgotten)
    }
}

/// All open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By rising id, which is the order in which they were opened: found faster than in a tree.
    open: Vec<Session>,
    /// No session expires before this age: the table is searched only then.
    next_expiry_age_ms: u64,
}

impl Sessions {
    /// Opens the session whose opening has this position.
    pub(crate) fn open(&mut self, position: u64, outcomes_max: usize, age_ms: u64) {
        debug_assert!(self.open.last().is_none_or(|last| last.id < position), "positions rise");
        let slots = VecDeque::new();
        self.open.push(Session { id: position, lowest: 0, slots, outcomes_max, active_age_ms: age_ms });
    }

    /// Whether another session may be opened.
    pub(crate) fn has_room(&self, limits: &SessionLimits) -> bool {
        self.open.len() < limits.sessions_max as usize
    }

    /// Forgets sessions without a request for longer than allowed.
    pub(crate) fn expire(&mut self, age_ms: u64, limits: &SessionLimits) {
        if age_ms < self.next_expiry_age_ms {
            return;
        }
        let expires = |session: &Session| session.active_age_ms.saturating_add(limits.session_age_ms_max);
        self.open.retain(|session| expires(session) >= age_ms);
        let earliest = self.open.iter().map(expires).min();
        self.next_expiry_age_ms = earliest.unwrap_or(age_ms.saturating_add(limits.session_age_ms_max));
    }

    /// Looks `request` up, and takes its place when it is new.
    pub(crate) fn begin(
        &mut self,
        request: SessionRequest,
        lowest_unanswered: u64,
        hash: RequestHash,
        age_ms: u64,
    ) -> Result<Known, Refused> {
        let SessionRequest { session, sequence } = request;
        let found = self.find_mut(session).ok_or(Refused::SessionExpired { session })?;
        found.active_age_ms = age_ms;
        found.forget_below(lowest_unanswered.min(sequence));
        let slot = found.slot(sequence)?;
        match &slot.state {
            SlotState::Empty => {
                slot.hash = hash;
                slot.state = SlotState::Running;
                Ok(Known::New)
            }
            SlotState::Running if slot.hash == hash => Ok(Known::Running),
            SlotState::Done(outcome) if slot.hash == hash => Ok(Known::Done(outcome.clone())),
            SlotState::Done(outcome) => Err(Refused::KeyReused { position: outcome.position }),
            SlotState::Running => Err(Refused::KeyReused { position: 0 }),
        }
    }

    /// Remembers the outcome of a request that [`Sessions::begin`] called new.
    pub(crate) fn finish(&mut self, request: SessionRequest, hash: RequestHash, outcome: Outcome) {
        let found = self.find_mut(request.session);
        if let Some(Ok(slot)) = found.map(|session| session.slot(request.sequence)) {
            slot.hash = hash;
            slot.state = SlotState::Done(outcome);
        }
    }

    /// The outcome of a request that was applied.
    pub(crate) fn outcome(&self, request: SessionRequest) -> Option<&Outcome> {
        let session = self.open.get(self.place(request.session)?)?;
        let place = usize::try_from(request.sequence.checked_sub(session.lowest)?).ok()?;
        match &session.slots.get(place)?.state {
            SlotState::Done(outcome) => Some(outcome),
            SlotState::Empty | SlotState::Running => None,
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.open.binary_search_by_key(&id, |session| session.id).ok()
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Session> {
        let place = self.place(id)?;
        self.open.get_mut(place)
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}
