//! Which path leads where.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::routing::{delete, get, post};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::Service as _;
use hyper::{Method, Request, Response, Uri};
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

use super::connection::Peer;
use super::metrics::Route;
use super::problem::{Code, Problem};
use super::{
    Frontend, Reply, Service, admin, control, metrics, outcomes, predict, quarantine, query, sessions,
};
use crate::RequestKind;

/// An answer of the frontend's own, or of a route that was added to it.
pub(super) type Answer = Response<Either<Full<Bytes>, axum::body::Body>>;

/// Picks the route of every request.
pub(super) struct Routes<S> {
    frontend: Arc<Frontend<S>>,
    router: TowerToHyperService<Router>,
}

impl<S: Service> Routes<S> {
    /// The frontend's routes, and `extra` beside them.
    pub(super) fn new(frontend: Arc<Frontend<S>>, extra: Router) -> Self {
        let mut router = Router::new()
            .route("/", get(greeting))
            .route("/status", get(status::<S>))
            .route("/livez", get(live::<S>))
            .route("/readyz", get(ready::<S>))
            .route("/sessions", post(sessions::open::<S>))
            .route("/outcomes/{*key}", get(outcomes::look_up::<S>))
            .route("/admin/members", get(admin::members::<S>).post(admin::add::<S>))
            .route("/admin/members/{node}", delete(admin::remove::<S>))
            .route("/admin/leader", post(admin::transfer::<S>))
            .route("/metrics", get(metrics::<S>));
        if frontend.options.allow_control {
            router = router.route("/control", post(control::control::<S>));
            router = router.route("/admin/quarantine", post(quarantine::quarantine::<S>));
        }
        let router = router
            .with_state(frontend.clone())
            .merge(extra)
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed);
        Routes { frontend, router: TowerToHyperService::new(router) }
    }

    /// Answers one request. Predictions, which are nearly all there is, do not pass through the router: it costs
    /// allocations, and they need nothing of it.
    pub(super) async fn answer(&self, mut request: Request<Incoming>, peer: &Arc<Peer>) -> Answer {
        let started = Instant::now();
        let route = Route::of(request.uri().path());
        let frontend = &self.frontend;
        let answer = match route {
            Route::Predict => {
                predict::predict(frontend, RequestKind::Predict, request).await.map(Either::Left)
            }
            Route::Feedback => {
                predict::predict(frontend, RequestKind::Feedback, request).await.map(Either::Left)
            }
            Route::Query => query::query(frontend, request).await.map(Either::Left),
            _ => {
                request.extensions_mut().insert(ConnectInfo(peer.address));
                request.extensions_mut().insert(peer.clone());
                let routed: Result<_, Infallible> = self.router.call(request).await;
                match routed {
                    Ok(answer) => answer.map(Either::Right),
                    Err(never) => match never {},
                }
            }
        };
        self.frontend.metrics.record(route, answer.status(), started.elapsed());
        answer
    }
}

async fn greeting() -> &'static str {
    "Hello from Boat API"
}

async fn status<S: Service>(State(frontend): State<Arc<Frontend<S>>>) -> Reply {
    // A status is numbers, names and lists of them: writing those to memory cannot fail.
    let body = serde_json::to_vec(&frontend.service.status()).unwrap_or_default();
    whole("application/json", body)
}

async fn live<S: Service>(State(frontend): State<Arc<Frontend<S>>>) -> Reply {
    match frontend.service.live() {
        true => whole("text/plain; charset=utf-8", "live\n"),
        false => Problem::new(Code::NotLive, "a part of this node has stopped: restart it").into_reply(),
    }
}

async fn ready<S: Service>(State(frontend): State<Arc<Frontend<S>>>) -> Reply {
    let status = frontend.service.status();
    if status.ready {
        return whole("text/plain; charset=utf-8", "ready\n");
    }
    let phase = serde_json::to_string(&status.phase).unwrap_or_default();
    let replay = status.replay.map(|replay| {
        let (applied, target) = (replay.applied_index, replay.target_index);
        format!("; replayed to index {applied} of {target}")
    });
    let detail = format!("phase {phase}{}", replay.unwrap_or_default());
    Problem::new(Code::NotReady, detail).into_reply()
}

async fn metrics<S: Service>(State(frontend): State<Arc<Frontend<S>>>) -> Reply {
    whole(metrics::CONTENT_TYPE, metrics::render(&frontend))
}

async fn not_found(uri: Uri) -> Reply {
    Problem::new(Code::NotFound, format!("there is nothing under {}", uri.path())).into_reply()
}

/// The router adds which methods are allowed.
async fn method_not_allowed(method: Method, uri: Uri) -> Reply {
    Problem::new(Code::MethodNotAllowed, format!("{} does not take {method}", uri.path())).into_reply()
}

pub(super) fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
