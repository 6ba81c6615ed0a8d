//! Model containers: each a ZeroMQ connection that asks to serve a model, and is given batches one at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::EngineConfig;
use super::queue::Batch;
use super::server::{Serve, told_to_stop};
use super::serving::{Replica, Serving};
use crate::Input;
use crate::rpc::{FromContainer, Inputs, Metadata, ToContainer};
use crate::zmtp::{Incoming, Limits, Message, Outgoing, SocketType, ZmtpError, handshake};

/// How many frames a message may have: a response to the largest batch, with room.
const FRAMES_MAX: usize = 2_048;
/// How many messages that are none a connection may send.
const MALFORMED_MAX: usize = 16;

/// What all containers share.
#[derive(Debug)]
pub(super) struct Containers {
    serving: Arc<Serving>,
    limits: Limits,
    handshake_timeout: Duration,
    silence_max: Duration,
}

/// Why a connection is closed from this side.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no word for {0:?}")]
    Silent(Duration),
    #[error("it did not take a message within {0:?}")]
    Stuck(Duration),
    #[error("{0}")]
    Garbage(String),
    #[error(transparent)]
    Connection(#[from] ZmtpError),
}

impl Containers {
    pub(super) fn new(serving: Arc<Serving>, config: &EngineConfig) -> Self {
        let message_bytes_max = config.container_message_bytes_max;
        Containers {
            serving,
            limits: Limits { message_bytes_max, frames_max: FRAMES_MAX },
            handshake_timeout: Duration::from_millis(config.header_timeout_ms),
            silence_max: Duration::from_millis(config.container_silence_ms_max),
        }
    }
}

impl Serve for Containers {
    async fn serve(self: Arc<Self>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
        let peer = stream.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        let (read, write) = stream.into_split();
        let greeted = handshake(read, write, SocketType::Router, b"", self.limits);
        let (incoming, outgoing, identity) = match timeout(self.handshake_timeout, greeted).await {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => return log::debug!("engine: container at {peer}: {error}"),
            Err(_) => return log::debug!("engine: {peer} does not greet"),
        };
        let session = Session {
            containers: self,
            peer: peer.clone(),
            outgoing,
            identity,
            replica: None,
            is_refused: false,
            running: None,
            next_id: 0,
            malformed: 0,
        };
        tokio::select! {
            Err(error) = session.run(incoming) => log::info!("engine: container at {peer} is let go: {error}"),
            () = told_to_stop(&mut stopped) => {}
        }
    }
}

/// One connection.
struct Session {
    containers: Arc<Containers>,
    peer: String,
    outgoing: Outgoing<OwnedWriteHalf>,
    identity: Bytes,
    replica: Option<Replica>,
    /// It has said what it serves, and is not wanted: it is not asked again.
    is_refused: bool,
    /// The batch that it runs. At most one.
    running: Option<(u32, Batch)>,
    next_id: u32,
    malformed: usize,
}

/// What happened.
enum Event {
    Message(Message),
    /// Something to run, or the word that there never will be anything again.
    Batch(Option<Batch>),
}

impl Session {
    async fn run(mut self, mut incoming: Incoming<OwnedReadHalf>) -> Result<(), Ended> {
        let silence_max = self.containers.silence_max;
        let mut heard = Instant::now();
        loop {
            let idle = self.replica.as_ref().filter(|_| self.running.is_none());
            let batch = async {
                match idle {
                    Some(replica) => replica.take().await,
                    None => std::future::pending().await,
                }
            };
            // Both halves may be dropped half way: what was read stays, and a batch is taken only when it is given.
            let event = tokio::select! {
                biased;
                message = incoming.next() => Event::Message(message?),
                batch = batch => Event::Batch(batch),
                () = sleep_until(heard + silence_max) => return Err(Ended::Silent(silence_max)),
            };
            match event {
                Event::Message(message) => {
                    heard = Instant::now();
                    self.hear(&message).await?;
                }
                Event::Batch(Some(batch)) => self.hand_out(batch).await?,
                Event::Batch(None) => self.replica = None,
            }
        }
    }

    async fn send(&mut self, message: &ToContainer) -> Result<(), Ended> {
        let silence_max = self.containers.silence_max;
        match timeout(silence_max, self.outgoing.send(&message.encode())).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Ended::Stuck(silence_max)),
        }
    }

    async fn hear(&mut self, message: &[Bytes]) -> Result<(), Ended> {
        match FromContainer::decode(message) {
            Ok(FromContainer::Heartbeat) => {
                let wants_metadata = self.replica.is_none() && !self.is_refused;
                self.send(&ToContainer::Heartbeat { wants_metadata }).await
            }
            Ok(FromContainer::Metadata(metadata)) => {
                self.register(&metadata);
                Ok(())
            }
            Ok(FromContainer::Response { id, outputs }) => self.complete(id, &outputs),
            Err(error) if self.running.is_some() => Err(Ended::Garbage(error.to_string())),
            Err(error) => {
                self.malformed += 1;
                log::warn!("engine: container at {} sent {error}", self.peer);
                match self.malformed {
                    MALFORMED_MAX.. => Err(Ended::Garbage(format!("{MALFORMED_MAX} messages that are none"))),
                    _ => Ok(()),
                }
            }
        }
    }

    /// A second registration on one connection is ignored, as Clipper does.
    fn register(&mut self, metadata: &Metadata) {
        if self.replica.is_some() || self.is_refused {
            return;
        }
        match self.containers.serving.register(metadata, &self.identity) {
            Ok(replica) => self.replica = Some(replica),
            Err(why) => {
                log::warn!("engine: container at {} gets nothing to run: {why}", self.peer);
                self.is_refused = true;
            }
        }
    }

    async fn hand_out(&mut self, batch: Batch) -> Result<(), Ended> {
        let Some(replica) = &self.replica else { return Ok(()) };
        let (model, input_type) = (replica.model(), replica.input_type());
        if batch.parts().flatten().any(|input| input.input_type() != input_type) {
            // The batch fails, and the next one may fit.
            log::warn!(
                "engine: container at {} takes {input_type}, which model {model} is not for",
                self.peer
            );
            return Ok(());
        }
        let bytes = |input: &Input| Bytes::copy_from_slice(&input.to_bytes());
        let inputs = batch.parts().flatten().map(bytes).collect();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.running = Some((id, batch));
        self.send(&ToContainer::Predict { id, inputs: Inputs { input_type, inputs } }).await
    }

    /// What is no answer to the batch that runs ends the connection: nobody knows what the model has seen.
    fn complete(&mut self, id: u32, outputs: &[Bytes]) -> Result<(), Ended> {
        match self.running.take() {
            Some((expected, batch)) if expected == id && batch.len() == outputs.len() => {
                batch.complete(outputs.iter().map(|output| String::from_utf8_lossy(output).into_owned()));
                Ok(())
            }
            Some((expected, batch)) => Err(Ended::Garbage(format!(
                "{} outputs for batch {id}, where {} for batch {expected} were due",
                outputs.len(),
                batch.len()
            ))),
            None => Err(Ended::Garbage(format!("outputs for batch {id}, and nothing was asked"))),
        }
    }
}

#[cfg(test)]
mod tests;
