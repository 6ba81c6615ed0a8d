//! Clipper's frontends and its models, in Rust and in this process.

mod config;
mod containers;
mod gauges;
mod lives;
mod metrics;
mod predict;
mod queue;
mod routes;
mod server;
mod serving;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

pub use self::config::{ApplicationConfig, EngineConfig, ModelConfig};
use self::containers::Containers;
use self::lives::Lives;
use self::routes::{Frontend, Routes};
use self::server::Server;
pub(crate) use self::serving::NO_MODEL;
use self::serving::Serving;
use crate::deployment::{Change, Look};

/// How long a restart tries to get its addresses back, and how often.
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(2);
const LISTEN_AGAIN_PAUSE: Duration = Duration::from_millis(10);

/// Why an engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The port is taken.
    #[error("address {0} is in use by another program: end it, or choose another port")]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread could be had for a model.
    #[error("cannot start a model's thread: {0}")]
    Thread(io::Error),
}

/// A Clipper-compatible server: Clipper's frontends and its models, in this process. Dropping it kills it.
///
/// - Query frontend: `POST /{application}/predict`, `POST /{application}/update` and `GET /metrics`.
/// - Management frontend, where [`EngineConfig::management_address`] says: `POST /admin/...` and `GET /admin/ping`.
/// - Model containers connect over ZeroMQ, where [`EngineConfig::rpc_address`] says.
///
/// Statuses, shapes and rules are Clipper's, so that what is written against Clipper works without Docker. What it does not
/// know it closes without a byte, as Clipper does. Where Clipper harms a model that keeps state, it does not follow: inputs run
/// strictly in order of arrival and once each, equal ones too, without a cache; an empty input blocks nothing; broken
/// base64 gets 400 and a body that is too long 413. `docs/clipper.md` has the whole list.
///
/// ```
/// use boat_clipper::{Engine, EngineConfig};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let engine = Engine::start("127.0.0.1:0".parse()?, EngineConfig::default()).await?;
/// assert_ne!(engine.address().port(), 0);
/// engine.shutdown().await;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    /// The addresses are those that it really listens on.
    config: EngineConfig,
    address: SocketAddr,
    lives: Arc<Mutex<Lives>>,
    /// Nothing after a restart that failed.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    serving: Arc<Serving>,
    servers: Vec<Server>,
}

impl Engine {
    /// Starts an engine whose query frontend listens on `address` (port 0: one that the system chooses), in tasks of the
    /// current Tokio runtime, which needs its network and time drivers. Each model in this process gets a thread of its own.
    ///
    /// # Errors
    /// [`EngineError`], when an address is taken or cannot be had.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn start(address: SocketAddr, config: EngineConfig) -> Result<Engine, EngineError> {
        let mut engine = Engine { config, address, lives: Arc::default(), running: None };
        engine.run().await?;
        Ok(engine)
    }

    async fn run(&mut self) -> Result<(), EngineError> {
        let query = listen(self.address).await?;
        let management = match self.config.management_address {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let rpc = match self.config.rpc_address {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        self.address = query.1;
        self.config.management_address = management.as_ref().map(|(_, address)| *address);
        self.config.rpc_address = rpc.as_ref().map(|(_, address)| *address);
        let config = &self.config;
        let serving = Serving::start(config, Arc::clone(&self.lives))?;
        let frontend = |listener, frontend| {
            let routes = Arc::new(Routes::new(frontend, Arc::clone(&serving), config));
            Server::start(listener, routes, config.connections_max)
        };
        let mut servers = vec![frontend(query.0, Frontend::Query)];
        servers.extend(management.map(|(listener, _)| frontend(listener, Frontend::Management)));
        servers.extend(rpc.map(|(listener, _)| {
            let containers = Arc::new(Containers::new(Arc::clone(&serving), config));
            Server::start(listener, containers, config.connections_max)
        }));
        self.running = Some(Running { serving, servers });
        Ok(())
    }

    /// Where the query frontend listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the management frontend listens, if it does.
    pub fn management_address(&self) -> Option<SocketAddr> {
        self.config.management_address
    }

    /// Where model containers connect, if they can.
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        self.config.rpc_address
    }

    /// Makes one change, as a request to the management frontend does, and gives Clipper's words for it.
    ///
    /// # Errors
    /// Why it cannot be, in Clipper's words. Nothing has changed then.
    pub fn change(&self, change: &Change) -> Result<String, String> {
        match &self.running {
            Some(running) => running.serving.change(change),
            None => Err("the engine is stopped".to_owned()),
        }
    }

    /// Answers a question to the management frontend: JSON, but for the state of an application.
    ///
    /// # Errors
    /// Why it cannot be answered, in Clipper's words.
    pub fn look(&self, look: &Look) -> Result<String, String> {
        match &self.running {
            Some(running) => running.serving.look(look),
            None => Err("the engine is stopped".to_owned()),
        }
    }

    /// Kills everything and starts anew on the same addresses, with the applications of its configuration, fresh models and
    /// `query_id` 0, as if the process had been killed and started.
    ///
    /// Even bytes that a client sent before, and that nobody has read yet, cannot reach the new models: connections and
    /// listeners are closed first. Containers are cut off, and come back by themselves.
    ///
    /// # Errors
    /// [`EngineError`]. The engine is then stopped; a later `restart` tries again.
    pub async fn restart(&mut self) -> Result<(), EngineError> {
        if let Some(mut running) = self.running.take() {
            running.serving.close();
            for server in std::mem::take(&mut running.servers) {
                server.kill().await;
            }
        }
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).restarted();
        let until = Instant::now() + LISTEN_AGAIN_MAX;
        // While nothing listens the system may lend a port of ours to somebody's outgoing connection.
        loop {
            match self.run().await {
                Err(EngineError::AddressInUse(_)) if Instant::now() < until => {
                    sleep(LISTEN_AGAIN_PAUSE).await;
                }
                ended => return ended,
            }
        }
    }

    /// Stops. Answers on their way are waited for, a second at most.
    pub async fn shutdown(mut self) {
        let Some(mut running) = self.running.take() else { return };
        for server in std::mem::take(&mut running.servers) {
            server.shutdown().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.close();
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), EngineError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => EngineError::AddressInUse(address),
        _ => EngineError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
