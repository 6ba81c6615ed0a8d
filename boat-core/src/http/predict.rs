//! `POST /predict`: from a client's bytes to the model's.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response};

use super::problem::{Code, Problem};
use super::{Frontend, IdempotencyKey, Reply, Service, body, headers};
use crate::{Answer, RequestKind};

/// Answers one request for `/predict`, whatever its method.
pub(super) async fn predict<S, B>(frontend: &Frontend<S>, request: Request<B>) -> Reply
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if request.method() != Method::POST {
        let detail = format!("/predict takes POST, not {}", request.method());
        return Problem::new(Code::MethodNotAllowed, detail).allowing("POST").into_reply();
    }
    let (head, body) = request.into_parts();
    let sent_key = head.headers.get(headers::IDEMPOTENCY_KEY);
    match run(frontend, &head.headers, body).await {
        Ok(answer) => reply(frontend, &head.headers, answer),
        Err(problem) => {
            let names_key = problem.key.is_some();
            let mut reply = problem.into_reply();
            if let Some(key) = sent_key.filter(|_| names_key) {
                reply.headers_mut().insert(headers::IDEMPOTENCY_KEY, key.clone());
            }
            reply
        }
    }
}

async fn run<S, B>(frontend: &Frontend<S>, fields: &HeaderMap, body: B) -> Result<Answer<Bytes>, Problem>
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Frontend { service, options, .. } = frontend;
    headers::check_content_type(fields)?;
    let key = idempotency_key(fields)?;
    let body = body::collect(body, service.request_bytes_max(), options.body_timeout()).await?;
    body::check_json(&body)?;
    let check = service.check(RequestKind::Predict, &body);
    check.map_err(|reason| Problem::new(Code::InvalidRequest, reason))?;
    let within = options.request_timeout(headers::wait_seconds(fields));
    Ok(service.predict(RequestKind::Predict, body, key, within).await?)
}

/// The client's key, in the scope of its token.
fn idempotency_key(fields: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut keys = fields.get_all(headers::IDEMPOTENCY_KEY).into_iter();
    let Some(value) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::new(Code::InvalidRequest, "Idempotency-Key: there is more than one"));
    }
    let key = IdempotencyKey::from_header(value.as_bytes())
        .map_err(|error| Problem::new(Code::InvalidRequest, format!("Idempotency-Key: {error}")))?;
    Ok(Some(match fields.get(AUTHORIZATION) {
        Some(token) => key.scoped_by(token.as_bytes()),
        None => key,
    }))
}

fn reply<S: Service>(frontend: &Frontend<S>, request: &HeaderMap, answer: Answer<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(answer.output));
    let fields = reply.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(headers::POSITION, HeaderValue::from(answer.position));
    fields.insert(headers::TERM, HeaderValue::from(answer.term));
    fields.insert(headers::NODE, frontend.node.clone());
    // As the client wrote it, if it did: what it reads is what it may send again.
    let sent_key = request.get(headers::IDEMPOTENCY_KEY).cloned();
    if let Some(key) = sent_key.or_else(|| HeaderValue::try_from(answer.key).ok()) {
        fields.insert(headers::IDEMPOTENCY_KEY, key);
    }
    if answer.replayed {
        fields.insert(headers::REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(seconds) = headers::wait_seconds(request) {
        let applied = frontend.options.request_timeout(Some(seconds)).as_secs();
        if let Ok(applied) = HeaderValue::try_from(format!("wait={applied}")) {
            fields.insert(headers::PREFERENCE_APPLIED, applied);
        }
    }
    reply
}
