//! The numbers of open sessions: this frontend's own, which makes Boat's retries of requests without a key exact, and those
//! of clients (design D15).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::{Origin, SessionRequest};

/// How long a key that Boat gives can be: two numbers of twenty digits, one of sixteen, and what stands between them.
const KEY_BYTES_MAX: usize = "boat---".len() + 20 + 20 + 16;
/// How many words of 32 bits a proof takes.
const PROOF_WORDS: u128 = 2;

/// The numbers of an open session: which come next, and which have no answer.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: u64,
    /// The lowest number without an answer, and whether each from it on has one.
    lowest: u64,
    answered: VecDeque<bool>,
    pub(super) outcomes_max: u64,
    pub(super) secret: u64,
    /// Gives the proofs of the numbers to come, one after the other.
    proofs: ChaCha8Rng,
}

impl Open {
    /// The session that was opened at this position.
    pub(super) fn new(id: u64, outcomes_max: u64, secret: u64) -> Self {
        let proofs = proofs(secret, 0);
        Open { id, lowest: 0, answered: VecDeque::new(), outcomes_max, secret, proofs }
    }

    /// The next request's place; `None` when so many numbers, the lowest unanswered one and all behind it, are in use.
    fn take(&mut self, numbers_max: u64) -> Option<(RetryKey, Origin)> {
        let in_use = self.answered.len() as u64;
        if in_use >= numbers_max {
            return None;
        }
        let request = SessionRequest { session: self.id, sequence: self.lowest + in_use };
        self.answered.push_back(false);
        let key = RetryKey { request, proof: self.proofs.next_u64() };
        Some((key, Origin::Session { request, lowest_unanswered: self.lowest }))
    }

    fn answered(&mut self, request: SessionRequest) {
        let place = request.sequence.checked_sub(self.lowest).filter(|_| request.session == self.id);
        let place = place.and_then(|place| self.answered.get_mut(usize::try_from(place).ok()?));
        if let Some(answered) = place {
            *answered = true;
        }
        while self.answered.front() == Some(&true) {
            self.answered.pop_front();
            self.lowest += 1;
        }
    }
}

/// Gives out the numbers of one session.
pub(super) trait Numbers: Send + Sync {
    /// The next request's place; `None` when too many have no answer, or when a session has to be opened first.
    fn next(&self) -> Option<(RetryKey, Origin)>;

    /// The client has its answer, or will not ask again.
    fn answered(&self, request: SessionRequest);
}

/// The numbers of a client's session.
#[derive(Debug)]
pub(super) struct ClientNumbers(Mutex<Open>);

impl ClientNumbers {
    pub(super) fn new(open: Open) -> Self {
        ClientNumbers(Mutex::new(open))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers for ClientNumbers {
    fn next(&self) -> Option<(RetryKey, Origin)> {
        let mut open = self.lock();
        let outcomes_max = open.outcomes_max;
        open.take(outcomes_max)
    }

    fn answered(&self, request: SessionRequest) {
        self.lock().answered(request);
    }
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

    /// Whether there is a session to go on in.
    pub(super) fn is_open(&self) -> bool {
        self.lock().current.is_some()
    }

    /// Goes on in this session.
    pub(super) fn opened(&self, open: Open) {
        self.lock().current = Some(open);
    }

    /// The session is gone: the next request opens another.
    pub(super) fn expired(&self, session: u64) {
        let mut state = self.lock();
        if state.current.as_ref().is_some_and(|open| open.id == session) {
            state.current = None;
        }
    }
}

impl Numbers for FrontendSession {
    fn next(&self) -> Option<(RetryKey, Origin)> {
        let mut state = self.lock();
        let open = state.current.as_mut()?;
        let next = open.take(open.outcomes_max / 2);
        if next.is_none() {
            state.current = None;
        }
        next
    }

    fn answered(&self, request: SessionRequest) {
        if let Some(open) = self.lock().current.as_mut() {
            open.answered(request);
        }
    }
}

/// A session as its client names it: `SESSION-PROOF`. The proof keeps others from asking in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionToken {
    pub(super) session: u64,
    proof: u64,
}

/// The stream that proves the session itself: no request ever has this number.
const TOKEN_STREAM: u64 = u64::MAX;

impl SessionToken {
    pub(super) fn new(session: u64, secret: u64) -> Self {
        SessionToken { session, proof: proof(secret, TOKEN_STREAM) }
    }

    /// Reads what [`SessionToken`] displays.
    #[cfg(any(test, feature = "http"))]
    pub(super) fn read(token: &str) -> Option<Self> {
        let (session, proof) = token.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits(session) || !digits(proof) {
            return None;
        }
        Some(SessionToken { session: session.parse().ok()?, proof: u64::from_str_radix(proof, 16).ok()? })
    }

    /// Whether the session was opened with this secret.
    #[cfg(any(test, feature = "http"))]
    pub(super) fn is_proved_by(&self, secret: u64) -> bool {
        self.proof == proof(secret, TOKEN_STREAM)
    }
}

impl std::fmt::Display for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:016x}", self.session, self.proof)
    }
}

/// A request without a key, as its client may name it in a retry: `boat-SESSION-SEQUENCE-PROOF`. The proof keeps clients
/// from naming requests that are not theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RetryKey {
    pub(super) request: SessionRequest,
    proof: u64,
}

impl RetryKey {
    #[cfg(any(test, feature = "http"))]
    pub(super) fn new(request: SessionRequest, secret: u64) -> Self {
        RetryKey { request, proof: proof(secret, request.sequence) }
    }

