//! `POST /predict` and `POST /feedback`: from a client's bytes to the model's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};

use super::headers::Asked;
use super::problem::{Code, Problem};
use super::{Frontend, IdempotencyKey, Identity, Reply, Service, body, headers, outcomes};
use crate::{Answer, RequestKind};

/// Says that the answer does not wait for the outcome.
const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");
/// Room for an answer's header fields, and for the two that the HTTP engine adds.
const ANSWER_FIELDS: usize = 8;

/// What a request came to.
pub(super) enum Done {
    /// Its outcome.
    Answer(Answer<Bytes>),
    /// It is handed in, and goes on under this key.
    Accepted(IdempotencyKey),
}

/// Answers one request of this kind, whatever its method.
pub(super) async fn predict<S, B>(
    frontend: &Arc<Frontend<S>>,
    kind: RequestKind,
    request: Request<B>,
) -> Reply
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if request.method() != Method::POST {
        let detail = format!("{} takes POST, not {}", request.uri().path(), request.method());
        return Problem::new(Code::MethodNotAllowed, detail).allowing("POST").into_reply();
    }
    let (head, body) = request.into_parts();
    let asked = Asked::read(&head.headers);
    match run(frontend, kind, &asked, body).await {
        Ok(Done::Answer(answer)) => reply(frontend, &asked, answer),
        Ok(Done::Accepted(key)) => {
            let mut reply = outcomes::accepted(frontend, key.key());
            reply.headers_mut().insert(headers::PREFERENCE_APPLIED, RESPOND_ASYNC);
            reply
        }
        Err(problem) => {
            let names_key = problem.key.is_some();
            let mut reply = problem.into_reply();
            if let Some(key) = asked.sent_key().filter(|_| names_key) {
                reply.headers_mut().insert(headers::IDEMPOTENCY_KEY, key.clone());
            }
            reply
        }
    }
}

async fn run<S, B>(
    frontend: &Arc<Frontend<S>>,
    kind: RequestKind,
    asked: &Asked<'_>,
    body: B,
) -> Result<Done, Problem>
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Frontend { service, options, .. } = &**frontend;
    asked.check_content_type()?;
    let identity = asked.identity()?;
    let body = body::collect(body, service.request_bytes_max(), options.body_timeout()).await?;
    body::check_json(&body)?;
    let check = service.check(kind, &body);
    check.map_err(|reason| Problem::new(Code::InvalidRequest, reason))?;
    // A preference may be ignored (RFC 7240, 2), and is in a session: its client is there to take its answers.
    let key = match identity {
        Identity::Unnamed if asked.respond_async => asked.scoped(outcomes::random_key()?),
        Identity::Key(key) if asked.respond_async => key,
        identity => {
            let within = options.request_timeout(asked.wait_seconds);
            return Ok(Done::Answer(service.predict(kind, body, identity, within).await?));
        }
    };
    let wait = asked.wait_seconds.map_or(Duration::ZERO, |seconds| options.request_timeout(Some(seconds)));
    outcomes::ask(frontend, kind, body, key, wait).await
}

/// An outcome as an answer.
pub(super) fn reply<S: Service>(frontend: &Frontend<S>, asked: &Asked<'_>, answer: Answer<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(answer.output));
    let fields = reply.headers_mut();
    fields.reserve(ANSWER_FIELDS);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(headers::POSITION, HeaderValue::from(answer.position));
    fields.insert(headers::TERM, HeaderValue::from(answer.term));
    fields.insert(headers::NODE, frontend.node.clone());
    // As the client wrote it, if it did: what it reads is what it may send again.
    if let Some(key) = asked.sent_key().cloned().or_else(|| HeaderValue::try_from(answer.key).ok()) {
        fields.insert(headers::IDEMPOTENCY_KEY, key);
    }
    if answer.replayed {
        fields.insert(headers::REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(seconds) = asked.wait_seconds {
        let applied = frontend.options.request_timeout(Some(seconds)).as_secs();
        if let Ok(applied) = HeaderValue::try_from(format!("wait={applied}")) {
            fields.insert(headers::PREFERENCE_APPLIED, applied);
        }
    }
    reply
}
