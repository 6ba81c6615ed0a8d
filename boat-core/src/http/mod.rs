//! The HTTP frontend: one node's requests and answers over HTTP/1.1.
//!
//! hyper serves the connections, each within its limits of time and length; a router on top picks the route. The frontend
//! checks a prediction (type, length, JSON, the predictor's own check) before it costs anything, hands it to the node
//! ([`Service`]), and says what came of it: the model's answer as it is, or a problem (RFC 9457) with a code and whether to
//! try again. `docs/http-api.md` is the page for clients.
//!
//! | route | answer |
//! |---|---|
//! | `GET /` | a greeting |
//! | `GET /status` | [`Status`](crate::Status) as JSON |
//! | `POST /predict`, `POST /feedback` | the model's answer |
//! | `POST /query` | the model's answer, with nothing changed |
//! | `POST /sessions` | a session |
//! | `GET /outcomes/KEY` | what became of a request |
//! | `POST /control` | `{"cmd": "exit"}` wipes and ends the node; only where allowed, only from this machine |
//! | `GET /admin/members` | who takes part |
//! | `POST /admin/members`, `DELETE /admin/members/NODE`, `POST /admin/leader` | changes that; only where allowed, only from this machine |
//! | `GET /livez`, `GET /readyz` | 200, or 503 with the reason |
//! | `GET /metrics` | Prometheus text |

mod accepted;
mod admin;
mod body;
mod connection;
mod control;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod headers;
mod key;
mod metrics;
mod outcomes;
mod predict;
mod problem;
mod quarantine;
mod query;
mod routes;
mod server;
mod service;
mod sessions;
mod socket;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::HeaderValue;
use tokio::sync::Semaphore;

pub use key::{IdempotencyKey, KEY_BYTES_MAX, KeyError};
pub use metrics::MetricsText;
pub use server::{HttpServer, serve};
pub use service::{Identity, OpenedSession, Service, SessionPlace};

use crate::config::Checked;
pub use crate::config::HttpOptions;
use accepted::Accepted;
use metrics::Metrics;

/// An answer of the frontend's own routes: it is whole before it is sent.
type Reply = Response<Full<Bytes>>;

/// What all connections share.
struct Frontend<S> {
    service: S,
    options: Checked<HttpOptions>,
    /// One permit per connection that may be served.
    connections: Arc<Semaphore>,
    metrics: Metrics,
    accepted: Accepted,
    /// The node's number as a header's value.
    node: HeaderValue,
}

impl<S: Service> Frontend<S> {
    fn new(service: S, options: Checked<HttpOptions>) -> Self {
        let connections = Arc::new(Semaphore::new(options.connections_max as usize));
        let node = HeaderValue::from(service.node().0);
        let (metrics, accepted) = (Metrics::default(), Accepted::default());
        Frontend { service, options, connections, metrics, accepted, node }
    }

    fn connections_open(&self) -> usize {
        (self.options.connections_max as usize).saturating_sub(self.connections.available_permits())
    }
}
