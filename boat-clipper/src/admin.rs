//! Clipper's management on Boat's frontend: changes go through the log, and so reach every node at the same place in the order.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use boat_core::{Node, PredictError};

use crate::deployment::{Change, Configuration, Look};
use crate::replicated::DeploymentView;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// What changes a deployment.
const CHANGES: [&str; 7] = [
    "add_app",
    "delete_app",
    "add_model",
    "set_model_version",
    "delete_versioned_model",
    "add_model_links",
    "delete_model_links",
];
/// What asks about one.
const LOOKS: [&str; 8] = [
    "get_all_applications",
    "get_application",
    "get_linked_models",
    "get_all_models",
    "get_model",
    "get_all_containers",
    "get_container",
    "get_state",
];

/// Routes to be served beside the frontend's own: `POST /admin/...` with Clipper's JSON, and `GET /admin/ping`.
///
/// A change becomes a request in the log, with the promises of any other: `Idempotency-Key` makes its retries harmless, and
/// the answer names its position. What Clipper would refuse is 400 with Clipper's words, and changes nothing; all other errors are
/// those of `/predict`. Questions are answered from what this node has applied.
pub fn admin_routes(node: &Node, view: DeploymentView) -> Router {
    let mut router = Router::new().route("/admin/ping", get(async || "PONG"));
    for endpoint in CHANGES {
        let node = node.clone();
        let handler =
            post(async move |headers: HeaderMap, body: Body| change(&node, endpoint, &headers, body).await);
        router = router.route(&format!("/admin/{endpoint}"), handler);
    }
    for endpoint in LOOKS {
        let (node, view) = (node.clone(), view.clone());
        let handler = post(async move |body: Body| look(&node, endpoint, &view, body).await);
        router = router.route(&format!("/admin/{endpoint}"), handler);
    }
    router
}

async fn change(node: &Node, endpoint: &str, headers: &HeaderMap, body: Body) -> Response {
    let body = match read(node, body).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let change = match Change::parse(endpoint, &body) {
        Some(Ok(change)) => change,
        Some(Err(why)) => return refused(why),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let mut configure = node.configure(Configuration::Change(change).to_body());
    if let Some(key) = headers.get("idempotency-key") {
        match key.to_str() {
            // As the frontend reads it: bare or quoted.
            Ok(key) => configure = configure.key(key.trim_matches('"')),
            Err(_) => {
                let why = "Idempotency-Key has bytes that are not visible ASCII".to_owned();
                return PredictError::Invalid(why).into_response();
            }
        }
    }
    match configure.await {
        Ok(answer) => {
            let mut response = text(StatusCode::OK, answer.output);
            response.headers_mut().insert("boat-position", HeaderValue::from(answer.position));
            if let Ok(key) = HeaderValue::try_from(answer.key) {
                response.headers_mut().insert("idempotency-key", key);
            }
            response
        }
        Err(PredictError::Rejected { position, reason }) => {
            let mut response = refused(reason);
            response.headers_mut().insert("boat-position", HeaderValue::from(position));
            response
        }
        Err(error) => error.into_response(),
    }
}

async fn look(node: &Node, endpoint: &str, view: &DeploymentView, body: Body) -> Response {
    let body = match read(node, body).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    match Look::parse(endpoint, &body) {
        Some(look) => match look.and_then(|look| view.look(&look)) {
            Ok(said) => text(StatusCode::OK, said),
            Err(why) => refused(why),
        },
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn read(node: &Node, body: Body) -> Result<Bytes, PredictError> {
    let bytes_max = node.config().limits.request_bytes_max;
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, bytes_max)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            Err(PredictError::Invalid(format!("the body cannot be read within {bytes_max} bytes: {error}")))
        }
        Err(_) => Err(PredictError::Invalid(format!("the body was not there after {BODY_TIMEOUT:?}"))),
    }
}

fn refused(why: String) -> Response {
    text(StatusCode::BAD_REQUEST, why)
}

/// Says that it is JSON, whatever it is: as Clipper does.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_one_of_clippers() {
        assert!(CHANGES.iter().all(|endpoint| Change::parse(endpoint, b"").is_some()));
        assert!(LOOKS.iter().all(|endpoint| Look::parse(endpoint, b"").is_some()));
    }
}
