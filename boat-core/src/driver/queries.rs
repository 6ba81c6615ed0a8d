//! What waits for the applier without being in the log: queries, questions after outcomes, and waiting for a position.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::apply_loop::{ApplyLoop, End};
use crate::apply::{Applier, Due, Remembered, Until};
use crate::replica::ReadId;
use crate::{Origin, Predictor, PredictorError, Query, QueryError, QueryOutcome};

/// How many are answered between two batches, about: the next batch must not wait for long.
const ANSWERED_AT_ONCE_MAX: usize = 256;

/// What the applier is to do between two batches.
#[derive(Debug)]
pub(crate) enum Work {
    /// Ask the predictor.
    Query(Bytes),
    /// Look up what is remembered of a request.
    Outcome(Origin),
    /// Nothing: its turn is all that somebody waits for.
    Reach,
}

/// What somebody who waits is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// What the predictor said, with what it had seen.
    Query {
        result: Result<QueryOutcome, PredictorError>,
        position: u64,
    },
    Outcome(Remembered),
    Reached,
    /// No leader confirmed what must be seen.
    NoLeader,
    /// The node stops.
    Stopped,
}

#[derive(Debug)]
struct Waiting {
    work: Work,
    reply: oneshot::Sender<Told>,
    bytes: usize,
    /// What must be applied first; `None` until a leader has said it.
    until: Option<Until>,
}

#[derive(Debug, Default)]
struct Table {
    waiting: BTreeMap<u64, Waiting>,
    due: Due,
    next: u64,
    bytes: usize,
    closed: bool,
}

/// Everything that waits on this node, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct Queries {
    table: Mutex<Table>,
    /// How many wait: read without the lock, once a batch.
    count: AtomicUsize,
    queries_max: usize,
    bytes_max: usize,
}

