//! A kept connection to a query frontend: a pool of one, because one request is in flight at a time.
//!
//! It is not hyper-util's pooled client, because what counts here is to know whether a request may have reached the
//! frontend, and to send none twice.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::ClipperConfig;

/// How often a request is offered: once to the kept connection, which the frontend may just have closed, and once to a new one.
const OFFERS_MAX: usize = 2;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExchangeError {
    /// The request did not leave: provably nothing happened.
    NotSent(String),
    /// The request may have been carried out.
    Unknown(String),
}

/// The way to one frontend.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    connect_timeout: Duration,
    call_timeout: Duration,
    idle_timeout: Duration,
    answer_bytes_max: usize,
    kept: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
    used: Instant,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) fn new(address: SocketAddr, config: &ClipperConfig) -> Self {
        Connection {
            address,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            call_timeout: Duration::from_millis(config.call_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            answer_bytes_max: config.answer_bytes_max,
            kept: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the kept connection, if any.
    pub(crate) fn close(&mut self) {
        self.kept = None;
    }

    /// Sends one request and reads its whole answer. The connection is kept for the next one only after both went well; a
    /// caller that gives up on the way closes it.
    pub(crate) async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ExchangeError> {
        let mut request = self.request(method, path, body)?;
        let mut refused = String::new();
        for _ in 0..OFFERS_MAX {
            let mut open = match self.kept.take() {
                Some(open) if open.used.elapsed() < self.idle_timeout => open,
                _ => self.connect().await?,
            };
            let call = self.call(&mut open, request);
            match timeout(self.call_timeout, call).await {
                Ok(Ok(answer)) => {
                    open.used = Instant::now();
                    self.kept = Some(open);
                    return Ok(answer);
                }
                Ok(Err(NotAnswered::Failed(why))) => return Err(ExchangeError::Unknown(why)),
                Ok(Err(NotAnswered::Closed(unsent, why))) => (request, refused) = (*unsent, why),
                Err(_) => {
                    let waited = self.call_timeout;
                    return Err(ExchangeError::Unknown(format!("no answer within {waited:?}")));
                }
            }
        }
        Err(ExchangeError::NotSent(format!("{} closes connections at once: {refused}", self.address)))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ExchangeError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body));
        request.map_err(|error| ExchangeError::NotSent(format!("cannot ask for {path}: {error}")))
    }

    async fn connect(&self) -> Result<Open, ExchangeError> {
        let not_sent = |why: String| {
            ExchangeError::NotSent(format!("cannot connect to a query frontend at {}: {why}", self.address))
        };
        let connecting = timeout(self.connect_timeout, TcpStream::connect(self.address)).await;
        let stream = connecting
            .map_err(|_| not_sent(format!("no connection within {:?}", self.connect_timeout)))?
            .map_err(|error| not_sent(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| not_sent(error.to_string()))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| not_sent(error.to_string()))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("connection to the query frontend ended: {error}");
            }
        });
        Ok(Open { sender, driver, used: Instant::now() })
    }

    async fn call(
        &self,
        open: &mut Open,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), NotAnswered> {
        if let Err(error) = open.sender.ready().await {
            return Err(NotAnswered::Closed(Box::new(request), error.to_string()));
        }
        let response = match open.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(mut error) => {
                // hyper gives the request back as long as no byte of it was written.
                let unsent = error.take_message();
                let why = error.into_error().to_string();
                return Err(match unsent {
                    Some(unsent) => NotAnswered::Closed(Box::new(unsent), why),
                    None => NotAnswered::Failed(format!("no answer: {why}")),
                });
            }
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), self.answer_bytes_max).collect().await;
        match body {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) => Err(NotAnswered::Failed(format!("the answer broke off: {error}"))),
        }
    }
}

enum NotAnswered {
    /// The connection was closed before a byte of the request was written; here it is again, and why.
    Closed(Box<Request<Full<Bytes>>>, String),
    /// It may have been carried out.
    Failed(String),
}
