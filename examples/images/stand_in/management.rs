//! The management frontend: an engine that serves nothing, and a list in Redis of what was changed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use boat_clipper::{Engine, EngineConfig};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Mutex;

use super::http::{ask, serve};
use super::redis::Redis;
use super::{Failure, FrontendFlags};

/// The longest body.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the engine listens on itself.
const ANY_LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) async fn run(flags: FrontendFlags) -> Result<(), Failure> {
    let mut redis = Redis::connect(&flags.redis_ip, flags.redis_port).await;
    let engine = Engine::start(
        ANY_LOCAL,
        EngineConfig { management_address: Some(ANY_LOCAL), ..EngineConfig::empty() },
    )
    .await?;
    let management = engine.management_address().ok_or("the engine has no management frontend")?.to_string();
    for change in redis.changes(0).await? {
        make(&management, &change).await?;
    }
    // One request after the other, as in Clipper: changes stand in Redis in the order in which they were made.
    let redis = Arc::new(Mutex::new(redis));
    let answer = move |request: Request<Incoming>| {
        let (redis, management) = (Arc::clone(&redis), management.clone());
        async move { answer(request, &mut *redis.lock().await, &management).await }
    };
    serve(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 1338)), answer).await
}

async fn answer(
    request: Request<Incoming>,
    redis: &mut Redis,
    management: &str,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await?.to_bytes();
    let path = head.uri.path();
    let (status, answer) = ask(management, head.method.clone(), path, body.clone()).await?;
    let changes = ["/admin/add_", "/admin/delete_", "/admin/set_"];
    if status == StatusCode::OK && changes.iter().any(|prefix| path.starts_with(prefix)) {
        let change = format!("{path} {}", std::str::from_utf8(&body)?);
        // Without it the change would be lost: better no answer than a wrong one. This process starts again without it.
        if let Err(error) = redis.append(&change).await {
            log::error!("{error}");
            std::process::exit(1);
        }
    }
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::new(answer))?)
}

/// Makes a change that stands in Redis once more.
pub(crate) async fn make(management: &str, change: &str) -> Result<(), Failure> {
    let (path, body) = change.split_once(' ').ok_or_else(|| format!("{change:?} is no change"))?;
    let (status, answer) = ask(management, Method::POST, path, body.to_owned().into()).await?;
    if status != StatusCode::OK {
        return Err(format!("{change}: {status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    log::info!("{change}");
    Ok(())
}
