//! Clients: each asks for one thing after the other, through any node, until it has an answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boat_clipper::ModelKind;
use boat_core::history::Record;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Failure;
use super::cluster::Cluster;
use super::records::Records;

/// How long a client waits for one answer, at least and at most, in milliseconds: some are less patient than the nodes.
const PATIENCE_MS: (u64, u64) = (300, 12_000);
/// After one answer in so many a client reads.
const READ_ONE_IN: u32 = 4;
/// How long a read may take.
const READ_MAX: Duration = Duration::from_secs(5);
/// How long a client rests after an answer, at most, in milliseconds.
const REST_MS_MAX: u64 = 20;
/// How long a client waits before it asks again, at most, in milliseconds.
const AGAIN_MS_MAX: u64 = 100;
/// How long a client may take to get its last answer, once all faults are over.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(60);

/// Clients that ask until they are told to stop.
#[derive(Debug)]
pub(crate) struct Clients {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<(), Failure>>>,
}

/// Starts so many clients.
pub(crate) fn start(
    (count, model): (u16, ModelKind),
    cluster: &Cluster,
    records: &Arc<Records>,
    seed: u64,
) -> Clients {
    let (stop, stopped) = watch::channel(false);
    let client = |number: u16| {
        let connections = cluster.addresses().into_iter().map(Connection::new).collect();
        let random = ChaCha8Rng::seed_from_u64(seed ^ u64::from(number));
        // A model whose predictions change its state answers no queries.
        let reads = model == ModelKind::Echo;
        let client = Client { number, connections, reads, records: records.clone(), random };
        tokio::spawn(client.run(stopped.clone()))
    };
    Clients { tasks: (0..count).map(client).collect(), stop }
}

impl Clients {
    /// Lets each client get its last answer.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.stop.send_replace(true);
        for task in self.tasks {
            let ended = tokio::time::timeout(LAST_ANSWER_MAX, task).await;
            ended.map_err(|_| {
                format!("a client has no answer {LAST_ANSWER_MAX:?} after the faults ended")
            })???;
        }
        Ok(())
    }
}

struct Client {
    number: u16,
    connections: Vec<Connection>,
    reads: bool,
    records: Arc<Records>,
    random: ChaCha8Rng,
}

impl Client {
    async fn run(mut self, stopped: watch::Receiver<bool>) -> Result<(), Failure> {
        for count in 0_u64.. {
            if *stopped.borrow() {
                break;
            }
            let operation = format!("client-{}/{count}", self.number);
            self.ask(&operation, &stopped).await?;
            if self.reads && self.random.gen_ratio(1, READ_ONE_IN) {
                self.read().await?;
            }
            let rest_ms = self.random.gen_range(0..=REST_MS_MAX);
            tokio::time::sleep(Duration::from_millis(rest_ms)).await;
        }
        Ok(())
    }

    /// Reads from some node what everybody must have been answered before. A read that fails is not tried again.
    async fn read(&mut self) -> Result<(), Failure> {
        let place = self.random.gen_range(0..self.connections.len());
        let Some(connection) = self.connections.get_mut(place) else { return Ok(()) };
        let from_us = self.records.now_us();
        let Ok(reply) = connection.query(READ_MAX).await else { return Ok(()) };
        if reply.status == 200 {
            let (to_us, position) = (self.records.now_us(), reply.position()?);
            self.records.push(Record::Read { from_us, to_us, position, linearizable: true });
        }
        Ok(())
    }

    /// Asks until there is an answer. Now and then it gives up; not when all faults are over.
    async fn ask(&mut self, operation: &str, stopped: &watch::Receiver<bool>) -> Result<(), Failure> {
        let name = || operation.to_owned();
        loop {
            let place = self.random.gen_range(0..self.connections.len());
            let Some(connection) = self.connections.get_mut(place) else { return Ok(()) };
            let patience = Duration::from_millis(self.random.gen_range(PATIENCE_MS.0..=PATIENCE_MS.1));
            self.records.push(Record::Sent { at_us: self.records.now_us(), operation: name() });
            let replied = connection.predict(operation, patience).await;
            let at_us = self.records.now_us();
            let definite = match replied {
                Ok(reply) if reply.status == 200 => {
                    let (position, outcome) = (reply.position()?, reply.text());
                    self.records.push(Record::Answered { at_us, operation: name(), position, outcome });
                    return Ok(());
                }
                Ok(reply) => match reply.json().as_ref().and_then(|body| body.get("retry")?.as_str()) {
                    Some("safe") => true,
                    Some("same_key") => false,
                    _ => return Err(format!("{operation} was answered with {reply:?}").into()),
                },
                // Whether it was heard of nobody knows.
                Err(_) => false,
            };
            self.records.push(Record::Failed { at_us, operation: name(), definite });
            if !*stopped.borrow() && self.random.gen_bool(if definite { 0.2 } else { 0.05 }) {
                return Ok(());
            }
            let again_ms = self.random.gen_range(0..=AGAIN_MS_MAX);
            tokio::time::sleep(Duration::from_millis(again_ms)).await;
        }
    }
}

/// A connection to one node that is kept, and made anew where it has ended.
pub(crate) struct Connection {
    address: SocketAddr,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// What a node said.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Connection { address, kept: None }
    }

    pub(crate) async fn get(&mut self, path: &str, within: Duration) -> Result<Reply, Failure> {
        self.exchange(Request::get(path).header("host", "boat").body(Full::default())?, within).await
    }

    /// A prediction whose input is its key.
    pub(crate) async fn predict(&mut self, key: &str, within: Duration) -> Result<Reply, Failure> {
        let body = serde_json::json!({ "input": key }).to_string();
        let request = Request::post("/predict").header("host", "boat").header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(Full::from(body))?;
        self.exchange(request, within).await
    }

    /// A linearizable read.
    pub(crate) async fn query(&mut self, within: Duration) -> Result<Reply, Failure> {
        let request =
            Request::post("/query").header("host", "boat").header("content-type", "application/json");
        self.exchange(request.body(Full::from(r#"{"input":"?"}"#))?, within).await
    }

    /// One exchange. A connection on which an answer is missing is not used again.
    async fn exchange(&mut self, request: Request<Full<Bytes>>, within: Duration) -> Result<Reply, Failure> {
        let kept = self.kept.take().filter(|kept| !kept.is_closed());
        let exchange = async {
            let mut sender = match kept {
                Some(kept) => kept,
                None => connect(self.address).await?,
            };
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, Failure>((sender, Reply { status: head.status.as_u16(), headers: head.headers, body }))
        };
        let (sender, reply) = tokio::time::timeout(within, exchange).await??;
        self.kept = Some(sender);
        Ok(reply)
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its error comes with the request's.
    tokio::spawn(connection);
    Ok(sender)
}

impl Reply {
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The position that an answer names.
    pub(crate) fn position(&self) -> Result<u64, Failure> {
        let header = self.headers.get("boat-position").ok_or("an answer without a position")?;
        Ok(header.to_str()?.parse()?)
    }
}
