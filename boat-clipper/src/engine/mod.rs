//! Clipper's query frontend and its models, in Rust and in this process.

mod application;
mod config;
mod metrics;
mod predict;
mod routes;
mod server;

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

pub use self::config::{ApplicationConfig, EngineConfig, ModelConfig};
use self::routes::Routes;
use self::server::Server;

/// Why an engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The port is taken.
    #[error("address {0} is in use by another program: end it, or choose another query port")]
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

/// A Clipper-compatible server: Clipper's query frontend and its models, in this process. Dropping it kills it.
///
/// It serves `POST /{application}/predict`, `POST /{application}/update` and `GET /metrics` with Clipper's statuses, shapes and
/// rules, so that what is written against Clipper works without Docker. What it does not know it closes without a byte, as
/// Clipper does. Where Clipper harms a model that keeps state, it does not follow: inputs run strictly in order of arrival
/// and once each, equal ones too, without a cache; an empty input blocks nothing; broken base64 gets 400 and a body that is
/// too long 413.
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
    address: SocketAddr,
    config: EngineConfig,
    /// Nothing after a restart that failed.
    server: Option<Server>,
}

impl Engine {
    /// Starts an engine on `address` (port 0: one that the system chooses), in tasks of the current Tokio runtime, which
    /// needs its network and time drivers. Each model gets a thread of its own.
    ///
    /// # Errors
    /// [`EngineError`], when the address is taken or cannot be had.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn start(address: SocketAddr, config: EngineConfig) -> Result<Engine, EngineError> {
        let (server, address) = serve(address, &config).await?;
        Ok(Engine { address, config, server: Some(server) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Kills everything and starts anew on the same address, with fresh models and `query_id` 0, as if the process had been
    /// killed and started.
    ///
    /// Even bytes that a client sent before, and that nobody has read yet, cannot reach the new models: connections and
    /// listener are closed first.
    ///
    /// # Errors
    /// [`EngineError`]. The engine is then stopped; a later `restart` tries again.
    pub async fn restart(&mut self) -> Result<(), EngineError> {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
        let (server, _) = serve(self.address, &self.config).await?;
        self.server = Some(server);
        Ok(())
    }

    /// Stops. Answers on their way are waited for, a second at most.
    pub async fn shutdown(mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown().await;
        }
    }
}

async fn serve(address: SocketAddr, config: &EngineConfig) -> Result<(Server, SocketAddr), EngineError> {
    let routes = Routes::start(config)?;
    let listen = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => EngineError::AddressInUse(address),
        _ => EngineError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok((Server::start(listener, routes, config), address))
}