impl Queries {
    pub(crate) fn new(queries_max: usize, bytes_max: usize) -> Self {
        Queries { table: Mutex::default(), count: AtomicUsize::new(0), queries_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters `work`, to be done once `until` is reached; without that, once a leader has said what must be.
    ///
    /// # Errors
    /// [`QueryError::Overloaded`] when too much waits already, [`QueryError::Stopped`] at the end.
    pub(crate) fn enter(
        &self,
        work: Work,
        until: Option<Until>,
    ) -> Result<(ReadId, oneshot::Receiver<Told>), QueryError> {
        let bytes = if let Work::Query(body) = &work { body.len() } else { 0 };
        let mut table = self.lock();
        if table.closed {
            return Err(QueryError::Stopped);
        }
        let waiting = table.waiting.len();
        if waiting >= self.queries_max || table.bytes + bytes > self.bytes_max {
            return Err(QueryError::Overloaded { waiting, waiting_max: self.queries_max });
        }
        let ticket = table.next;
        table.next += 1;
        table.bytes += bytes;
        if let Some(until) = until {
            table.due.insert(until, ticket);
        }
        let (reply, receiver) = oneshot::channel();
        table.waiting.insert(ticket, Waiting { work, reply, bytes, until });
        self.count.store(table.waiting.len(), Ordering::Release);
        Ok((ReadId(ticket), receiver))
    }

    fn take(&self, table: &mut Table, ticket: u64) -> Option<Waiting> {
        let waiting = table.waiting.remove(&ticket)?;
        table.bytes -= waiting.bytes;
        if let Some(until) = waiting.until {
            table.due.remove(until, ticket);
        }
        self.count.store(table.waiting.len(), Ordering::Release);
        Some(waiting)
    }

    /// Whoever waited has gone away.
    pub(crate) fn withdraw(&self, id: ReadId) {
        self.take(&mut self.lock(), id.0);
    }

    /// Whether a leader has said what this one must see.
    pub(crate) fn is_confirmed(&self, id: ReadId) -> bool {
        self.lock().waiting.get(&id.0).is_none_or(|waiting| waiting.until.is_some())
    }

    /// A leader has said that these must see everything up to this entry.
    pub(crate) fn confirm(&self, ids: &[ReadId], index: u64) {
        let mut table = self.lock();
        let Table { waiting, due, .. } = &mut *table;
        for ReadId(ticket) in ids {
            if let Some(waiting) = waiting.get_mut(ticket).filter(|waiting| waiting.until.is_none()) {
                waiting.until = Some(Until::Index(index));
                due.insert(Until::Index(index), *ticket);
            }
        }
    }

    /// No leader confirmed what this one must see.
    pub(crate) fn fail(&self, id: ReadId) {
        if let Some(waiting) = self.take(&mut self.lock(), id.0) {
            // Who went away needs no answer.
            let _ = waiting.reply.send(Told::NoLeader);
        }
    }

    /// Takes one whose turn has come.
    fn pop(&self, applier: &Applier) -> Option<(Work, oneshot::Sender<Told>)> {
        if self.len() == 0 {
            return None;
        }
        let mut table = self.lock();
        let ticket = table.due.pop(applier.index(), applier.position())?;
        self.take(&mut table, ticket).map(|waiting| (waiting.work, waiting.reply))
    }

    /// Takes no more, and tells everybody that the node stops.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        *table = Table { closed: true, waiting: std::mem::take(&mut table.waiting), ..Table::default() };
        self.count.store(0, Ordering::Release);
        for waiting in std::mem::take(&mut table.waiting).into_values() {
            let _ = waiting.reply.send(Told::Stopped);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

impl<P: Predictor> ApplyLoop<P> {
    /// Does what has become due, between two batches.
    pub(super) async fn answer_queries(&mut self, applier: &Applier) -> Result<(), End> {
        // A model that goes another way than a majority's shows nothing; who waits hears so in time.
        if self.shared.wellbeing.stays_diverged() {
            return Ok(());
        }
        for _ in 0..ANSWERED_AT_ONCE_MAX {
            let Some((work, reply)) = self.shared.queries.pop(applier) else { return Ok(()) };
            let told = match work {
                Work::Query(body) => {
                    self.query(applier, body, reply).await?;
                    continue;
                }
                Work::Outcome(origin) => Told::Outcome(applier.remembered(&origin)),
                Work::Reach => Told::Reached,
            };
            // Who went away needs no answer.
            let _ = reply.send(told);
        }
        self.shared.feed.look_again();
        Ok(())
    }

    /// Asks the predictor, for as long as somebody waits.
    async fn query(
        &mut self,
        applier: &Applier,
        body: Bytes,
        mut reply: oneshot::Sender<Told>,
    ) -> Result<(), End> {
        let position = applier.position();
        let query = Query { position, time_ms: applier.time_ms(), body };
        let shared = self.shared.clone();
        let result = tokio::select! {
            biased;
            () = reply.closed() => return Ok(()),
            result = self.predictor.query(&query) => result,
            () = shared.feed.stopped() => return Err(End::Stopped),
        };
        let end = match &result {
            Err(PredictorError::StateLost(why)) => Err(End::StateLost(why.clone())),
            Ok(_) | Err(PredictorError::Unavailable(_)) => Ok(()),
        };
        let _ = reply.send(Told::Query { result, position });
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::SessionLimits;

    fn told(receiver: &mut oneshot::Receiver<Told>) -> Option<Told> {
        receiver.try_recv().ok()
    }

    #[test]
    fn what_waits_is_bounded_and_can_be_withdrawn() {
        let queries = Queries::new(2, 10);
        let enter = |bytes: &'static [u8]| queries.enter(Work::Query(Bytes::from_static(bytes)), None);
        let (first, _receiver) = enter(b"123456").unwrap();
        assert!(matches!(enter(b"12345"), Err(QueryError::Overloaded { waiting: 1, waiting_max: 2 })));
        let (second, _receiver) = enter(b"1234").unwrap();
        assert!(matches!(enter(b""), Err(QueryError::Overloaded { waiting: 2, .. })));
        queries.withdraw(first);
        assert!(enter(b"123456").is_ok());
        assert!(!queries.is_confirmed(second));
        queries.confirm(&[first, second], 0);
        assert!(queries.is_confirmed(second));
        assert_eq!(queries.len(), 2);
    }

    #[test]
    fn a_read_waits_for_its_index_and_everybody_hears_of_the_end() {
        let queries = Queries::new(8, 10);
        let applier = Applier::new(SessionLimits::default());
        let (read, mut answer) = queries.enter(Work::Reach, None).unwrap();
        let (_, mut later) = queries.enter(Work::Reach, Some(Until::Position(1))).unwrap();
        let (lost, mut failed) = queries.enter(Work::Reach, None).unwrap();
        assert!(queries.pop(&applier).is_none());
        queries.confirm(&[read], 0);
        let (_, reply) = queries.pop(&applier).unwrap();
        reply.send(Told::Reached).unwrap();
        assert!(matches!(told(&mut answer), Some(Told::Reached)));
        queries.fail(lost);
        assert!(matches!(told(&mut failed), Some(Told::NoLeader)));
        queries.close();
        assert!(matches!(told(&mut later), Some(Told::Stopped)));
        assert!(matches!(queries.enter(Work::Reach, None), Err(QueryError::Stopped)));
        assert_eq!(queries.len(), 0);
    }
}
