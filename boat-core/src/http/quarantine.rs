//! `POST /admin/quarantine`: an operator has a request put aside that the nodes cannot agree on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use super::connection::Peer;
use super::control::check_caller;
use super::headers::Asked;
use super::problem::{Code, Problem};
use super::{Frontend, Reply, Service, body};

/// How long the body may be.
const BODY_BYTES_MAX: usize = 1_024;
/// How long the decision is waited for.
const WITHIN: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    position: u64,
}

/// Carries out `{"position": 7}`. Like `/control`, for callers on the node's own machine.
pub(super) async fn quarantine<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
) -> Reply {
    match carry_out(&frontend, &peer, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    }
}

async fn carry_out<S: Service>(
    frontend: &Frontend<S>,
    peer: &Peer,
    request: Request,
) -> Result<Reply, Problem> {
    let (head, body) = request.into_parts();
    check_caller("/admin/quarantine", peer.address.ip(), &head.headers)?;
    Asked::read(&head.headers).check_content_type()?;
    let body = body::collect(body, BODY_BYTES_MAX, frontend.options.body_timeout()).await?;
    body::check_json(&body)?;
    let Wanted { position } = serde_json::from_slice(&body).map_err(|error| {
        let problem = Problem::new(Code::InvalidRequest, format!("send {{\"position\": 7}}: {error}"));
        problem.at(error.line(), error.column())
    })?;
    frontend.service.quarantine(position, WITHIN).await?;
    let done = format!("{{\"position\":{position},\"quarantined\":true}}");
    let mut reply = Response::new(Full::new(Bytes::from(done)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(reply)
}
