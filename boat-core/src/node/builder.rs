//! Setting up a node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;
use tokio::sync::oneshot;

use super::session::FrontendSession;
use super::{Inner, Json, Node};
use crate::apply::SessionLimits;
use crate::config::{Checked, NodeConfig};
use crate::directory::{self, Directory};
use crate::driver::{FrontDesk, Launch, Queries, Shared, Waiters};
use crate::log::LogConfig;
use crate::log::files::{Files, RealFiles};
use crate::transport::{Hello, Transport};
use crate::{Birth, Error, MemberList, Model, ModelPredictor, NodeId, Predictor};

/// Sets up a [`Node`]. What is not said has the defaults of [`NodeConfig`].
#[derive(Debug)]
pub struct NodeBuilder<T> {
    config: NodeConfig,
    transport: T,
    files: Arc<dyn Files>,
}

impl NodeBuilder<()> {
    pub(super) fn new(node_id: NodeId) -> Self {
        NodeBuilder {
            config: NodeConfig { node_id, ..NodeConfig::default() },
            transport: (),
            files: Arc::new(RealFiles),
        }
    }

    /// How the node reaches its peers.
    pub fn transport<T: Transport>(self, transport: T) -> NodeBuilder<T> {
        NodeBuilder { config: self.config, transport, files: self.files }
    }
}

impl<T> NodeBuilder<T> {
    /// The directory that holds the node's log; made if it is not there.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.data_dir = path.into();
        self
    }

    /// All nodes and where they are reached; the same list on all nodes.
    pub fn members(mut self, members: MemberList) -> Self {
        self.config.members = members;
        self
    }

    /// Whether the node joins a cluster that is there already: it then founds none, and its list need name no more than itself
    /// and some members. It has to be added ([`Node::add`]). Has no effect once its directory holds a cluster.
    pub fn join(mut self, join: bool) -> Self {
        self.config.join = join;
        self
    }

    /// The file system that the data directory lies on. Default: the machine's. Only the lock that keeps other processes
    /// out stands in the machine's own in any case.
    pub fn files(mut self, files: Arc<dyn Files>) -> Self {
        self.files = files;
        self
    }

    /// Everything else: replaces the whole configuration but the node's number.
    pub fn config<B>(mut self, config: NodeConfig<B>) -> Self {
        let node_id = self.config.node_id;
        self.config = NodeConfig { node_id, ..config.without_backend() };
        self
    }
}

impl<T: Transport> NodeBuilder<T> {
    /// Starts the node with a model in plain Rust: recovers its log, replays it in the background, founds or joins the
    /// cluster. [`Node::ready`] waits for the end of that. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// See [`Error`]: the configuration, the directory, the transport or the model cannot be used.
    pub async fn start<M: Model>(self, model: M) -> Result<Node<Json<M::Request, M::Response>>, Error> {
        let predictor = ModelPredictor::new(model)?;
        self.launch(predictor).await.map(Node::from_inner)
    }

    /// Starts the node with a predictor, whose requests and answers are bytes.
    ///
    /// # Errors
    /// See [`NodeBuilder::start`].
    pub async fn start_predictor<P: Predictor>(self, predictor: P) -> Result<Node, Error> {
        self.launch(predictor).await.map(Node::from_inner)
    }

