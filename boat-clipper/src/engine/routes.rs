//! Which request gets which answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::application::{Application, QueryIds};
use super::{EngineConfig, EngineError, metrics, predict};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Routes {
    applications: BTreeMap<String, Application>,
    body_bytes_max: usize,
    body_timeout: Duration,
}

/// The connection is closed without a byte of answer: Clipper's way with what it does not know.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer: {0}")]
pub(super) struct Unanswered(String);

type Answer = Response<Full<Bytes>>;

impl Routes {
    /// Starts all applications, their models fresh.
    pub(super) fn start(config: &EngineConfig) -> Result<Self, EngineError> {
        let ids = Arc::new(QueryIds::default());
        let mut applications = BTreeMap::new();
        for application in &config.applications {
            let started = Application::start(application.clone(), Arc::clone(&ids))?;
            applications.insert(application.name.clone(), started);
        }
        let body_timeout = Duration::from_millis(config.body_timeout_ms);
        Ok(Routes { applications, body_bytes_max: config.body_bytes_max, body_timeout })
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Unanswered> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if head.method == Method::GET && path == "/metrics" {
            return Ok(respond(StatusCode::OK, metrics::metrics(self.applications.values())));
        }
        let unknown = || Unanswered(format!("{} {path} is not served", head.method));
        let (application, action) = split(path).ok_or_else(unknown)?;
        let application = self.applications.get(application).ok_or_else(unknown)?;
        if head.method != Method::POST || !matches!(action, "predict" | "update") {
            return Err(unknown());
        }
        let body = match self.read(body).await? {
            Ok(body) => body,
            Err(too_large) => return Ok(too_large),
        };
        Ok(match action {
            "predict" => match predict::predict(application, &body).await {
                Ok(answer) => respond(StatusCode::OK, answer),
                Err(refused) => respond(StatusCode::BAD_REQUEST, refused.to_body()),
            },
            _ => match predict::update(application.config.input_type, &body) {
                Ok(text) => respond(StatusCode::OK, text),
                Err(why) => respond(StatusCode::BAD_REQUEST, why),
            },
        })
    }

    async fn read(&self, body: Incoming) -> Result<Result<Bytes, Answer>, Unanswered> {
        let body = Limited::new(body, self.body_bytes_max).collect();
        match tokio::time::timeout(self.body_timeout, body).await {
            Ok(Ok(body)) => Ok(Ok(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let why = format!("the body is longer than {} bytes", self.body_bytes_max);
                Ok(Err(respond(StatusCode::PAYLOAD_TOO_LARGE, why)))
            }
            Ok(Err(error)) => Err(Unanswered(format!("the body broke off: {error}"))),
            Err(_) => Err(Unanswered(format!("the body took longer than {:?}", self.body_timeout))),
        }
    }
}

/// Application and action of a path, with or without a slash at its end.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    path.strip_suffix('/').unwrap_or(path).split_once('/')
}

/// Every answer claims to be JSON, plain texts too: so does Clipper.
fn respond(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_two_parts_and_perhaps_a_slash_behind() {
        assert_eq!(split("/default/predict"), Some(("default", "predict")));
        assert_eq!(split("/default/predict/"), Some(("default", "predict")));
        assert_eq!(split("/a/b/c"), Some(("a", "b/c")));
        for path in ["", "/", "*", "default/predict", "/default"] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
