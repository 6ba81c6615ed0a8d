//! What waits for the driver: one queue, two doors.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use super::help::{self, Helped, Promise};
use super::{Driver, Event};
use crate::replica::{RequestId, Settled};
use crate::transport::{ConsensusKind, ConsensusMessage, PeerEvent, PeerMessage};

/// How many events from outside (peers and clients) may wait. More are dropped: peers repeat, clients are told.
const OUTSIDE_EVENTS_MAX: usize = 16_384;

/// So many requests are worth waking the driver's thread: it works on them while others are handed in. Of 128 to any number, 1,536 and
/// this were the best with both 1,024 and 4,096 callers (the bench `replicate`).
const HELPED_REQUESTS_MAX: usize = 2_048;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Requests of this node that were answered. As many at most as may wait.
    answered: Vec<RequestId>,
    outside: usize,
    /// How many of the events can wait for another, or for the next tick.
    unhurried: usize,
    /// What followers need not confirm at once.
    settled: Option<Settled>,
    /// How many of the events are clients' requests.
    requests: usize,
    /// Whether those wait for the next other event instead of waking the driver. On while an entry is in flight: they travel with
    /// the next one, and cannot leave before this one is committed.
    requests_wait: bool,
    /// How many of the events say that writes are durable.
    writes: usize,
    /// Whether those can wait, too.
    writes_wait: bool,
    /// Whether whoever hands something in may take the driver's turn.
    takes_help: bool,
    /// Whether a client has promised to take the driver's turn once others have handed in what they have.
    is_promised: bool,
    /// Whether the driver's thread waits. Waking it costs a system call, whether it waits or not.
    asleep: bool,
    /// Whether the driver's thread is to look at the driver, though nothing waits here.
    called: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Parts {
    queue: Mutex<Queue>,
    arrived: Condvar,
    driver: OnceLock<Weak<Mutex<Driver>>>,
}

impl Queue {
    fn is_quiet(&self) -> bool {
        let requests = if self.requests_wait { self.requests } else { 0 };
        let writes = if self.writes_wait { self.writes } else { 0 };
        self.events.len() == self.unhurried + requests + writes
    }
}

/// Whether a follower says that it has what is settled, and no more: those do that an entry was not committed by, and others once more
/// when they hear of the commit alone.
fn confirms(event: &Event, settled: Settled) -> bool {
    let Event::Peer(PeerEvent::Message { message: PeerMessage::Consensus(message), .. }) = event else {
        return false;
    };
    let ConsensusMessage { kind, term, index, reject, .. } = **message;
    kind == ConsensusKind::AppendResponse && !reject && Settled { term, index } == settled
}

/// The driver's inbox. Events from within (a write is durable, requests were applied) are bounded by what the driver itself
/// asked for, so they always fit; events from outside are bounded by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox(Arc<Parts>);

/// What needs no turn of its own: it waits for the next event that does, or for the next tick.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Patience {
    /// Clients' requests: an entry is in flight.
    pub(crate) requests_wait: bool,
    /// That writes are durable: that alone commits nothing.
    pub(crate) writes_wait: bool,
    /// What followers say of this.
    pub(crate) settled: Option<Settled>,
}

