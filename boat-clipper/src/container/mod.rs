//! A model container in Rust: a model that connects to a query frontend, Clipper's or an engine's, and serves.

mod client;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use self::client::{Ended, Session};
use crate::{InputType, ModelFactory};

/// How a model connects, and as what.
///
/// ```
/// use boat_clipper::ContainerConfig;
///
/// let config = ContainerConfig { model_name: "echo-model".to_owned(), ..ContainerConfig::default() };
/// assert_eq!(config.frontend, "127.0.0.1:7000");
/// ```
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// Where the query frontend takes containers, as `HOST:PORT`. Default `127.0.0.1:7000`.
    pub frontend: String,
    /// The model's name. Default `echo-model`.
    pub model_name: String,
    /// The model's version. Default `1`.
    pub model_version: String,
    /// What the model takes. Default strings.
    pub input_type: InputType,
    /// How often the container shows that it lives, in milliseconds. Default 5,000, as Clipper's.
    pub heartbeat_ms: u64,
    /// After how long without a word of the frontend it connects anew, in milliseconds. Default 30,000, as Clipper's.
    pub silence_ms_max: u64,
    /// How long it waits before it connects again, in milliseconds. Default 200.
    pub reconnect_ms: u64,
    /// The longest message of the frontend, in bytes. Default 64 MiB.
    pub message_bytes_max: usize,
}

impl Default for ContainerConfig {
    fn default() -> Self {
        ContainerConfig {
            frontend: "127.0.0.1:7000".to_owned(),
            model_name: "echo-model".to_owned(),
            model_version: "1".to_owned(),
            input_type: InputType::Strings,
            heartbeat_ms: 5_000,
            silence_ms_max: 30_000,
            reconnect_ms: 200,
            message_bytes_max: 64 << 20,
        }
    }
}

/// Why a container does not go on. Whatever has to do with the connection is tried again instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The model panicked: its state is not to be trusted any more.
    #[error("the model panicked")]
    ModelPanicked,
    /// The model gave another number of outputs than it got inputs.
    #[error("the model gave {outputs} outputs for {inputs} inputs")]
    Miscounted {
        /// What it got.
        inputs: usize,
        /// What it gave.
        outputs: usize,
    },
    /// No thread could be had for the model.
    #[error("cannot start the model's thread: {0}")]
    Thread(std::io::Error),
}

/// Serves the models that `make` makes. Runs until the model fails; drop the future to end it earlier.
///
/// Each connection gets a fresh model and an identity of its own: after a break the old memory is gone, and whoever keeps the
/// order (Boat) replays. The model runs on a thread of its own, one batch at a time.
///
/// # Errors
/// [`ContainerError`]: the model is broken. A frontend that cannot be reached, goes away or talks nonsense is tried again.
///
/// # Panics
/// Outside of a Tokio runtime with network and time.
pub async fn serve_container(config: ContainerConfig, make: ModelFactory) -> Result<(), ContainerError> {
    let pause = Duration::from_millis(config.reconnect_ms);
    loop {
        match one_connection(&config, &make).await {
            Ended::Model(error) => return Err(error),
            Ended::Connection(why) => log::info!("container: {}: {why}; connecting again", config.frontend),
        }
        sleep(pause).await;
    }
}

async fn one_connection(config: &ContainerConfig, make: &ModelFactory) -> Ended {
    let silence_max = Duration::from_millis(config.silence_ms_max);
    let connected = tokio::time::timeout(silence_max, TcpStream::connect(&config.frontend)).await;
    let stream: TcpStream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ended::Connection(error.to_string()),
        Err(_) => return Ended::Connection(format!("no connection within {silence_max:?}")),
    };
    // Small answers would wait for the peer's acknowledgement; a failure costs time only.
    let _ = stream.set_nodelay(true);
    match Session::greet(config, stream, make).await {
        Ok(session) => session.run().await,
        Err(ended) => ended,
    }
}

impl ContainerConfig {
    /// The default, for the frontend at this address.
    pub fn at(frontend: SocketAddr) -> Self {
        ContainerConfig { frontend: frontend.to_string(), ..ContainerConfig::default() }
    }
}
