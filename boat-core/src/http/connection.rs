//! One client's connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::problem::{Code, Problem};
use super::routes::Routes;
use super::server::ServerState;
use super::socket::Socket;
use super::{Frontend, HttpOptions, Service};

/// The largest piece in which a body is read: a connection's memory stays below twice this.
const READ_BYTES_MAX: usize = 64 << 10;

/// The other end of a connection, as its requests see it.
#[derive(Debug)]
pub(super) struct Peer {
    /// Where it is.
    pub(super) address: SocketAddr,
    /// Whether the process ends when this connection does.
    wipe: AtomicBool,
}

impl Peer {
    pub(super) fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Peer { address, wipe: AtomicBool::new(false) })
    }

    /// Lets the node be wiped and killed once the answer now being made is sent and its connection has ended.
    pub(super) fn wipe_when_answered(&self) {
        self.wipe.store(true, Ordering::Release);
    }
}

/// Serves `stream` until its client, a limit or `state` ends it. A request that is being answered is finished first, unless
/// the state is [`ServerState::Closing`].
pub(super) async fn serve<S, T>(
    frontend: &Frontend<S>,
    routes: &Routes<S>,
    stream: T,
    peer: Arc<Peer>,
    mut state: watch::Receiver<ServerState>,
) where
    S: Service,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let socket = Socket::new(stream, frontend.options.write_timeout());
    let hurry = socket.hurry_switch();
    let is_leaving = AtomicBool::new(false);
    let answer = service_fn(|request| {
        let (peer, is_leaving) = (&peer, &is_leaving);
        async move {
            let mut answer = routes.answer(request, peer).await;
            if is_leaving.load(Ordering::Relaxed) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = builder(&frontend.options).serve_connection(TokioIo::new(socket), answer);
    let ended = loop {
        let state = tokio::select! {
            ended = &mut connection => break ended,
            state = next(&mut state) => state,
        };
        match state {
            ServerState::Closing => break Ok(()),
            ServerState::Leaving => is_leaving.store(true, Ordering::Relaxed),
            ServerState::Serving | ServerState::Draining => {
                hurry.store(true, Ordering::Relaxed);
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    if peer.wipe.load(Ordering::Acquire) {
        frontend.service.wipe_and_kill();
    }
    if let Err(error) = ended {
        log::debug!("connection of {}: {error}", peer.address);
        let parts = connection.into_parts();
        if error.is_timeout() && !parts.read_buf.is_empty() {
            refuse_slow_head(parts.io.into_inner()).await;
        }
    }
}

/// The next state; a server whose handle is gone is closing.
async fn next(state: &mut watch::Receiver<ServerState>) -> ServerState {
    match state.changed().await {
        Ok(()) => *state.borrow_and_update(),
        Err(_) => ServerState::Closing,
    }
}

fn builder(options: &HttpOptions) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout())
        .max_header_size(options.header_bytes_max)
        .max_buf_size(READ_BYTES_MAX.max(options.header_bytes_max));
    builder
}

/// Tells a client that sent half a head, and then too little, why it is cut off.
async fn refuse_slow_head<T: AsyncRead + AsyncWrite + Unpin>(socket: Socket<T>) {
    answer_and_close(socket, &Problem::new(Code::RequestTimeout, "the request's head did not come in time"))
        .await;
}

/// Writes a problem where no HTTP engine runs. Should it not arrive, the client knows no less than without it.
pub(super) async fn answer_and_close<T: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<T>,
    problem: &Problem,
) {
    if socket.write_all(&problem.to_http1()).await.is_ok() {
        let _ = socket.shutdown().await;
    }
}
