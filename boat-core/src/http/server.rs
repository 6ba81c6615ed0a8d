//! The listener: takes connections, bounds their number, and ends them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connection::{self, Peer, answer_and_close};
use super::problem::{Code, Problem};
use super::routes::Routes;
use super::socket::Socket;
use super::{Frontend, HttpOptions, Service};
use crate::config::Checked;

/// How many connections beyond the limit are told so at a time; yet more are cut without a word.
const REFUSALS_MAX: usize = 64;
/// The first and the longest pause after the system could not give a connection (no file descriptors left, say).
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long connections that were told to close at once may take.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// What the server is doing, for its connections to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerState {
    /// Takes connections and requests.
    Serving,
    /// Takes no connections. Answers requests, each the last one of its connection.
    Leaving,
    /// Takes nothing new, and finishes what it has.
    Draining,
    /// Cuts everything off.
    Closing,
}

/// A running frontend. Dropping it cuts all connections; [`HttpServer::shutdown`] ends them in order.
#[derive(Debug)]
pub struct HttpServer {
    local_address: SocketAddr,
    state: watch::Sender<ServerState>,
    connections: Arc<Semaphore>,
    options: Checked<HttpOptions>,
    listening: JoinHandle<()>,
}

/// Serves `service` to the clients of `listener`, with `extra_routes` beside the frontend's own (which see the client's
/// address as axum's `ConnectInfo<SocketAddr>`). Must be called within a tokio runtime; what it starts runs there.
///
/// # Errors
/// When the listener has no local address.
///
/// # Panics
/// When `extra_routes` has a route for one of the frontend's own paths other than `/predict`, `/feedback` and `/query` (which it cannot take over),
/// and outside a tokio runtime.
pub fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    options: Checked<HttpOptions>,
    extra_routes: Router,
) -> io::Result<HttpServer> {
    let local_address = listener.local_addr()?;
    let (state, states) = watch::channel(ServerState::Serving);
    let frontend = Arc::new(Frontend::new(service, options.clone()));
    let connections = frontend.connections.clone();
    let routes = Arc::new(Routes::new(frontend.clone(), extra_routes));
    let acceptor = Acceptor { frontend, routes, states, refusals: Arc::new(Semaphore::new(REFUSALS_MAX)) };
    let listening = tokio::spawn(acceptor.run(listener));
    Ok(HttpServer { local_address, state, connections, options, listening })
}

impl HttpServer {
    /// Where it listens: with the port that the kernel chose, if it was asked to.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Sends the clients away: stops listening, and lets every answer from now on be the last one of its connection
    /// (`connection: close`), so that a client's next request goes to another node. Ends once all are gone, or
    /// after `wait`; then it closes idle connections, and finishes the requests in flight. [`HttpServer::shutdown`] comes next.
    pub async fn leave(&self, wait: Duration) {
        self.state.send_replace(ServerState::Leaving);
        let all = self.options.connections_max;
        let _ = timeout(wait, self.connections.acquire_many(all)).await;
        self.state.send_replace(ServerState::Draining);
    }

    /// Stops listening, closes idle connections, finishes the requests in flight, and cuts off what is not finished within
    /// `shutdown_timeout_ms`. Gives the number of connections that were cut off.
    pub async fn shutdown(self) -> usize {
        self.state.send_replace(ServerState::Draining);
        // It ends at once, and by itself; an error would mean that it has ended by a panic.
        let _ = self.listening.await;
        let all = self.options.connections_max;
        if timeout(self.options.shutdown_timeout(), self.connections.acquire_many(all)).await.is_ok() {
            return 0;
        }
        let cut = (all as usize).saturating_sub(self.connections.available_permits());
        self.state.send_replace(ServerState::Closing);
        let _ = timeout(CLOSING_TIMEOUT, self.connections.acquire_many(all)).await;
        cut
    }
}

/// Takes connections.
struct Acceptor<S> {
    frontend: Arc<Frontend<S>>,
    routes: Arc<Routes<S>>,
    states: watch::Receiver<ServerState>,
    refusals: Arc<Semaphore>,
}

impl<S: Service> Acceptor<S> {
    /// Runs until the state is no longer [`ServerState::Serving`].
    async fn run(self, listener: TcpListener) {
        let mut states = self.states.clone();
        tokio::select! {
            biased;
            // An error says that the handle was dropped, which ends the server too.
            _ = states.changed() => {}
            () = self.accept_all(&listener) => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut pause = ACCEPT_PAUSE_MIN;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    pause = ACCEPT_PAUSE_MIN;
                    self.take(stream, address);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    log::warn!("cannot accept connections: {error}; trying again in {pause:?}");
                    sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, address: SocketAddr) {
        let Ok(permit) = self.frontend.connections.clone().try_acquire_owned() else {
            return self.refuse(stream);
        };
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("connection of {address}: {error}");
        }
        let (frontend, routes, states) = (self.frontend.clone(), self.routes.clone(), self.states.clone());
        tokio::spawn(async move {
            connection::serve(&frontend, &routes, stream, Peer::new(address), states).await;
            drop(permit);
        });
    }

    /// Says 503 to a connection beyond the limit: full is an answer, not a wait.
    fn refuse(&self, stream: TcpStream) {
        self.frontend.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = self.refusals.clone().try_acquire_owned() else { return };
        let options = &self.frontend.options;
        let socket = Socket::new(stream, options.write_timeout());
        let detail = format!("{} connections are open, and no more are served", options.connections_max);
        tokio::spawn(async move {
            answer_and_close(socket, &Problem::new(Code::Overloaded, detail)).await;
            drop(permit);
        });
    }
}

/// Whether the next connection may do better at once.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
