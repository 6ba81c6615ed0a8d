//! The query frontend: an engine with models in containers, which makes the changes that come through Redis.
//!
//! As Clipper's it reads all of them at its start, and from then on forgets no application: one that is deleted and added again
//! keeps its type and its SLO. Nor does it ask whether what it hears of fits together.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use boat_clipper::{Engine, EngineConfig};

use super::management::make;
use super::redis::Redis;
use super::{Failure, FrontendFlags};

/// How often Redis is asked for changes. Clipper is told of them.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) async fn run(flags: FrontendFlags) -> Result<(), Failure> {
    let mut redis = Redis::connect(&flags.redis_ip, flags.redis_port).await;
    let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = EngineConfig {
        management_address: Some(local),
        rpc_address: Some(any(flags.rpc_service_port)),
        ..EngineConfig::empty()
    };
    let engine = Engine::start(any(1337), config).await?;
    let management = engine.management_address().ok_or("the engine has no management frontend")?.to_string();
    let at_start = redis.changes(0).await?;
    // An error ends the process: one that is behind must not look as if it were not.
    for change in &at_start {
        make(&management, change).await?;
    }
    let mut made = at_start.len();
    loop {
        for change in redis.changes(made).await? {
            made += 1;
            if change.starts_with("/admin/delete_app ") {
                continue;
            }
            if let Err(error) = make(&management, &change).await {
                log::warn!("{error}");
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
