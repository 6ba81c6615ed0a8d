//! Reads that leave the log alone.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Inner, Interface};
use crate::apply::Until;
use crate::driver::{Event, Told, Work};
use crate::replica::ReadId;
use crate::{QueryError, QueryOutcome, RequestKind};

/// What a query must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Read {
    /// Everything that anybody was answered before the query began. Costs a round of messages among the nodes, which all
    /// queries that wait at one time share; works on any node that reaches a leader.
    #[default]
    Linearizable,
    /// What this node happens to have applied, and no less than `at_least`: a client that gives the highest position it was
    /// ever told sees no less than before, also while the node replays its log. Works without a leader.
    Local {
        /// The position that must be seen; 0 for whatever there is.
        at_least: u64,
    },
}

/// A query's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryAnswer<T> {
    /// What the model said.
    pub output: T,
    /// The last position that the model had seen.
    pub position: u64,
    /// Whether somebody may have been answered at a later position before the query began: true of every local read.
    pub stale: bool,
}

impl<T> QueryAnswer<T> {
    /// An answer from a model that had seen everything up to `position`.
    pub fn new(output: T, position: u64, stale: bool) -> Self {
        QueryAnswer { output, position, stale }
    }
}

/// A query that is about to be asked: await it.
#[must_use = "nothing is asked before it is awaited"]
pub struct QueryRequest<'a, I: Interface> {
    inner: &'a Inner,
    body: Result<Bytes, String>,
    read: Read,
    within: Duration,
    interface: PhantomData<fn() -> I>,
}

impl<'a, I: Interface> QueryRequest<'a, I> {
    pub(super) fn new(inner: &'a Inner, body: Result<Bytes, String>, read: Read) -> Self {
        QueryRequest { inner, body, read, within: inner.request_timeout(), interface: PhantomData }
    }

    /// How long to wait for the answer. Default: `http.request_timeout_ms` of the configuration.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    async fn ask(self) -> Result<QueryAnswer<I::Response>, QueryError> {
        let QueryRequest { inner, body, read, within, .. } = self;
        let body = body.map_err(QueryError::Invalid)?;
        let bytes_max = inner.config.limits.request_bytes_max;
        if body.len() > bytes_max {
            return Err(QueryError::TooLarge { bytes: body.len(), bytes_max });
        }
        (inner.check)(RequestKind::Predict, &body).map_err(QueryError::Invalid)?;
        let Told::Query { result, position } = inner.wait_for(Work::Query(body), read, within).await? else {
            return Err(QueryError::Unavailable("the applier answered something else".to_owned()));
        };
        match result {
            Ok(QueryOutcome::Output(output)) => {
                let output = I::decode(output).map_err(QueryError::Invalid)?;
                Ok(QueryAnswer::new(output, position, read != Read::Linearizable))
            }
            Ok(QueryOutcome::Rejected(reason)) => Err(QueryError::Rejected { position, reason }),
            Ok(QueryOutcome::Unsupported) => Err(QueryError::Unsupported),
            Err(error) => Err(QueryError::Unavailable(error.to_string())),
        }
    }
}

impl<'a, I: Interface> IntoFuture for QueryRequest<'a, I> {
    type Output = Result<QueryAnswer<I::Response>, QueryError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// Somebody who waits; taken out of the table when they go away.
struct Waiting<'a> {
    inner: &'a Inner,
    id: ReadId,
    told: oneshot::Receiver<Told>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.inner.shared.queries.withdraw(self.id);
    }
}

impl Inner {
    /// Has the applier do something once it has applied enough.
    pub(super) async fn wait_for(
        &self,
        work: Work,
        read: Read,
        within: Duration,
    ) -> Result<Told, QueryError> {
        let mut waiting = self.enter(work, read, within)?;
        match tokio::time::timeout(within, &mut waiting.told).await {
            Ok(Ok(Told::NoLeader)) => Err(QueryError::NoLeader(within)),
            Ok(Ok(Told::Stopped) | Err(_)) => Err(QueryError::Stopped),
            Ok(Ok(told)) => Ok(told),
            Err(_) if !self.shared.queries.is_confirmed(waiting.id) => Err(QueryError::NoLeader(within)),
            Err(_) => Err(QueryError::Behind { waited: within, position: self.shared.applied().position }),
        }
    }

    /// Waits until everything up to `position` is applied here.
    pub(super) async fn reach(&self, position: u64) -> Result<(), QueryError> {
        let mut waiting = self.enter(Work::Reach, Read::Local { at_least: position }, Duration::MAX)?;
        match (&mut waiting.told).await {
            Ok(Told::Reached) => Ok(()),
            _ => Err(QueryError::Stopped),
        }
    }

    fn enter(&self, work: Work, read: Read, within: Duration) -> Result<Waiting<'_>, QueryError> {
        let until = match read {
            Read::Linearizable => None,
            Read::Local { at_least } => Some(Until::Position(at_least)),
        };
        let (id, told) = self.shared.queries.enter(work, until)?;
        let waiting = Waiting { inner: self, id, told };
        if until.is_some() {
            self.shared.feed.look_again();
        } else if !self.shared.inbox.offer(Event::Read { id, within }) {
            let (count, waiting_max) = (self.shared.queries.len(), self.config.limits.proposals_max);
            return Err(QueryError::Overloaded { waiting: count, waiting_max });
        }
        Ok(waiting)
    }
}
