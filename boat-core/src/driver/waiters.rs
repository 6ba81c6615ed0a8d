//! Who waits for which outcome on this node.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Event;
use super::mailbox::{Mailboxes, Place};
use crate::apply::Applied;
use crate::replica::{Failure, RequestId, RequestMap};
use crate::{Origin, PredictError};

/// What somebody who waits gets.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// The request was applied, or refused where it would have been.
    Applied(Applied),
    /// It was not, as far as this node knows.
    Failed(Failure),
    /// The node stopped; the request may yet be applied.
    Stopped,
}

/// Who knows a request by name while somebody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nobody but who asks: it was named a moment ago.
    Here,
    /// Others may ask for the same, here or at another node.
    Elsewhere,
}

/// How often to look for those whose time is over although the driver has not said so.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Somebody who waits.
#[derive(Debug)]
struct Waiter {
    place: Place,
    reply: oneshot::Sender<Reply>,
    /// `None`: without end.
    deadline: Option<Instant>,
}

/// All who wait for one request.
#[derive(Debug)]
struct Waiting {
    first: Waiter,
    /// Those who asked for the same.
    more: Vec<Waiter>,
    known: Known,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    waiting: RequestMap<Waiting>,
    mailboxes: Mailboxes,
    bytes: usize,
    /// How many of them are [`Known::Elsewhere`].
    known_elsewhere: usize,
    /// Whether a request lost the last who waited for it here, without an answer, since the driver took what was handed in.
    ended_overdue: bool,
    closed: bool,
}

/// The requests of this node from acceptance to answer, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct Waiters {
    table: Arc<Mutex<Table>>,
    requests_max: usize,
    bytes_max: usize,
}

