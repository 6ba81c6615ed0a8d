//! The two HTTP frontends: which request gets which answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::server::{Serve, told_to_stop};
use super::serving::Serving;
use super::{EngineConfig, predict};
use crate::deployment::{Change, Look};

/// Which of Clipper's two frontends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frontend {
    /// Predictions.
    Query,
    /// Changes of the deployment.
    Management,
}

/// A frontend, as all its connections share it.
#[derive(Debug)]
pub(super) struct Routes {
    frontend: Frontend,
    serving: Arc<Serving>,
    http: http1::Builder,
    body_bytes_max: usize,
    body_timeout: Duration,
}

/// The connection is closed without a byte of answer: Clipper's way with what it does not know.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer: {0}")]
struct Unanswered(String);

type Answer = Response<Full<Bytes>>;

impl Serve for Routes {
    async fn serve(self: Arc<Self>, stream: TcpStream, mut stopped: watch::Receiver<bool>) {
        let routes = Arc::clone(&self);
        let service = service_fn(move |request| {
            let routes = Arc::clone(&routes);
            async move { routes.answer(request).await }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to_stop(&mut stopped) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            log::debug!("engine: connection ended: {error:?}");
        }
    }
}

impl Routes {
    pub(super) fn new(frontend: Frontend, serving: Arc<Serving>, config: &EngineConfig) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
            .auto_date_header(false)
            .title_case_headers(true);
        let body_timeout = Duration::from_millis(config.body_timeout_ms);
        Routes { frontend, serving, http, body_bytes_max: config.body_bytes_max, body_timeout }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Unanswered> {
        match self.frontend {
            Frontend::Query => self.query(request).await,
            Frontend::Management => self.manage(request).await,
        }
    }

    async fn query(&self, request: Request<Incoming>) -> Result<Answer, Unanswered> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if head.method == Method::GET && path == "/metrics" {
            return Ok(respond(StatusCode::OK, self.serving.metrics()));
        }
        let unknown = || Unanswered(format!("{} {path} is not served", head.method));
        let (application, action) = split(path).ok_or_else(unknown)?;
        let target = self.serving.target(application).ok_or_else(unknown)?;
        if head.method != Method::POST || !matches!(action, "predict" | "update") {
            return Err(unknown());
        }
        let body = match self.read(body).await? {
            Ok(body) => body,
            Err(too_large) => return Ok(too_large),
        };
        Ok(match action {
            "predict" => match predict::predict(&self.serving, target, &body).await {
                Ok(answer) => respond(StatusCode::OK, answer),
                Err(refused) => respond(StatusCode::BAD_REQUEST, refused.to_body()),
            },
            _ => respond_text(predict::update(target.input_type, &body).map(str::to_owned)),
        })
    }

    async fn manage(&self, request: Request<Incoming>) -> Result<Answer, Unanswered> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let unknown = || Unanswered(format!("{} {path} is not served", head.method));
        let endpoint = path.strip_prefix("/admin/").ok_or_else(unknown)?;
        if head.method == Method::GET && endpoint == "ping" {
            return Ok(respond(StatusCode::OK, "PONG"));
        }
        if head.method != Method::POST {
            return Err(unknown());
        }
        let body = match self.read(body).await? {
            Ok(body) => body,
            Err(too_large) => return Ok(too_large),
        };
        if let Some(change) = Change::parse(endpoint, &body) {
            return Ok(respond_text(change.and_then(|change| self.serving.change(&change))));
        }
        let look = Look::parse(endpoint, &body).ok_or_else(unknown)?;
        Ok(respond_text(look.and_then(|look| self.serving.look(&look))))
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

/// Application and action of a path, with or without a slash at its end. An application's name may have slashes.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    path.strip_suffix('/').unwrap_or(path).rsplit_once('/')
}

fn respond_text(said: Result<String, String>) -> Answer {
    match said {
        Ok(text) => respond(StatusCode::OK, text),
        Err(why) => respond(StatusCode::BAD_REQUEST, why),
    }
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
    fn paths_end_in_an_action_and_perhaps_a_slash() {
        assert_eq!(split("/default/predict"), Some(("default", "predict")));
        assert_eq!(split("/default/predict/"), Some(("default", "predict")));
        assert_eq!(split("/a/b/c"), Some(("a/b", "c")));
        for path in ["", "/", "*", "default/predict", "/default"] {
            assert_eq!(split(path), None, "{path}");
        }
    }
}
