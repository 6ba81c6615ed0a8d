//! `POST /query`: a question that changes nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};

use super::headers::Asked;
use super::problem::{Code, Problem};
use super::{Frontend, Reply, Service, body, headers};
use crate::{QueryAnswer, Read, RequestKind};

/// Answers one request for `/query`, whatever its method.
pub(super) async fn query<S, B>(frontend: &Frontend<S>, request: Request<B>) -> Reply
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if request.method() != Method::POST {
        let detail = format!("/query takes POST, not {}", request.method());
        return Problem::new(Code::MethodNotAllowed, detail).allowing("POST").into_reply();
    }
    let (head, body) = request.into_parts();
    match run(frontend, &Asked::read(&head.headers), body).await {
        Ok((answer, read)) => reply(frontend, answer, read),
        Err(problem) => problem.into_reply(),
    }
}

async fn run<S, B>(
    frontend: &Frontend<S>,
    asked: &Asked<'_>,
    body: B,
) -> Result<(QueryAnswer<Bytes>, Read), Problem>
where
    S: Service,
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Frontend { service, options, .. } = frontend;
    asked.check_content_type()?;
    let read = asked.read_wanted()?;
    let body = body::collect(body, service.request_bytes_max(), options.body_timeout()).await?;
    body::check_json(&body)?;
    let check = service.check(RequestKind::Predict, &body);
    check.map_err(|reason| Problem::new(Code::InvalidRequest, reason))?;
    let within = options.request_timeout(asked.wait_seconds);
    Ok((service.query(body, read, within).await?, read))
}

fn reply<S: Service>(frontend: &Frontend<S>, answer: QueryAnswer<Bytes>, read: Read) -> Reply {
    let mut reply = Response::new(Full::new(answer.output));
    let fields = reply.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(headers::POSITION, HeaderValue::from(answer.position));
    fields.insert(headers::NODE, frontend.node.clone());
    fields.insert(headers::READ, HeaderValue::from_static(headers::read_name(read)));
    if answer.stale {
        fields.insert(headers::STALE, HeaderValue::from_static("true"));
    }
    reply
}