impl Waiters {
    pub(crate) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Waiters { table: Arc::default(), requests_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Waits for the outcome of `id`, a request of so many bytes; not much longer than until `deadline`, should the driver
    /// hang.
    ///
    /// # Errors
    /// [`PredictError::Overloaded`] when too much waits already, [`PredictError::Stopped`] at the end.
    pub(crate) fn wait(
        &self,
        id: &RequestId,
        known: Known,
        bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Reply>, PredictError> {
        let mut table = self.lock();
        let overloaded = |waiting, waiting_max, what| PredictError::Overloaded { waiting, waiting_max, what };
        if table.closed {
            return Err(PredictError::Stopped);
        }
        if table.waiting.len() >= self.requests_max {
            return Err(overloaded(table.waiting.len(), self.requests_max, "requests"));
        }
        if table.bytes + bytes > self.bytes_max {
            return Err(overloaded(table.bytes, self.bytes_max, "bytes of requests"));
        }
        let (reply, receiver) = oneshot::channel();
        let place =
            table.mailboxes.here(|runtime| drop(runtime.spawn(end_overdue(Arc::downgrade(&self.table)))));
        let waiter = Waiter { place, reply, deadline };
        table.bytes += bytes;
        let mut elsewhere = usize::from(known == Known::Elsewhere);
        match table.waiting.entry(id.clone()) {
            Entry::Occupied(there) => {
                let there = there.into_mut();
                there.bytes += bytes;
                there.more.push(waiter);
                // Whoever asks for what waits already has heard of it.
                elsewhere = usize::from(there.known == Known::Here);
                there.known = Known::Elsewhere;
            }
            Entry::Vacant(place) => {
                place.insert(Waiting { first: waiter, more: Vec::new(), known, bytes });
            }
        }
        table.known_elsewhere += elsewhere;
        Ok(receiver)
    }

    /// Answers whoever waits for one of these, and adds those that somebody waited for to `answered`. The lock is taken once.
    pub(crate) fn answer(&self, answers: &mut Vec<(RequestId, Applied)>, answered: &mut Vec<RequestId>) {
        let mut table = self.lock();
        let mut mailboxes = std::mem::take(&mut table.mailboxes);
        mailboxes.send(|letters| {
            for (id, applied) in answers.drain(..) {
                let Some(Waiting { first, more, .. }) = table.take(&id) else { continue };
                for waiter in more {
                    letters.add(waiter.place, (waiter.reply, Reply::Applied(applied.clone())));
                }
                letters.add(first.place, (first.reply, Reply::Applied(applied)));
                answered.push(id);
            }
        });
        table.mailboxes = mailboxes;
    }

    /// Drops requests for which nobody waits: they were applied already, from another node's copy of the same, or their time is
    /// over.
    pub(crate) fn retain_waiting(&self, events: &mut VecDeque<Event>) {
        let mut table = self.lock();
        let look_at_all = std::mem::take(&mut table.ended_overdue);
        events.retain(|event| match event {
            Event::Propose { id, known, .. } if look_at_all || *known == Known::Elsewhere => {
                table.waiting.contains(id)
            }
            _ => true,
        });
    }

    /// Whether somebody waits for `id`.
    pub(crate) fn is_waiting(&self, id: &RequestId) -> bool {
        self.lock().waiting.contains(id)
    }

    /// Whether somebody waits for a request of this origin, whatever it asks.
    pub(crate) fn is_waiting_for(&self, origin: &Origin) -> bool {
        let table = self.lock();
        table.waiting.any(|id| match (id, origin) {
            (RequestId::Key(known, _), Origin::Key(key)) => known == key,
            (RequestId::Session(known, _), Origin::Session { request, .. }) => known == request,
            _ => false,
        })
    }

    /// Keeps those for which nobody waits any more. Who asks for the same request again while its first answer is on its way
    /// to the driver still waits, and must not be forgotten with it.
    pub(crate) fn retain_done(&self, ids: &mut Vec<RequestId>) {
        let table = self.lock();
        if table.known_elsewhere > 0 {
            ids.retain(|id| !table.waiting.contains(id));
        }
    }

    /// Whether nobody waits at all: true throughout a replay.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Takes the latest who waits for `id` out again. True: nobody else waits for it, so it was handed in nowhere.
    pub(crate) fn withdraw(&self, id: &RequestId) -> bool {
        let mut table = self.lock();
        let alone = table.waiting.get_mut(id).is_none_or(|waiting| waiting.more.pop().is_none());
        if alone {
            table.take(id);
        }
        alone
    }

    /// Tells whoever waits for `id` that there will be no outcome.
    pub(crate) fn fail(&self, id: &RequestId, failure: Failure) {
        if let Some(waiting) = self.lock().take(id) {
            waiting.reply(&Reply::Failed(failure));
        }
    }

    /// Takes no more, and tells everybody that the node stops.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        (table.bytes, table.known_elsewhere) = (0, 0);
        for (_, waiting) in table.waiting.take_all() {
            waiting.reply(&Reply::Stopped);
        }
        table.mailboxes.close();
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl Table {
    fn take(&mut self, id: &RequestId) -> Option<Waiting> {
        let waiting = self.waiting.remove(id)?;
        self.bytes -= waiting.bytes;
        self.known_elsewhere -= usize::from(waiting.known == Known::Elsewhere);
        Some(waiting)
    }

    /// Ends the wait of those whose time is over.
    fn end_overdue(&mut self, now: Instant) {
        let is_overdue = |waiter: &Waiter| waiter.deadline.is_some_and(|deadline| deadline <= now);
        let (mut overdue, before) = (Vec::new(), self.waiting.len());
        let (bytes, known_elsewhere) = (&mut self.bytes, &mut self.known_elsewhere);
        self.waiting.retain(|waiting| {
            overdue.extend(waiting.more.extract_if(.., |waiter| is_overdue(waiter)));
            if is_overdue(&waiting.first) {
                match waiting.more.pop() {
                    Some(other) => overdue.push(std::mem::replace(&mut waiting.first, other)),
                    None => {
                        *bytes -= waiting.bytes;
                        *known_elsewhere -= usize::from(waiting.known == Known::Elsewhere);
                        return false;
                    }
                }
            }
            true
        });
        self.ended_overdue |= self.waiting.len() < before;
        // Dropping what somebody waits for tells him.
        drop(overdue);
    }
}

impl Waiting {
    fn reply(self, reply: &Reply) {
        for waiter in std::iter::once(self.first).chain(self.more) {
            // Who went away needs no answer.
            let _ = waiter.reply.send(reply.clone());
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver tells everybody in time whose time is over, unless its disk hangs. Then this does, for all at once: hardly a request
/// needs a timer of its own.
async fn end_overdue(table: Weak<Mutex<Table>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(table) = table.upgrade() else { return };
        let mut table = lock(&table);
        if table.closed {
            return;
        }
        table.end_overdue(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_and_others_wait_on() {
        let waiters = Waiters::new(10, 1_000);
        let id = RequestId::Opening(1);
        let within = |ms| Some(Instant::now() + Duration::from_millis(ms));
        let first = waiters.wait(&id, Known::Elsewhere, 10, within(1_000)).unwrap();
        let second = waiters.wait(&id, Known::Elsewhere, 10, within(3_000)).unwrap();
        let third = waiters.wait(&id, Known::Elsewhere, 10, None).unwrap();
        let asked = Instant::now();
        assert!(first.await.is_err());
        assert!((1_000..1_500).contains(&asked.elapsed().as_millis()));
        assert!(second.await.is_err());
        assert!((3_000..3_500).contains(&asked.elapsed().as_millis()));
        assert_eq!((waiters.len(), waiters.lock().bytes), (1, 30));
        waiters.fail(&id, Failure::NoLeader);
        assert!(matches!(third.await, Ok(Reply::Failed(Failure::NoLeader))));
        assert_eq!((waiters.len(), waiters.lock().bytes), (0, 0));
    }

    #[tokio::test]
    async fn all_who_asked_for_the_same_are_told_and_one_may_go() {
        let waiters = Waiters::new(10, 1_000);
        let id = RequestId::Opening(1);
        let first = waiters.wait(&id, Known::Elsewhere, 10, None).unwrap();
        let second = waiters.wait(&id, Known::Elsewhere, 10, None).unwrap();
        assert!(!waiters.withdraw(&id));
        assert!(second.await.is_err());
        waiters.close();
        assert!(matches!(first.await, Ok(Reply::Stopped)));
        assert!(matches!(waiters.wait(&id, Known::Elsewhere, 10, None), Err(PredictError::Stopped)));
    }

    /// The events of these requests, as their clients hand them in.
    fn events(requests: &[(RequestId, Known)]) -> VecDeque<Event> {
        let propose = |(id, known): &(RequestId, Known)| Event::Propose {
            id: id.clone(),
            known: *known,
            encoded: bytes::Bytes::new(),
            within: Duration::from_secs(1),
        };
        requests.iter().map(propose).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_any_more_is_not_proposed() {
        let waiters = Waiters::new(10, 1_000);
        let requests = [
            (RequestId::Opening(1), Known::Here),
            (RequestId::Opening(2), Known::Elsewhere),
            (RequestId::Opening(3), Known::Elsewhere),
        ];
        let deadline = Some(Instant::now() + Duration::from_secs(1));
        let wait = |(id, known): &(RequestId, Known)| waiters.wait(id, *known, 10, deadline).unwrap();
        let receivers: Vec<_> = requests.iter().map(wait).collect();
        waiters.fail(&RequestId::Opening(2), Failure::NoLeader);
        let mut handed_in = events(&requests);
        waiters.retain_waiting(&mut handed_in);
        assert_eq!(handed_in.len(), 2, "the second was answered");
        for receiver in receivers {
            let _ = receiver.await;
        }
        let mut handed_in = events(&requests[..1]);
        waiters.retain_waiting(&mut handed_in);
        assert!(handed_in.is_empty(), "the first waited too long");
        assert_eq!(waiters.lock().known_elsewhere, 0);
    }

    #[tokio::test]
    async fn who_asks_again_is_not_forgotten_with_the_first_answer() {
        let waiters = Waiters::new(10, 1_000);
        let ids = [RequestId::Opening(1), RequestId::Opening(2)];
        let first = ids.each_ref().map(|id| waiters.wait(id, Known::Here, 10, None).unwrap());
        ids.iter().for_each(|id| waiters.fail(id, Failure::NoLeader));
        let again = waiters.wait(&ids[1], Known::Elsewhere, 10, None).unwrap();
        let mut answered = ids.to_vec();
        waiters.retain_done(&mut answered);
        assert_eq!(answered, ids[..1]);
        drop((first, again));
    }
}
