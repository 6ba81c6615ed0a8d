//! `POST /sessions`: opens a session.

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::headers::Asked;
use super::problem::Problem;
use super::service::OpenedSession;
use super::{Frontend, Reply, Service, body, headers};

/// How long the body may be: there is nothing to say in it yet.
const BODY_BYTES_MAX: usize = 1_024;

#[derive(Serialize)]
struct Opened<'a> {
    session: &'a str,
    outcomes_max: usize,
    expires_after_ms: u64,
}

/// Opens a session. The body is empty, or an empty object.
pub(super) async fn open<S: Service>(State(frontend): State<Arc<Frontend<S>>>, request: Request) -> Reply {
    match run(&frontend, request).await {
        Ok(session) => reply(&frontend, &session),
        Err(problem) => problem.into_reply(),
    }
}

async fn run<S: Service>(frontend: &Frontend<S>, request: Request) -> Result<OpenedSession, Problem> {
    let (head, body) = request.into_parts();
    let asked = Asked::read(&head.headers);
    asked.check_content_type()?;
    let body = body::collect(body, BODY_BYTES_MAX, frontend.options.body_timeout()).await?;
    if !body.is_empty() {
        body::check_json(&body)?;
    }
    let within = frontend.options.request_timeout(asked.wait_seconds);
    Ok(frontend.service.open_session(within).await?)
}

fn reply<S: Service>(frontend: &Frontend<S>, session: &OpenedSession) -> Reply {
    let OpenedSession { token, position, outcomes_max, expires_after_ms } = session;
    let opened = Opened { session: token, outcomes_max: *outcomes_max, expires_after_ms: *expires_after_ms };
    // Writing a string and two numbers to memory cannot fail.
    let body = serde_json::to_vec(&opened).unwrap_or_default();
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::CREATED;
    let fields = reply.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(headers::POSITION, HeaderValue::from(*position));
    fields.insert(headers::NODE, frontend.node.clone());
    reply
}
