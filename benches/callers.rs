//! Callers within this process: each waits for its answer before it asks again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;

/// Somebody who asks.
pub trait Caller: Send + Sync + 'static {
    /// Asks once, and waits for the answer.
    fn ask(&self) -> impl Future<Output = std::result::Result<(), String>> + Send;
}

/// Lets each of these ask over and over for as long as `turn`, and gives the answers per second.
///
/// # Errors
/// The first that any of them got.
pub async fn call(callers: impl IntoIterator<Item = impl Caller>, turn: Duration) -> Result<f64> {
    let (started, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for caller in callers {
        let stop = stop.clone();
        tasks.spawn(async move {
            let mut answers = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                caller.ask().await?;
                answers += 1;
            }
            std::result::Result::<u64, String>::Ok(answers)
        });
    }
    tokio::time::sleep(turn).await;
    stop.store(true, Ordering::Relaxed);
    let mut answers = 0;
    while let Some(ended) = tasks.join_next().await {
        answers += ended??;
    }
    Ok(answers as f64 / started.elapsed().as_secs_f64())
}
