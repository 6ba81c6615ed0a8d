//! `Prefer: respond-async`, and `GET /outcomes/KEY`: asking now, and looking later.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::{Path, State};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Response, StatusCode};
use rand::RngCore;

use super::accepted::Fate;
use super::headers::Asked;
use super::predict::{Done, reply};
use super::problem::{Code, Problem};
use super::{Frontend, IdempotencyKey, Identity, Reply, Service, headers};
use crate::{Answer, OutcomeError, PredictError, RequestKind};

/// After how many seconds to look again for an outcome that is not there yet.
const LOOK_AGAIN_SECONDS: u16 = 1;

/// Hands a request in and waits for `wait` at most; what takes longer is answered 202, and goes on.
pub(super) async fn ask<S: Service>(
    frontend: &Arc<Frontend<S>>,
    kind: RequestKind,
    body: Bytes,
    key: IdempotencyKey,
    wait: Duration,
) -> Result<Done, Problem> {
    let within = Duration::from_millis(frontend.options.request_timeout_ms_max);
    let service = frontend.service.clone();
    let identity = Identity::Key(key.clone());
    let mut asking = Box::pin(async move { service.predict(kind, body, identity, within).await });
    // The first look hands it in, or finds at once that it cannot be.
    let first = std::future::poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await;
    if let Poll::Ready(result) = first {
        return Ok(Done::Answer(result?));
    }
    if let Ok(result) = tokio::time::timeout(wait, &mut asking).await {
        return Ok(Done::Answer(result?));
    }
    let scoped = key.to_bytes();
    frontend.accepted.set(scoped.clone(), Fate::Pending);
    let frontend = frontend.clone();
    // It ends within `within`; their number is bounded by that of the requests that may wait.
    tokio::spawn(async move {
        let fate = match asking.await {
            Ok(_) | Err(PredictError::Rejected { .. } | PredictError::Quarantined { .. }) => Fate::Answered,
            Err(error) => Fate::Failed(error.into()),
        };
        frontend.accepted.set(scoped, fate);
    });
    Ok(Done::Accepted(key))
}

/// A key for a request that came without: nobody can guess it.
pub(super) fn random_key() -> Result<IdempotencyKey, Problem> {
    let mut random = [0; 16];
    rand::rngs::OsRng.fill_bytes(&mut random);
    IdempotencyKey::new(format!("async-{:032x}", u128::from_le_bytes(random)))
        .map_err(|error| Problem::new(Code::InvalidRequest, error.to_string()))
}

/// 202: where the outcome will be.
pub(super) fn accepted<S: Service>(frontend: &Frontend<S>, key: &str) -> Reply {
    let body = serde_json::json!({ "key": key }).to_string();
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = StatusCode::ACCEPTED;
    let fields = reply.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_SECONDS));
    fields.insert(headers::NODE, frontend.node.clone());
    if let Ok(location) = HeaderValue::try_from(format!("/outcomes/{}", percent_encoded(key))) {
        fields.insert(LOCATION, location);
    }
    if let Ok(key) = HeaderValue::try_from(key) {
        fields.insert(headers::IDEMPOTENCY_KEY, key);
    }
    reply
}

/// Answers `GET /outcomes/KEY`, in the scope of the caller's token.
pub(super) async fn look_up<S: Service>(
    State(frontend): State<Arc<Frontend<S>>>,
    Path(key): Path<String>,
    fields: HeaderMap,
) -> Reply {
    let asked = Asked::read(&fields);
    let invalid = |error: super::KeyError| Problem::new(Code::InvalidRequest, format!("the key: {error}"));
    let key = match IdempotencyKey::new(key).map_err(invalid) {
        Ok(key) => asked.scoped(key),
        Err(problem) => return problem.into_reply(),
    };
    let looked = pin!(frontend.service.outcome(&key)).await;
    match told(&frontend, &key, looked) {
        Ok(Done::Answer(answer)) => reply(&frontend, &asked, answer),
        Ok(Done::Accepted(key)) => accepted(&frontend, key.key()),
        Err(problem) => problem.into_reply(),
    }
}

/// What the node says, and where it knows nothing what this frontend remembers.
fn told<S: Service>(
    frontend: &Frontend<S>,
    key: &IdempotencyKey,
    looked: Result<Answer<Bytes>, OutcomeError>,
) -> Result<Done, Problem> {
    match looked {
        Ok(answer) => Ok(Done::Answer(answer)),
        Err(OutcomeError::Pending) => Ok(Done::Accepted(key.clone())),
        Err(error @ OutcomeError::NotFound) => match frontend.accepted.get(&key.to_bytes()) {
            None => Err(error.into()),
            Some(Fate::Pending) => Ok(Done::Accepted(key.clone())),
            Some(Fate::Answered) => Err(OutcomeError::Forgotten.into()),
            Some(Fate::Failed(problem)) => Err(problem),
        },
        Err(error) => Err(error.into()),
    }
}

/// A key as a path's last part (RFC 3986): all but the unreserved characters encoded.
fn percent_encoded(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_part_of_a_path() {
        assert_eq!(percent_encoded("user-7/42 ~%"), "user-7%2F42%20~%25");
        assert_eq!(random_key().unwrap().key().len(), "async-".len() + 32);
        assert_ne!(random_key().unwrap(), random_key().unwrap());
    }
}
