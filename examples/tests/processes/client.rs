//! A client of one node.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// How long one exchange may take: longer than the node lets a request wait.
const EXCHANGE_MAX: Duration = Duration::from_secs(30);

/// Where connections come from: never from an address on which a node listens.
const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Why there is no answer; only its text is used.
type Failure = Box<dyn std::error::Error>;

/// A client with one connection that it keeps.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What a node said.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Client { runtime, address, connection: None }
    }

    /// One exchange. Without an answer nobody knows whether the node had the request; the next has a new connection.
    pub(crate) fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let Client { runtime, address, connection } = self;
        let asked = async {
            let kept = connection.take().filter(|kept| !kept.is_closed());
            let mut sender = match kept {
                Some(kept) => kept,
                None => connect(*address).await?,
            };
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            *connection = Some(sender);
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        runtime.block_on(async { tokio::time::timeout(EXCHANGE_MAX, asked).await? })
    }

    pub(crate) fn get(&mut self, path: &str) -> Result<Reply, Failure> {
        self.ask(request("GET", path, &[], ""))
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<Reply, Failure> {
        self.ask(request("POST", path, &[("content-type", "application/json")], body))
    }

    /// A prediction for `input` under `key`.
    pub(crate) fn predict(&mut self, key: &str, input: &str) -> Result<Reply, Failure> {
        let fields = [("content-type", "application/json"), ("idempotency-key", key)];
        let body = serde_json::json!({ "input": input }).to_string();
        self.ask(request("POST", "/predict", &fields, &body))
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((OWN_ADDRESS, 0)))?;
    let stream: TcpStream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its error comes with the request's.
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path).header("host", "boat");
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks that this is a problem with this status and code.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.json()["code"], code, "{self:?}");
    }
}
