//! Sessions: a client's identity and its latest outcomes, which make its retries harmless (design D15).

use std::collections::BTreeMap;

use super::window::{SlotState, Window};
use super::{Outcome, Refused, SessionLimits};
use crate::SessionRequest;
use crate::digest::RequestHash;

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

#[derive(Debug)]
struct Session {
    /// The position of its opening.
    id: u64,
    window: Window,
    active_age_ms: u64,
    /// The random number of its opening, which its owner alone knows: proves that a retry is the owner's client's.
    secret: u64,
    /// The term of the entry that opened it.
    term: u64,
}

/// All open sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// By rising id, which is the order in which they were opened: found faster than in a tree.
    open: Vec<Session>,
    /// No session expires before this age: the table is searched only then.
    next_expiry_age_ms: u64,
    changes: u64,
}

impl Sessions {
    /// Opens the session whose opening has this position and term; the position is higher than any before.
    pub(crate) fn open(&mut self, opening: (u64, u64), outcomes_max: usize, secret: u64, age_ms: u64) {
        let (position, term) = opening;
        debug_assert!(self.open.last().is_none_or(|last| last.id < position), "positions rise");
        let window = Window::new(outcomes_max);
        self.open.push(Session { id: position, term, window, active_age_ms: age_ms, secret });
        self.changes += 1;
    }

    /// Position and term of the session that was opened with this secret: an opening that was sent twice opens one.
    pub(crate) fn opened_with(&self, secret: u64) -> Option<(u64, u64)> {
        let opened = self.open.iter().find(|session| session.secret == secret);
        opened.map(|session| (session.id, session.term))
    }

    /// Rises whenever a session is opened or expires.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The secret of each open session.
    pub(crate) fn secrets(&self) -> BTreeMap<u64, u64> {
        self.open.iter().map(|session| (session.id, session.secret)).collect()
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
        let before = self.open.len();
        self.open.retain(|session| expires(session) >= age_ms);
        self.changes += u64::from(self.open.len() != before);
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
        found.window.forget_below(lowest_unanswered.min(sequence));
        let slot = found.window.slot(sequence)?;
        match slot.state {
            SlotState::Empty => {
                slot.hash = hash;
                slot.state = SlotState::Running;
                Ok(Known::New)
            }
            SlotState::Running if slot.hash == hash => Ok(Known::Running),
            SlotState::Running => Err(Refused::KeyReused { position: 0 }),
            SlotState::Done => match slot.outcome() {
                Some(outcome) if slot.hash == hash => Ok(Known::Done(outcome.clone())),
                first => Err(Refused::KeyReused { position: first.map_or(0, |outcome| outcome.position) }),
            },
        }
    }

    /// Remembers the outcome of a request that [`Sessions::begin`] called new.
    #[inline]
    pub(crate) fn finish(&mut self, request: SessionRequest, hash: RequestHash, outcome: Outcome) {
        let found = self.find_mut(request.session);
        if let Some(Ok(slot)) = found.map(|session| session.window.slot(request.sequence)) {
            slot.finish(hash, outcome);
        }
    }

    /// The outcome of a request that was applied.
    pub(crate) fn outcome(&self, request: SessionRequest) -> Option<&Outcome> {
        let session = self.open.get(self.place(request.session)?)?;
        session.window.get(request.sequence)?.outcome()
    }

    /// Whether the request's session is gone, or its number was acknowledged.
    pub(crate) fn is_forgotten(&self, request: SessionRequest) -> bool {
        let found = self.place(request.session).and_then(|place| self.open.get(place));
        found.is_none_or(|session| session.window.is_forgotten(request.sequence))
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.open.binary_search_by_key(&id, |session| session.id).ok()
    }

    fn find_mut(&mut self, id: u64) -> Option<&mut Session> {
        let place = self.place(id)?;
        self.open.get_mut(place)
    }
}
