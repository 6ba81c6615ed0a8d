//! One request of a client, and a small server.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::Failure;

/// How long one exchange may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);

/// Asks once, on a connection of its own.
pub(crate) async fn ask(
    address: &str,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), Failure> {
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // Its error comes with the request's.
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", address);
        let (head, body) = sender.send_request(request.body(Full::new(body))?).await?.into_parts();
        Ok((head.status, body.collect().await?.to_bytes()))
    };
    tokio::time::timeout(EXCHANGE_MAX, asked).await?
}

/// Serves one connection after the other's request with `answer`, for ever. Where it fails the connection is closed without a
/// byte, as Clipper does.
pub(crate) async fn serve<A, F>(address: SocketAddr, answer: A) -> Result<(), Failure>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Failure>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await?;
    log::info!("listening on {address}");
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            if let Err(error) = served.await {
                log::debug!("connection ended: {error:?}");
            }
        });
    }
}
