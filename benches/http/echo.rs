//! The limit: a server that answers each request with itself.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};

use benches::{Ports, Process, Result, wait_for};
use boat_core::supervisor::watch_parent;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The first argument of the process that echoes; the second is its address.
const ECHO: &str = "--echo";

/// A running echo.
pub(crate) struct Echo {
    address: SocketAddr,
    _ports: Ports,
    _process: Process,
}

impl Echo {
    pub(crate) fn start() -> Result<Echo> {
        let ports = Ports::reserve()?;
        let address = ports.address(0)?;
        let process = Process::start_self(&[OsString::from(ECHO), address.to_string().into()])?;
        wait_for("the echo listens", || Ok(TcpStream::connect(address).ok()))?;
        Ok(Echo { address, _ports: ports, _process: process })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Echoes until the bench ends, where this process was started to.
pub(crate) fn run_if_echo() -> Result<bool> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(ECHO) {
        return Ok(false);
    }
    watch_parent()?;
    let address = arguments.next().ok_or("no address")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(&address))?;
    Ok(true)
}

async fn serve(address: &str) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<hyper::body::Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(Full::new(body)))
}
