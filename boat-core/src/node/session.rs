//! This frontend's own session: what makes Boat's retries of requests without a key exact (design D15).

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Origin, SessionRequest};

/// An open session of this frontend.
#[derive(Debug)]
struct Open {
    id: u64,
    next: u64,
    unanswered: BTreeSet<u64>,
    outcomes_max: u64,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Open>,
}

/// Hands out sequence numbers, and knows the lowest one without an answer.
///
/// A request whose fate is unknown holds the window back, because its client may ask again. Once half the window is held
/// back the frontend opens another session; the old one keeps its outcomes until it expires.
#[derive(Debug, Default)]
pub(super) struct FrontendSession(Mutex<State>);

impl FrontendSession {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request's place; `None` when a session has to be opened first.
    pub(super) fn next(&self) -> Option<(SessionRequest, Origin)> {
        let mut state = self.lock();
        let open = state.current.as_mut()?;
        let lowest = open.unanswered.first().copied().unwrap_or(open.next);
        if open.next - lowest >= open.outcomes_max / 2 {
            state.current = None;
            return None;
        }
        let request = SessionRequest { session: open.id, sequence: open.next };
        open.unanswered.insert(open.next);
        open.next += 1;
        Some((request, Origin::Session { request, lowest_unanswered: lowest }))
    }

    /// Whether there is a session to go on in.
    pub(super) fn is_open(&self) -> bool {
        self.lock().current.is_some()
    }

    /// Goes on in the session that was opened at this position.
    pub(super) fn opened(&self, id: u64, outcomes_max: u64) {
        let open = Open { id, next: 0, unanswered: BTreeSet::new(), outcomes_max };
        self.lock().current = Some(open);
    }

    /// The client has its answer, and will not ask again.
    pub(super) fn answered(&self, request: SessionRequest) {
        if let Some(open) = self.lock().current.as_mut().filter(|open| open.id == request.session) {
            open.unanswered.remove(&request.sequence);
        }
    }

    /// The session is gone: the next request opens another.
    pub(super) fn expired(&self, session: u64) {
        let mut state = self.lock();
        if state.current.as_ref().is_some_and(|open| open.id == session) {
            state.current = None;
        }
    }
}

/// How a request without a key is named to its client: `boat-SESSION-SEQUENCE`.
pub(super) fn retry_key(request: SessionRequest) -> String {
    format!("boat-{}-{}", request.session, request.sequence)
}

/// Reads what [`retry_key`] wrote. A retry acknowledges nothing, so it never moves the session's window.
pub(super) fn retry_origin(key: &str) -> Option<Origin> {
    let (session, sequence) = key.strip_prefix("boat-")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    let request = SessionRequest { session: number(session)?, sequence: number(sequence)? };
    Some(Origin::Session { request, lowest_unanswered: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowest(origin: &Origin) -> u64 {
        match origin {
            Origin::Session { lowest_unanswered, .. } => *lowest_unanswered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_lowest_unanswered_follows_the_answers() {
        let session = FrontendSession::default();
        assert!(session.next().is_none());
        session.opened(7, 8);
        let (first, _) = session.next().unwrap();
        let (second, origin) = session.next().unwrap();
        assert_eq!((first.sequence, second.sequence, lowest(&origin)), (0, 1, 0));
        session.answered(first);
        assert_eq!(lowest(&session.next().unwrap().1), 1);
    }

    #[test]
    fn an_unknown_fate_moves_new_requests_to_another_session() {
        let session = FrontendSession::default();
        session.opened(7, 8);
        let (held, _) = session.next().unwrap();
        for _ in 0..3 {
            let (next, _) = session.next().unwrap();
            session.answered(next);
        }
        assert!(session.next().is_none());
        session.opened(9, 8);
        assert_eq!(session.next().unwrap().0.session, 9);
        session.answered(held);
    }

    #[test]
    fn a_retry_key_reads_back() {
        let request = SessionRequest { session: 12, sequence: 345 };
        let expected = Origin::Session { request, lowest_unanswered: 0 };
        assert_eq!(retry_origin(&retry_key(request)), Some(expected));
        for other in ["boat-1", "boat--1", "boat-1-x", "1-2", "boat-1-2-3", "boat-+1-2"] {
            assert_eq!(retry_origin(other), None, "{other}");
        }
    }
}
