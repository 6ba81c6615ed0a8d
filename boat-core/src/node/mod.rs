//! A node: the handle that everything else holds.

mod answer;
mod asked;
mod builder;
mod client;
mod handing_in;
mod members;
mod opening;
mod outcome;
mod predict;
mod quarantine;
mod query;
#[cfg(feature = "http")]
mod service;
mod session;
#[cfg(feature = "tower")]
mod tower;
mod wipe;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::answer::Answer;
pub use self::builder::NodeBuilder;
pub use self::client::Session;
pub use self::members::ChangeMembers;
pub use self::predict::Predict;
use self::predict::unscoped;
pub use self::query::{QueryAnswer, QueryRequest, Read};
use self::session::FrontendSession;
#[cfg(feature = "tower")]
pub use self::tower::{NodeRequest, NodeService};
use crate::config::{Checked, NodeConfig};
use crate::driver::{Event, Shared, wall_ms};
use crate::{
    Check, Error, Events, MemberStatus, NodeId, OutcomeError, Phase, QueryError, RequestKind, SessionError,
    SnapshotStatus, Status,
};

/// How requests and answers of a [`Node`] look: raw bytes, or a model's own types as JSON.
pub trait Interface: Send + Sync + 'static {
    /// What is asked.
    type Request: Send;
    /// What is answered.
    type Response: Send;

    /// A request as its bytes.
    ///
    /// # Errors
    /// Why it cannot be written.
    fn encode(request: Self::Request) -> Result<Bytes, String>;

    /// An answer from its bytes.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn decode(output: Bytes) -> Result<Self::Response, String>;
}

/// Requests and answers are bytes as they are.
#[derive(Debug)]
pub struct Raw;

impl Interface for Raw {
    type Request = Bytes;
    type Response = Bytes;

    fn encode(request: Bytes) -> Result<Bytes, String> {
        Ok(request)
    }

    fn decode(output: Bytes) -> Result<Bytes, String> {
        Ok(output)
    }
}

/// Requests and answers are a model's own types, as JSON.
#[derive(Debug)]
pub struct Json<Request, Response>(PhantomData<fn(Request) -> Response>);

impl<Request, Response> Interface for Json<Request, Response>
where
    Request: Serialize + Send + 'static,
    Response: DeserializeOwned + Send + 'static,
{
    type Request = Request;
    type Response = Response;

    fn encode(request: Request) -> Result<Bytes, String> {
        serde_json::to_vec(&request).map(Bytes::from).map_err(|error| error.to_string())
    }

    fn decode(output: Bytes) -> Result<Response, String> {
        serde_json::from_slice(&output).map_err(|error| error.to_string())
    }
}

pub(crate) struct Inner {
    shared: Arc<Shared>,
    config: Checked<NodeConfig>,
    session: FrontendSession,
    /// One session is opened at a time, however many requests wait for it.
    opening: tokio::sync::Mutex<()>,
    check: Check,
    /// One for each request that may be under way by [`NodeService`]s.
    #[cfg(feature = "tower")]
    permits: Arc<tokio::sync::Semaphore>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    links: Arc<dyn crate::transport::PeerLinks>,
    /// Held for the node's life: no other process may use the directory.
    lock: std::sync::Mutex<Option<std::fs::File>>,
}

/// One copy of the model, and the way to the others: a cheap handle that can be cloned and sent.
///
/// Made by [`Node::builder`]. `I` says how requests and answers look; what a user writes names no more than the model's
/// own types.
///
/// ```
/// # use boat_core::{Context, Model, Node};
/// # use boat_core::transport::local::LocalNetwork;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Default, Serialize, Deserialize)]
/// struct RunningMean { seen: u64, sum: f64 }
///
/// impl Model for RunningMean {
///     type Request = f64;
///     type Response = f64;
///     fn predict(&mut self, _: &Context, x: f64) -> f64 {
///         self.seen += 1;
///         self.sum += x;
///         self.sum / self.seen as f64
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// let network = LocalNetwork::new();
/// let node = Node::builder(0)
///     .data_dir(directory.path())
///     .members("0=local:0".parse()?)
///     .transport(network.transport())
///     .start(RunningMean::default())
///     .await?;
/// node.ready().await?;
/// node.predict(2.0).await?;
/// let answer = node.predict(4.0).key("user-7/42").await?;
/// assert_eq!(answer.output, 3.0);
/// let retry = node.predict(4.0).key("user-7/42").await?;
/// assert_eq!((retry.output, retry.position, retry.replayed), (3.0, answer.position, true));
/// node.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Node<I: Interface = Raw> {
    inner: Arc<Inner>,
    interface: PhantomData<fn() -> I>,
}

