//! What waits for the driver: one queue, two doors.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Event;

/// How many events from outside (peers and clients) may wait. More are dropped: peers repeat, clients are told.
const OUTSIDE_EVENTS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    outside: usize,
    /// Whether a client's request waits for the next other event instead of waking the driver. On while an entry is in
    /// flight: the request travels with the next one, and cannot leave before this one is committed.
    requests_wait: bool,
    /// Whether the driver waits. Waking it costs a system call, whether it waits or not.
    asleep: bool,
    closed: bool,
}

/// The driver's inbox. Events from within (a write is durable, requests were applied) are bounded by what the driver itself
/// asked for, so they always fit; events from outside are bounded by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox(Arc<(Mutex<Queue>, Condvar)>);

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is sound whatever its holder panicked of.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in an event from within.
    pub(crate) fn push(&self, event: Event) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.events.push_back(event);
            self.wake(queue);
        }
    }

    /// Wakes the driver if it waits.
    fn wake(&self, queue: MutexGuard<'_, Queue>) {
        let asleep = queue.asleep;
        drop(queue);
        if asleep {
            self.0.1.notify_one();
        }
    }

    /// Hands in an event from within that can wait for the next one: nobody waits for its effect.
    pub(crate) fn push_quietly(&self, event: Event) {
        let mut queue = self.lock();
        if !queue.closed {
            queue.events.push_back(event);
        }
    }

    /// Hands in an event from outside. False: there is no room, or nobody reads any more.
    pub(crate) fn offer(&self, event: Event) -> bool {
        let mut queue = self.lock();
        if queue.closed || queue.outside >= OUTSIDE_EVENTS_MAX {
            return false;
        }
        queue.outside += 1;
        queue.events.push_back(event);
        self.wake(queue);
        true
    }

    /// Hands in a client's request: like [`Inbox::offer`], but it waits while an entry is in flight.
    pub(crate) fn offer_request(&self, event: Event) -> bool {
        let mut queue = self.lock();
        if queue.closed || queue.outside >= OUTSIDE_EVENTS_MAX {
            return false;
        }
        queue.outside += 1;
        queue.events.push_back(event);
        if !queue.requests_wait {
            self.wake(queue);
        }
        true
    }

    /// Waits until something is there, or until `deadline`, and takes all of it.
    pub(crate) fn take(&self, deadline: Instant, taken: &mut VecDeque<Event>) {
        let mut queue = self.lock();
        while queue.events.is_empty() {
            #[expect(clippy::disallowed_methods, reason = "the driver's wait for its next tick")]
            let now = Instant::now();
            let Some(left) = deadline.checked_duration_since(now).filter(|left| !left.is_zero()) else {
                return;
            };
            queue.asleep = true;
            let waited = self.0.1.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            queue.asleep = false;
        }
        queue.outside = 0;
        std::mem::swap(&mut queue.events, taken);
    }

    /// Says whether clients' requests wake the driver.
    pub(crate) fn requests_wait(&self, wait: bool) {
        self.lock().requests_wait = wait;
    }

    /// Takes no more events; returns what is left.
    pub(crate) fn close(&self) -> VecDeque<Event> {
        let mut queue = self.lock();
        queue.closed = true;
        std::mem::take(&mut queue.events)
    }
}