    async fn launch<P: Predictor>(self, predictor: P) -> Result<Arc<Inner>, Error> {
        let config = self.config.check().map_err(|error| Error::Config(error.to_string()))?;
        let lock = directory::lock(&config.data_dir)?;
        let random = random_words();
        let birth = Birth(u128::from(random[0]) << 64 | u128::from(random[1]));
        let node = config.node_id;
        let directory = Directory::open(self.files, &config.data_dir, node, birth)?;
        let genesis = directory.genesis();
        let desk = Arc::new(FrontDesk::new(Hello {
            node,
            cluster: genesis.map(|(genesis, _)| genesis.cluster),
            raft_id: genesis.map(|(_, raft_id)| *raft_id),
            birth: directory.birth(),
            boot: directory.boots(),
            nonce: random[2],
            log: None,
        }));
        let waiters = Waiters::new(config.limits.proposals_max, config.limits.proposal_bytes_max);
        let queries = Queries::new(config.limits.proposals_max, config.limits.proposal_bytes_max);
        let shared = Arc::new(Shared::new(node, waiters, queries));
        let links = self.transport.start(desk.clone(), Arc::new(shared.inbox.clone()))?;
        let check = predictor.check();
        let launch = launch(&config, &shared, directory, desk, links.clone(), random[3], predictor);
        let (opened, is_open) = oneshot::channel();
        let thread = start_driver(launch, opened, shared.clone())
            .map_err(|error| Error::Internal(format!("no thread for the driver: {error}")))?;
        #[cfg(feature = "tower")]
        let permits = Arc::new(tokio::sync::Semaphore::new(config.limits.proposals_max));
        let inner = Arc::new(Inner {
            #[cfg(feature = "tower")]
            permits,
            shared,
            config,
            session: FrontendSession::default(),
            opening: tokio::sync::Mutex::default(),
            check,
            thread: std::sync::Mutex::new(Some(thread)),
            links,
            lock: std::sync::Mutex::new(Some(lock)),
        });
        match is_open.await {
            Ok(Ok(())) => Ok(inner),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Internal("the driver ended before it had opened the log".to_owned())),
        }
    }
}

fn launch<P>(
    config: &Checked<NodeConfig>,
    shared: &Arc<Shared>,
    directory: Directory,
    desk: Arc<FrontDesk>,
    links: Arc<dyn crate::transport::PeerLinks>,
    seed: u64,
    predictor: P,
) -> Launch<P> {
    let limits = SessionLimits {
        sessions_max: u32::try_from(config.sessions.sessions_max).unwrap_or(u32::MAX),
        session_age_ms_max: config.sessions.session_age_ms_max,
        key_age_ms: config.sessions.key_age_ms,
        key_table_bytes_max: config.sessions.key_table_bytes_max as u64,
        ..SessionLimits::default()
    };
    Launch {
        shared: shared.clone(),
        links,
        desk,
        directory,
        members: config.members.clone(),
        join: config.join,
        address: config.members.address(config.node_id).unwrap_or_default().to_owned(),
        limits,
        tick: Duration::from_millis(config.timing.tick_ms),
        leader_wait: Duration::from_millis(config.limits.leader_wait_ms),
        call_limit: config.limits.call_limit(),
        heartbeat_ticks: config.timing.heartbeat_ticks as usize,
        election_ticks: config.timing.election_ticks as usize,
        command_bytes_max: config.limits.command_bytes_max,
        forwarded_bytes_max: config.limits.proposal_bytes_max,
        free_bytes_min: config.limits.free_bytes_min,
        snapshot_log_bytes: config.limits.snapshot_log_bytes,
        snapshot_bytes_per_tick: snapshot_bytes_per_tick(config),
        catch_up_bytes_per_second: config.limits.catch_up_bytes_per_second,
        log: LogConfig { segment_bytes: config.limits.segment_bytes as u64, ..LogConfig::default() },
        seed,
        predictor,
    }
}

fn snapshot_bytes_per_tick(config: &NodeConfig) -> usize {
    let bytes = config.limits.snapshot_bytes_per_second.saturating_mul(config.timing.tick_ms) / 1_000;
    usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
}

fn start_driver<P: Predictor>(
    launch: Launch<P>,
    opened: oneshot::Sender<Result<(), Error>>,
    shared: Arc<Shared>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = format!("boat-{}-driver", shared.node);
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver's thread: steps the replica with every tick, and when nobody else does"
    )]
    std::thread::Builder::new().name(name).spawn(move || {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| launch.run(opened)));
        let ended = match ran {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some(Error::Internal("the driver panicked; its message is above".to_owned())),
        };
        if let Some(error) = &ended {
            log::error!("node {} stops: {error}", shared.node);
        }
        shared.close();
        shared.feed.stop();
        shared.inbox.close();
        shared.end(ended.map(Arc::new));
    })
}

/// Birth, nonce and seed: the only randomness that is not drawn from a seed.
fn random_words() -> [u64; 4] {
    std::array::from_fn(|_| rand::rngs::OsRng.next_u64())
}
