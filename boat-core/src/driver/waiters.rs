//! Who waits for which outcome on this node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Event;
use super::mailbox::{Mailboxes, Place};
use crate::apply::Applied;
use crate::digest::RequestHash;
use crate::replica::{Failure, RequestId};
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

#[derive(Debug)]
struct Waiter {
    replies: Vec<(Place, oneshot::Sender<Reply>)>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Table {
    waiting: BTreeMap<RequestId, Waiter>,
    mailboxes: Mailboxes,
    bytes: usize,
    closed: bool,
}

/// The requests of this node from acceptance to answer, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct Waiters {
    table: Mutex<Table>,
    requests_max: usize,
    bytes_max: usize,
}

impl Waiters {
    pub(crate) fn new(requests_max: usize, bytes_max: usize) -> Self {
        Waiters { table: Mutex::default(), requests_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the outcome of `id`, a request of so many bytes.
    ///
    /// # Errors
    /// [`PredictError::Overloaded`] when too much waits already, [`PredictError::Stopped`] at the end.
    pub(crate) fn wait(
        &self,
        id: &RequestId,
        bytes: usize,
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
        let reply = (table.mailboxes.here(), reply);
        table.bytes += bytes;
        match table.waiting.get_mut(id) {
            Some(waiter) => {
                waiter.bytes += bytes;
                waiter.replies.push(reply);
            }
            None => {
                table.waiting.insert(id.clone(), Waiter { replies: vec![reply], bytes });
            }
        }
        Ok(receiver)
    }

    /// Answers whoever waits for one of these, and says which of them somebody waited for. The lock is taken once.
    pub(crate) fn answer(&self, answers: &mut Vec<(RequestId, Applied)>) -> Vec<RequestId> {
        let count = answers.len();
        let mut answered = Vec::with_capacity(count);
        let mut table = self.lock();
        let mailboxes = std::mem::take(&mut table.mailboxes);
        let waited_for = answers.drain(..).filter_map(|(id, applied)| {
            let waiter = table.take(&id)?;
            answered.push(id);
            Some((waiter, applied))
        });
        let letters = waited_for.flat_map(|(waiter, applied)| {
            let letter = move |(place, waiting)| (place, (waiting, Reply::Applied(applied.clone())));
            waiter.replies.into_iter().map(letter)
        });
        mailboxes.send(letters, count);
        table.mailboxes = mailboxes;
        answered
    }

    /// Drops requests for which nobody waits: they were applied already, from another node's copy of the same.
    pub(crate) fn retain_waiting(&self, events: &mut VecDeque<Event>) {
        let table = self.lock();
        events.retain(|event| match event {
            Event::Propose { id, .. } => table.waiting.contains_key(id),
            _ => true,
        });
    }

    /// Whether somebody waits for `id`.
    pub(crate) fn is_waiting(&self, id: &RequestId) -> bool {
        self.lock().waiting.contains_key(id)
    }

    /// Whether somebody waits for a request of this origin, whatever it asks.
    pub(crate) fn is_waiting_for(&self, origin: &Origin) -> bool {
        let lowest = RequestId::of(origin, RequestHash::default());
        let table = self.lock();
        let next = table.waiting.range(lowest..).next();
        next.is_some_and(|(id, _)| match (id, origin) {
            (RequestId::Key(known, _), Origin::Key(key)) => known == key,
            (RequestId::Session(known, _), Origin::Session { request, .. }) => known == request,
            _ => false,
        })
    }

    /// Keeps those for which nobody waits any more. Who asks for the same request again while its first answer is on its way
    /// to the driver still waits, and must not be forgotten with it.
    pub(crate) fn retain_done(&self, ids: &mut Vec<RequestId>) {
        let table = self.lock();
        ids.retain(|id| !table.waiting.contains_key(id));
    }

    /// Whether nobody waits at all: true throughout a replay.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Takes the latest who waits for `id` out again. True: nobody else waits for it, so it was handed in nowhere.
    pub(crate) fn withdraw(&self, id: &RequestId) -> bool {
        let mut table = self.lock();
        let alone = table.waiting.get_mut(id).is_none_or(|waiter| {
            waiter.replies.pop();
            waiter.replies.is_empty()
        });
        if alone {
            table.take(id);
        }
        alone
    }

    /// Tells whoever waits for `id` that there will be no outcome.
    pub(crate) fn fail(&self, id: &RequestId, failure: Failure) {
        if let Some(waiter) = self.lock().take(id) {
            waiter.reply(&Reply::Failed(failure));
        }
    }

    /// Takes no more, and tells everybody that the node stops.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        table.bytes = 0;
        for waiter in std::mem::take(&mut table.waiting).into_values() {
            waiter.reply(&Reply::Stopped);
        }
        table.mailboxes.close();
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }
}

impl Table {
    fn take(&mut self, id: &RequestId) -> Option<Waiter> {
        let waiter = self.waiting.remove(id)?;
        self.bytes -= waiter.bytes;
        Some(waiter)
    }
}

impl Waiter {
    fn reply(self, reply: &Reply) {
        for (_, waiting) in self.replies {
            // Who went away needs no answer.
            let _ = waiting.send(reply.clone());
        }
    }
}
