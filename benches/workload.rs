//! The requests that benches are about.

use boat_core::apply::opening_body;
use boat_core::{Command, Origin, Request, RequestKind, SessionRequest};
use bytes::Bytes;

/// How many frontends send.
const SESSIONS: u64 = 16;
/// How many requests of one frontend wait for their answer at a time.
const UNANSWERED: u64 = 64;
/// The requests a millisecond that the stamps pretend. Keys grow old by them: the default table has room for those of ten
/// minutes, if one request of ten has one.
const REQUESTS_PER_MS: u64 = 4;

/// What the requests of a log look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The bytes of one body.
    pub body_bytes: usize,
    /// How many requests one entry carries.
    pub entry_requests: usize,
    /// How many of a hundred requests have a key of their own; all others have a number in a frontend's session.
    pub keyed_percent: u64,
}

/// Commands of requests, without end and the same each time: the first opens the sessions.
#[derive(Debug, Clone)]
pub struct Workload {
    shape: Shape,
    /// The last number that each session gave.
    sequences: [u64; SESSIONS as usize],
    requests: u64,
    random: u64,
}

impl Workload {
    /// The commands of `shape`.
    pub fn new(shape: Shape) -> Workload {
        Workload { shape, sequences: [0; SESSIONS as usize], requests: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// How many requests were made so far, openings included.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The next command, encoded.
    pub fn command(&mut self) -> Vec<u8> {
        let requests = if self.requests == 0 {
            (0..SESSIONS).map(opening).collect()
        } else {
            (0..self.shape.entry_requests).map(|_| self.request()).collect::<Vec<_>>()
        };
        self.requests += requests.len() as u64;
        let stamp_ms = 1_700_000_000_000 + self.requests / REQUESTS_PER_MS;
        Command { stamp_ms, seed: self.next_random(), requests }.encode()
    }

    fn request(&mut self) -> Request {
        let random = self.next_random();
        let origin = if random % 100 < self.shape.keyed_percent {
            Origin::Key(format!("{random:016x}-{:019}", self.requests).into())
        } else {
            self.numbered(random >> 32)
        };
        let mut body = Vec::with_capacity(self.shape.body_bytes + 8);
        body.extend_from_slice(b"{\"input\":\"");
        while body.len() < self.shape.body_bytes {
            body.extend(self.next_random().to_le_bytes().map(|byte| b'a' + byte % 16));
        }
        body.truncate(self.shape.body_bytes);
        Request { kind: RequestKind::Predict, origin, body: body.into() }
    }

    fn numbered(&mut self, random: u64) -> Origin {
        let place = random % SESSIONS;
        let sequence = self.sequences.get_mut(place as usize).map_or(0, |last| {
            *last += 1;
            *last
        });
        let request = SessionRequest { session: place + 1, sequence };
        Origin::Session { request, lowest_unanswered: sequence.saturating_sub(UNANSWERED) }
    }

    /// Marsaglia's xorshift: fast, and the same everywhere.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn opening(nonce: u64) -> Request {
    let body: Bytes = opening_body(2 * UNANSWERED as u32);
    Request { kind: RequestKind::OpenSession, origin: Origin::Opening(nonce), body }
}

#[cfg(test)]
mod tests {
    use boat_core::CallOutcome;
    use boat_core::apply::{Applier, Batch, SessionLimits};
    use boat_core::log::{EntryKind, LogEntry};

    use super::*;

    #[test]
    fn every_request_is_applied() {
        let mut workload = Workload::new(Shape { body_bytes: 50, entry_requests: 10, keyed_percent: 10 });
        let (mut applier, mut batch) = (Applier::new(SessionLimits::default()), Batch::default());
        for index in 1..200 {
            let data = workload.command().into();
            applier.admit(&mut batch, &LogEntry { index, term: 1, kind: EntryKind::Normal, data }).unwrap();
            assert!(batch.calls.iter().all(|call| call.body.len() == 50));
            let outcomes: Vec<_> = batch.calls.iter().map(|_| CallOutcome::Output(Bytes::new())).collect();
            applier.complete(&mut batch, outcomes, |_, _, applied| assert!(applied.result.is_ok()));
        }
        assert_eq!((applier.position(), workload.requests()), (16 + 198 * 10, 16 + 198 * 10));
    }
}
