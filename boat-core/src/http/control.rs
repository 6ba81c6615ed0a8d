//! `POST /control`: lets an operator on the node's own machine end it for good.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use serde::Deserialize;

use super::connection::Peer;
use super::headers::Asked;
use super::problem::{Code, Problem};
use super::{Frontend, Reply, Service, body};

/// How long a command may be.
const COMMAND_BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    cmd: String,
}

/// Carries out `{"cmd": "exit"}`: makes sure that the node may go, answers, and leaves it to the connection to end the
/// process once the answer is sent.
pub(super) async fn control<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Extension(peer): Extension<Arc<Peer>>,
    request: Request,
) -> Reply {
    match exit(&frontend, &peer, request).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    }
}

async fn exit<S: Service>(frontend: &Frontend<S>, peer: &Peer, request: Request) -> Result<Reply, Problem> {
    let (head, body) = request.into_parts();
    check_caller("/control", peer.address.ip(), &head.headers)?;
    Asked::read(&head.headers).check_content_type()?;
    let body = body::collect(body, COMMAND_BYTES_MAX, frontend.options.body_timeout()).await?;
    body::check_json(&body)?;
    let invalid = |reason: String| Problem::new(Code::InvalidRequest, reason);
    let command: Command = serde_json::from_slice(&body).map_err(|error| {
        invalid(format!("send {{\"cmd\": \"exit\"}}: {error}")).at(error.line(), error.column())
    })?;
    if command.cmd != "exit" {
        return Err(invalid(format!("there is no command `{}`: the only one is `exit`", command.cmd)));
    }
    frontend.service.prepare_wipe().await?;
    peer.wipe_when_answered();
    let mut reply = Response::new(Full::new(Bytes::from_static(b"{\"cmd\":\"exit\"}")));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(reply)
}

/// Only this machine may; and not by way of a web page that a browser on it shows.
pub(super) fn check_caller(path: &str, address: IpAddr, fields: &HeaderMap) -> Result<(), Problem> {
    let forbidden = |why: &str| Err(Problem::new(Code::Forbidden, format!("{path} {why}")));
    if !address.to_canonical().is_loopback() {
        return forbidden("answers only callers on the node's own machine");
    }
    if fields.contains_key(ORIGIN) {
        return forbidden("does not answer web pages (the request has an Origin)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_and_no_web_page() {
        let nothing = HeaderMap::new();
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check_caller("/control", own.parse().unwrap(), &nothing), Ok(()), "{own}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "::ffff:10.0.0.1", "2001:db8::1"] {
            assert!(check_caller("/control", other.parse().unwrap(), &nothing).is_err(), "{other}");
        }
        let page = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("http://localhost:3000"))]);
        assert!(check_caller("/control", "127.0.0.1".parse().unwrap(), &page).is_err());
    }
}