/// What came of handing in a client's request.
#[must_use]
pub(crate) enum Offered<'a> {
    /// There is no room, or nobody reads any more.
    Refused,
    /// It is going to be seen.
    Taken,
    /// It is, once the caller has kept this promise.
    Promised(Promise<'a>),
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is sound whatever its holder panicked of.
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whose inbox this is, for those who may take its turn.
    pub(crate) fn lend(&self, driver: &Arc<Mutex<Driver>>) {
        // An inbox has one driver in its life.
        let _ = self.0.driver.set(Arc::downgrade(driver));
    }

    /// Hands in an event from within.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.events.push_back(event);
            self.wake(queue);
        }
    }

    /// Says that writes up to this mark are durable.
    pub(crate) fn push_persisted(&self, mark: u64) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.events.push_back(Event::Persisted(mark));
            queue.writes += 1;
            if !queue.is_quiet() {
                self.wake(queue);
            }
        }
    }

    /// Wakes the driver's thread if it waits.
    fn wake(&self, queue: MutexGuard<'_, Queue>) {
        let asleep = queue.asleep;
        drop(queue);
        if asleep {
            self.0.arrived.notify_one();
        }
    }

    /// Takes the driver's turn if its thread waits and that may be; wakes it otherwise.
    fn help_or_wake(&self, queue: MutexGuard<'_, Queue>) {
        if queue.asleep && queue.takes_help {
            drop(queue);
            self.help();
        } else {
            self.wake(queue);
        }
    }

    /// Takes the driver's turn, or has its thread take it.
    pub(super) fn help(&self) {
        let helped = self.0.driver.get().and_then(Weak::upgrade).map(|driver| help::help(&driver, self));
        if helped != Some(Helped::Done) {
            self.call();
        }
    }

    /// Has the driver's thread look at the driver, whether something waits here or not.
    pub(super) fn call(&self) {
        let mut queue = self.lock();
        queue.called = true;
        self.wake(queue);
    }

    /// Says which requests of this node were answered, all of which it takes. That can wait for the next event: nobody waits for its
    /// effect.
    pub(crate) fn push_answered(&self, answered: &mut Vec<RequestId>) {
        let mut queue = self.lock();
        if queue.closed {
            answered.clear();
        } else if queue.answered.is_empty() {
            // That one has been emptied, and has room.
            std::mem::swap(&mut queue.answered, answered);
        } else {
            queue.answered.append(answered);
        }
    }

    /// Hands in an event from outside. False: there is no room, or nobody reads any more.
    pub(crate) fn offer(&self, event: Event) -> bool {
        let mut queue = self.lock();
        if queue.closed || queue.outside >= OUTSIDE_EVENTS_MAX {
            return false;
        }
        queue.outside += 1;
        let is_unhurried = queue.settled.is_some_and(|settled| confirms(&event, settled));
        queue.events.push_back(event);
        if is_unhurried {
            queue.unhurried += 1;
        } else {
            self.help_or_wake(queue);
        }
        true
    }

    /// Hands in a client's request: like [`Inbox::offer`], but it waits while an entry is in flight, and whoever takes the
    /// driver's turn for it gives others the time to hand in theirs.
    pub(crate) fn offer_request(&self, event: Event) -> Offered<'_> {
        let mut queue = self.lock();
        if queue.closed || queue.outside >= OUTSIDE_EVENTS_MAX {
            return Offered::Refused;
        }
        queue.outside += 1;
        queue.requests += 1;
        queue.events.push_back(event);
        if queue.requests_wait || (queue.is_promised && queue.outside != HELPED_REQUESTS_MAX) {
            return Offered::Taken;
        }
        if queue.asleep && queue.takes_help && queue.outside < HELPED_REQUESTS_MAX {
            queue.is_promised = true;
            return Offered::Promised(Promise::new(self));
        }
        self.wake(queue);
        Offered::Taken
    }

    /// Waits until something is there, or until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) {
        let mut queue = self.lock();
        while queue.is_quiet() && !queue.called {
            #[expect(clippy::disallowed_methods, reason = "the driver's wait for its next tick")]
            let now = Instant::now();
            let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                break;
            };
            queue.asleep = true;
            let waited = self.0.arrived.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.asleep = false;
        }
        queue.called = false;
    }

    /// Takes the requests that were answered, into an empty list.
    pub(crate) fn take_answered(&self, taken: &mut Vec<RequestId>) {
        std::mem::swap(&mut self.lock().answered, taken);
    }

    /// Takes all events that are there.
    pub(crate) fn take(&self, taken: &mut VecDeque<Event>) {
        let mut queue = self.lock();
        (queue.outside, queue.unhurried, queue.requests, queue.writes) = (0, 0, 0, 0);
        queue.is_promised = false;
        std::mem::swap(&mut queue.events, taken);
    }

    /// Whether nothing waits that needs a turn.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().is_quiet()
    }

    /// Says what can wait for another event, and whether whoever hands something in may take the driver's turn.
    pub(crate) fn set(&self, takes_help: bool, patience: Patience) {
        let mut queue = self.lock();
        let Patience { requests_wait, writes_wait, settled } = patience;
        (queue.requests_wait, queue.writes_wait, queue.settled) = (requests_wait, writes_wait, settled);
        queue.takes_help = takes_help;
        if queue.settled.is_none() {
            // What came during the turn was judged by what was known before it.
            queue.unhurried = 0;
        }
    }

    /// Takes no more events; returns what is left.
    pub(crate) fn close(&self) -> VecDeque<Event> {
        let mut queue = self.lock();
        queue.closed = true;
        std::mem::take(&mut queue.events)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Known;
    use super::*;
    use crate::{NodeId, RaftId};

    fn acknowledged(term: u64, index: u64, reject: bool) -> Event {
        let (from, to) = (RaftId(1), RaftId(2));
        let bare = ConsensusMessage::bare(ConsensusKind::AppendResponse, from, to, term);
        let message = PeerMessage::Consensus(Box::new(ConsensusMessage { index, reject, ..bare }));
        Event::Peer(PeerEvent::Message { from: NodeId(1), from_raft_id: Some(from), message })
    }

    #[test]
    fn what_is_known_already_needs_no_turn_and_comes_with_the_next() {
        let inbox = Inbox::default();
        for (term, index, reject) in [(3, 8, false), (4, 7, false), (3, 6, false), (3, 7, true)] {
            inbox
                .set(false, Patience { settled: Some(Settled { term: 3, index: 7 }), ..Patience::default() });
            assert!(inbox.offer(acknowledged(3, 7, false)));
            assert!(inbox.is_quiet());
            assert!(inbox.offer(acknowledged(term, index, reject)));
            assert!(!inbox.is_quiet(), "{term} {index} {reject}");
            let mut taken = VecDeque::new();
            inbox.take(&mut taken);
            assert_eq!(taken.len(), 2);
            assert!(inbox.is_quiet());
            inbox.set(false, Patience::default());
            assert!(inbox.offer(acknowledged(3, 7, false)));
            assert!(!inbox.is_quiet());
            inbox.take(&mut VecDeque::new());
        }
    }

    #[test]
    fn what_was_not_to_be_hurried_is_judged_anew_behind_a_turn() {
        let inbox = Inbox::default();
        inbox.set(false, Patience { settled: Some(Settled { term: 3, index: 7 }), ..Patience::default() });
        assert!(inbox.offer(acknowledged(3, 7, false)));
        assert!(inbox.is_quiet());
        inbox.set(false, Patience::default());
        assert!(!inbox.is_quiet());
    }

    #[test]
    fn requests_wait_with_the_write_of_the_entry_before_them() {
        let inbox = Inbox::default();
        let patience = Patience { requests_wait: true, writes_wait: true, ..Patience::default() };
        inbox.set(false, patience);
        let (id, known, within) = (RequestId::Opening(1), Known::Here, Duration::from_secs(1));
        let request = Event::Propose { id, known, encoded: bytes::Bytes::new(), within };
        assert!(matches!(inbox.offer_request(request), Offered::Taken));
        inbox.push_persisted(1);
        assert!(inbox.is_quiet());
        inbox.set(false, Patience { requests_wait: false, ..patience });
        assert!(!inbox.is_quiet());
    }

    #[test]
    fn a_write_that_commits_nothing_waits_until_it_may() {
        let inbox = Inbox::default();
        inbox.set(false, Patience { writes_wait: true, ..Patience::default() });
        inbox.push_persisted(1);
        assert!(inbox.is_quiet());
        // Somebody else's turn took what was there before, and found that this write is the one that is missing.
        inbox.set(false, Patience::default());
        assert!(!inbox.is_quiet());
        inbox.take(&mut VecDeque::new());
        assert!(inbox.is_quiet());
        inbox.push_persisted(2);
        assert!(!inbox.is_quiet());
    }
}
