//! One connection of a container, and the model that lives as long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use rand::RngCore;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::{ContainerConfig, ContainerError};
use crate::rpc::{FromContainer, Inputs, Metadata, ToContainer};
use crate::zmtp::{Incoming, Limits, Message, Outgoing, SocketType, ZmtpError, handshake};
use crate::{EngineModel, Input, ModelFactory};

/// How many frames a message may have: Clipper sends batches of any size.
const FRAMES_MAX: usize = 1 << 20;
/// Batches on their way to the model: the frontend sends one at a time.
const BATCHES_WAITING_MAX: usize = 4;

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum Ended {
    /// The model is broken.
    Model(ContainerError),
    /// The connection is, or the frontend.
    Connection(String),
}

impl From<ZmtpError> for Ended {
    fn from(error: ZmtpError) -> Self {
        Ended::Connection(error.to_string())
    }
}

type Outputs = Result<Vec<Bytes>, ContainerError>;

/// A connection that has been greeted.
pub(super) struct Session<'a> {
    config: &'a ContainerConfig,
    incoming: Incoming<OwnedReadHalf>,
    outgoing: Outgoing<OwnedWriteHalf>,
    to_model: mpsc::Sender<(u32, Vec<Input>)>,
    from_model: mpsc::Receiver<(u32, Outputs)>,
    /// Whether the frontend knows what is served here.
    is_registered: bool,
}

enum Event {
    Message(Message),
    Outputs(u32, Outputs),
    HeartbeatDue,
}

impl<'a> Session<'a> {
    pub(super) async fn greet(
        config: &'a ContainerConfig,
        stream: TcpStream,
        make: &ModelFactory,
    ) -> Result<Self, Ended> {
        let limits = Limits { message_bytes_max: config.message_bytes_max, frames_max: FRAMES_MAX };
        let (read, write) = stream.into_split();
        let identity = identity();
        let greeted = handshake(read, write, SocketType::Dealer, identity.as_bytes(), limits);
        let within = Duration::from_millis(config.silence_ms_max);
        let (incoming, outgoing, _) = timeout(within, greeted)
            .await
            .map_err(|_| Ended::Connection(format!("no greeting within {within:?}")))??;
        let (to_model, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let (outputs, from_model) = mpsc::channel(BATCHES_WAITING_MAX);
        let model = make();
        let thread = std::thread::Builder::new().name("model".to_owned());
        thread
            .spawn(move || run_model(model, batches, &outputs))
            .map_err(|error| Ended::Model(ContainerError::Thread(error)))?;
        Ok(Session { config, incoming, outgoing, to_model, from_model, is_registered: false })
    }

    /// Serves until something ends it.
    pub(super) async fn run(mut self) -> Ended {
        match self.serve().await {
            Ok(()) => Ended::Connection("ended".to_owned()),
            Err(ended) => ended,
        }
    }

    async fn serve(&mut self) -> Result<(), Ended> {
        let heartbeat = Duration::from_millis(self.config.heartbeat_ms);
        let silence_max = Duration::from_millis(self.config.silence_ms_max);
        self.outgoing.send(&FromContainer::Heartbeat.encode()).await?;
        let (mut heard, mut beaten) = (Instant::now(), Instant::now());
        loop {
            let event = tokio::select! {
                biased;
                Some((id, outputs)) = self.from_model.recv() => Event::Outputs(id, outputs),
                message = self.incoming.next() => Event::Message(message?),
                () = sleep_until(beaten + heartbeat) => Event::HeartbeatDue,
            };
            match event {
                Event::Outputs(id, outputs) => {
                    let outputs = outputs.map_err(Ended::Model)?;
                    self.outgoing.send(&FromContainer::Response { id, outputs }.encode()).await?;
                }
                Event::Message(message) => {
                    heard = Instant::now();
                    self.hear(&message).await?;
                }
                Event::HeartbeatDue => {
                    beaten = Instant::now();
                    if heard.elapsed() >= silence_max {
                        return Err(Ended::Connection(format!("no word for {silence_max:?}")));
                    }
                    self.outgoing.send(&FromContainer::Heartbeat.encode()).await?;
                }
            }
        }
    }

    async fn hear(&mut self, message: &[Bytes]) -> Result<(), Ended> {
        let nonsense = |why: &dyn std::fmt::Display| Ended::Connection(format!("the frontend sent {why}"));
        match ToContainer::decode(message).map_err(|error| nonsense(&error))? {
            ToContainer::Heartbeat { wants_metadata: false } => Ok(()),
            ToContainer::Heartbeat { wants_metadata: true } if self.is_registered => {
                // The frontend has forgotten this container, and what it has run: a fresh model starts over.
                Err(Ended::Connection("the frontend has given this container up".to_owned()))
            }
            ToContainer::Heartbeat { wants_metadata: true } => {
                self.is_registered = true;
                let metadata = Metadata {
                    model_name: self.config.model_name.clone(),
                    model_version: self.config.model_version.clone(),
                    input_type: self.config.input_type,
                };
                Ok(self.outgoing.send(&FromContainer::Metadata(metadata).encode()).await?)
            }
            ToContainer::Predict { id, inputs: Inputs { input_type, inputs } } => {
                let inputs = inputs.iter().map(|bytes| Input::from_bytes(input_type, bytes));
                let inputs = inputs.collect::<Result<Vec<_>, _>>().map_err(|error| nonsense(&error))?;
                let sent = self.to_model.try_send((id, inputs));
                sent.map_err(|_| Ended::Connection("the frontend does not wait for outputs".to_owned()))
            }
        }
    }
}

/// A name that no other life of a model has.
fn identity() -> String {
    let mut bytes = [0; 16];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    format!("boat-{:032x}", u128::from_le_bytes(bytes))
}

fn run_model(
    mut model: Box<dyn EngineModel>,
    mut batches: mpsc::Receiver<(u32, Vec<Input>)>,
    outputs: &mpsc::Sender<(u32, Outputs)>,
) {
    while let Some((id, inputs)) = batches.blocking_recv() {
        // After a panic the model is not used again.
        let ran = catch_unwind(AssertUnwindSafe(|| model.predict(&inputs)));
        let given = match ran {
            Ok(given) if given.len() == inputs.len() => Ok(given.into_iter().map(Bytes::from).collect()),
            Ok(given) => Err(ContainerError::Miscounted { inputs: inputs.len(), outputs: given.len() }),
            Err(_) => Err(ContainerError::ModelPanicked),
        };
        let is_broken = given.is_err();
        // Nobody waits any more once the connection is over.
        if outputs.blocking_send((id, given)).is_err() || is_broken {
            return;
        }
    }
}