impl Node {
    /// Begins to set up the node of this number, counted from 0.
    pub fn builder(node: impl Into<NodeId>) -> NodeBuilder<()> {
        NodeBuilder::new(node.into())
    }
}

impl<I: Interface> Node<I> {
    fn from_inner(inner: Arc<Inner>) -> Self {
        Node { inner, interface: PhantomData }
    }

    /// The same node with requests and answers as bytes.
    pub fn raw(&self) -> Node {
        Node::from_inner(self.inner.clone())
    }

    /// This node's number.
    pub fn id(&self) -> NodeId {
        self.inner.shared.node
    }

    /// The configuration that the node runs with.
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// Asks for a prediction. Works on any node: a follower forwards to the leader. Await the result, perhaps after
    /// [`Predict::key`] and [`Predict::within`].
    pub fn predict(&self, request: I::Request) -> Predict<'_, I> {
        Predict::new(&self.inner, RequestKind::Predict, I::encode(request))
    }

    /// Tells the model what turned out to be true, in the same order as predictions and with the same promises: under its
    /// key it is applied once. The model sees it as [`RequestKind::Feedback`].
    pub fn feedback(&self, request: I::Request) -> Predict<'_, I> {
        Predict::new(&self.inner, RequestKind::Feedback, I::encode(request))
    }

    /// Changes the backend's configuration, on every node at the same place in the order. What `change` means is the
    /// predictor's affair, which sees it as [`RequestKind::Configure`].
    pub fn configure(&self, change: impl Into<Bytes>) -> Predict<'_, Raw> {
        Predict::new(&self.inner, RequestKind::Configure, Ok(change.into()))
    }

    /// Opens a session: requests in it are told apart by their numbers, so that each is applied once however often it is
    /// asked, without a key for each. Its outcomes are kept until they are answered; after ten minutes of log age without
    /// a request it [expires](crate::PredictError::SessionExpired).
    ///
    /// # Errors
    /// [`SessionError`](crate::SessionError).
    pub async fn session(&self) -> Result<Session<I>, SessionError> {
        Session::open(self.clone()).await
    }

    /// What became of the request under `key` ([`Predict::key`], or the one that Boat gave it), if this node knows or can
    /// find out. Looks again after everything that was answered before; applies nothing.
    ///
    /// # Errors
    /// [`OutcomeError`](crate::OutcomeError).
    pub async fn outcome(&self, key: &str) -> Result<Answer<I::Response>, OutcomeError> {
        let answer = self.inner.outcome(unscoped(key), key).await?;
        let Answer { output, position, term, replayed, key, .. } = answer;
        let output = I::decode(output).map_err(OutcomeError::Invalid)?;
        Ok(Answer { output, position, term, replayed, key })
    }

    /// Asks the model without changing it: [`Model::query`](crate::Model::query). Works on any node, and costs no place in
    /// the log: the more nodes, the more queries they answer. Await the result, perhaps after [`QueryRequest::within`].
    ///
    /// ```
    /// # use boat_core::{Context, Model, Node, Read};
    /// # use boat_core::transport::local::LocalNetwork;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Default, Serialize, Deserialize)]
    /// struct RunningMean { seen: u64, sum: f64 }
    ///
    /// impl Model for RunningMean {
    ///     type Request = f64;
    ///     type Response = f64;
    ///     fn predict(&mut self, _: &Context, x: f64) -> f64 {
    ///         self.seen += 1;
    ///         self.sum += x;
    ///         self.sum / self.seen as f64
    ///     }
    ///     /// How far `x` is from the mean so far.
    ///     fn query(&self, _: &Context, x: f64) -> Option<f64> {
    ///         Some(x - self.sum / self.seen.max(1) as f64)
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// # let node = Node::builder(0)
    /// #     .data_dir(directory.path())
    /// #     .members("0=local:0".parse()?)
    /// #     .transport(LocalNetwork::new().transport())
    /// #     .start(RunningMean::default())
    /// #     .await?;
    /// # node.ready().await?;
    /// let told = node.predict(2.0).await?;
    /// let asked = node.query(5.0, Read::Linearizable).await?;
    /// assert_eq!((asked.output, asked.position, asked.stale), (3.0, told.position, false));
    /// let asked = node.query(5.0, Read::Local { at_least: told.position }).await?;
    /// assert_eq!((asked.output, asked.stale), (3.0, true));
    /// # node.shutdown().await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn query(&self, request: I::Request, read: Read) -> QueryRequest<'_, I> {
        QueryRequest::new(&self.inner, I::encode(request), read)
    }

    /// Waits until this node has applied everything up to `position`.
    ///
    /// # Errors
    /// [`QueryError::Overloaded`], or [`QueryError::Stopped`] when the node stops first.
    pub async fn reached(&self, position: u64) -> Result<(), QueryError> {
        self.inner.reach(position).await
    }

    /// Waits until the node serves: its log is replayed, it knows of a leader, and nothing older is missing.
    ///
    /// # Errors
    /// Why the node stopped instead.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut changes = self.inner.shared.subscribe();
        loop {
            changes.borrow_and_update();
            match self.inner.shared.phase() {
                Phase::Ready => return Ok(()),
                Phase::Stopping => return self.stopped().await,
                _ => {}
            }
            if changes.changed().await.is_err() {
                return self.stopped().await;
            }
        }
    }

    /// Whether the node serves now.
    pub fn is_ready(&self) -> bool {
        self.inner.shared.phase() == Phase::Ready
    }

    /// Waits until the node has stopped, by [`Node::shutdown`] or because it could not go on.
    ///
    /// # Errors
    /// Why it could not go on. [`Error::exit_status`] tells a process what to end with.
    pub async fn stopped(&self) -> Result<(), Error> {
        let mut ended = self.inner.shared.ended();
        let ended = ended.wait_for(Option::is_some).await.map(|ended| ended.clone());
        match ended {
            Ok(Some(Some(error))) => Err(error.duplicate()),
            _ => Ok(()),
        }
    }

    /// Whether the node's parts still run.
    pub fn is_running(&self) -> bool {
        self.inner.shared.ended().borrow().is_none()
    }

    /// Begins to stop: says so where it is asked, and lets another node lead, but answers requests still.
    #[cfg(all(feature = "http", feature = "supervisor"))]
    pub(crate) fn hand_over(&self) {
        self.inner.shared.stopping.store(true, Ordering::Release);
        self.inner.shared.changed();
        self.inner.shared.inbox.push(Event::HandOver);
    }

    /// Stops the node: accepts nothing more, hands leadership over, answers who waits, and syncs.
    ///
    /// # Errors
    /// What had stopped the node before.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.inner.shared.stopping.store(true, Ordering::Release);
        self.inner.shared.changed();
        self.inner.shared.inbox.push(Event::Stop { gracefully: true });
        let ended = self.stopped().await;
        self.inner.end();
        ended
    }

    /// What happens to the node from now on: leaders, readiness, replay, alarms. Bounded, and tells when it lags behind.
    pub fn events(&self) -> Events {
        self.inner.shared.events.subscribe()
    }

    /// What the node says of itself: an owned copy.
    pub fn status(&self) -> Status {
        let shared = &self.inner.shared;
        let view = shared.consensus();
        let applied = shared.applied();
        let phase = shared.phase();
        let membership = &view.membership;
        let role = |id: &crate::RaftId| if membership.is_voter(*id) { "voter" } else { "learner" };
        let member = |(id, member): (&crate::RaftId, &crate::Member)| MemberStatus {
            node: id.node(),
            address: member.address.clone(),
            role: role(id),
            connected: id.node() == shared.node || view.connected.contains(&id.node()),
        };
        Status {
            is_leader: view.is_leader,
            node: shared.node,
            leader: view.leader,
            term: view.term,
            position: applied.position,
            digest: applied.digest.to_string(),
            ready: phase == Phase::Ready,
            phase,
            replay: shared.replay(),
            backend: shared.backend(),
            health: shared.wellbeing.health(),
            cluster: view.cluster.map(|cluster| cluster.to_string()),
            members: membership.members.iter().map(member).collect(),
            snapshot: shared.snapshot().map(|snapshot| SnapshotStatus {
                position: snapshot.position,
                index: snapshot.index,
                bytes: snapshot.bytes,
                age_seconds: wall_ms().saturating_sub(snapshot.taken_ms) / 1_000,
            }),
            waiting: shared.waiters.len(),
            alarms: shared.alarms(),
        }
    }
}

impl Inner {
    /// How long a request waits that does not say.
    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.config.http.request_timeout_ms)
    }

    /// Lets go of everything, once the node has stopped.
    fn end(&self) {
        self.end_threads();
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }

    fn end_threads(&self) {
        self.links.shutdown();
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("node {}: the driver panicked", self.shared.node);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.inbox.push(Event::Stop { gracefully: false });
        self.end();
    }
}

impl<I: Interface> Clone for Node<I> {
    fn clone(&self) -> Self {
        Node::from_inner(self.inner.clone())
    }
}

impl<I: Interface> std::fmt::Debug for Node<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.id()).field("phase", &self.inner.shared.phase()).finish()
    }
}