    /// Reads what [`RetryKey::to_key`] gives.
    pub(super) fn read(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix("boat-")?.split('-');
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut part = || parts.next().filter(|part| digits(part));
        let request = SessionRequest { session: part()?.parse().ok()?, sequence: part()?.parse().ok()? };
        let proof = u64::from_str_radix(part()?, 16).ok()?;
        let key = RetryKey { request, proof };
        parts.next().is_none().then_some(key)
    }

    /// Whether the session with this secret gave the key out.
    pub(super) fn is_proved_by(&self, secret: u64) -> bool {
        self.proof == proof(secret, self.request.sequence)
    }

    /// A retry acknowledges nothing, so it never moves the session's window.
    pub(super) fn origin(&self) -> Origin {
        Origin::Session { request: self.request, lowest_unanswered: 0 }
    }
}

impl RetryKey {
    /// The key as its client gets it. Made for each request, so not by way of the formatter, which took a twenty-fifth of all time in
    /// the bench `replicate`.
    pub(super) fn to_key(self) -> String {
        let mut key = String::with_capacity(KEY_BYTES_MAX);
        let mut number = itoa::Buffer::new();
        key.push_str("boat-");
        key.push_str(number.format(self.request.session));
        key.push('-');
        key.push_str(number.format(self.request.sequence));
        key.push('-');
        let mut digits = [0; 16];
        for (digit, place) in digits.iter_mut().zip((0..16).rev()) {
            let value = (self.proof >> (4 * place)) as u8 & 15;
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        }
        key.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        key
    }
}

/// The proof of a sequence number: the number at that place of the ChaCha stream that the session's secret selects, not to be
/// guessed from others.
fn proof(secret: u64, sequence: u64) -> u64 {
    proofs(secret, sequence).next_u64()
}

/// The proofs from a sequence number on. Those of neighbours come out of one block of the stream, which is what costs.
fn proofs(secret: u64, sequence: u64) -> ChaCha8Rng {
    let mut stream = ChaCha8Rng::seed_from_u64(secret);
    stream.set_word_pos(u128::from(sequence) * PROOF_WORDS);
    stream
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
        session.opened(Open::new(7, 8, 1));
        let first = session.next().unwrap().0.request;
        let (second, origin) = session.next().unwrap();
        let second = second.request;
        assert_eq!((first.sequence, second.sequence, lowest(&origin)), (0, 1, 0));
        session.answered(first);
        assert_eq!(lowest(&session.next().unwrap().1), 1);
    }

    #[test]
    fn an_unknown_fate_moves_new_requests_to_another_session() {
        let session = FrontendSession::default();
        session.opened(Open::new(7, 8, 1));
        let held = session.next().unwrap().0.request;
        for _ in 0..3 {
            session.answered(session.next().unwrap().0.request);
        }
        assert!(session.next().is_none());
        session.opened(Open::new(9, 8, 2));
        assert_eq!(session.next().unwrap().0.request.session, 9);
        session.answered(held);
    }

    #[test]
    fn a_clients_session_has_room_for_so_many_unanswered_and_no_more() {
        let numbers = ClientNumbers::new(Open::new(7, 2, 1));
        let first = numbers.next().unwrap().0.request;
        let second = numbers.next().unwrap().0.request;
        assert!(numbers.next().is_none());
        numbers.answered(second);
        assert!(numbers.next().is_none(), "the first holds the window back");
        numbers.answered(SessionRequest { session: 6, ..first });
        assert!(numbers.next().is_none(), "that was another session's");
        numbers.answered(first);
        assert_eq!(lowest(&numbers.next().unwrap().1), 2);
    }

    #[test]
    fn a_session_is_proved_by_its_token_and_by_nothing_else() {
        let token = SessionToken::new(12, 77);
        assert_eq!(SessionToken::read(&token.to_string()), Some(token));
        assert!(token.is_proved_by(77) && !token.is_proved_by(78));
        let key = RetryKey::new(SessionRequest { session: 12, sequence: 0 }, 77);
        assert_ne!(key.proof, token.proof);
        for other in ["", "1", "-1", "1-", "+1-1", "1-x", "1-2-3"] {
            assert_eq!(SessionToken::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_retry_key_reads_back_and_only_its_session_proves_it() {
        let key = RetryKey::new(SessionRequest { session: 12, sequence: 345 }, 77);
        assert_eq!(RetryKey::read(&key.to_key()), Some(key));
        let SessionRequest { session, sequence } = key.request;
        assert_eq!(key.to_key(), format!("boat-{session}-{sequence}-{:016x}", key.proof));
        let request = SessionRequest { session: u64::MAX, sequence: u64::MAX };
        assert_eq!(RetryKey { request, ..key }.to_key().len(), KEY_BYTES_MAX);
        assert!(key.is_proved_by(77) && !key.is_proved_by(78));
        let mut open = Open::new(12, 1_000, 77);
        assert_eq!((0..=345).map_while(|_| open.take(1_000)).last().map(|(key, _)| key), Some(key));
        let next = RetryKey { request: SessionRequest { session: 12, sequence: 346 }, ..key };
        assert!(!next.is_proved_by(77));
        for other in ["boat-1", "boat--1-0", "boat-1-x-0", "1-2-3", "boat-1-2-3-4", "boat-+1-2-3", "boat-1-2"]
        {
            assert_eq!(RetryKey::read(other), None, "{other}");
        }
    }
}
