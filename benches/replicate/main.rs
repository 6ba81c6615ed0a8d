//! Replicated requests a second within one process: what Boat costs once disk, sockets and HTTP are left out.
//!
//! With 1, 64, 1,024 and 4,096 callers that each wait for an answer before they ask again, three nodes are asked whose logs are in
//! memory, over the transport within a process. Requests have a few bytes, and the model counts them; sessions, positions,
//! digest, checksums and exact retries are all there. No peer runs beside it yet, so it has no goals.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod boat;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{Figure, Result, Size, machine};

const ROUNDS: usize = 3;
const CALLERS: [usize; 4] = [1, 64, 1_024, 4_096];

fn main() -> Result<()> {
    let size = Size::asked_for();
    println!("replicate, on {}; {ROUNDS} rounds in turns", machine());
    let turn = Duration::from_millis(size.pick(20, 1_000, 5_000));
    let mut samples = CALLERS.map(|callers| (callers, Vec::new()));
    for round in 0..=size.pick(0, ROUNDS, ROUNDS) {
        for (callers, samples) in &mut samples {
            let per_second = runtime()?.block_on(boat::run(*callers, turn))?;
            // The first round is for warming up.
            if round > 0 || size == Size::Test {
                samples.push(per_second);
            }
        }
    }
    println!("\n{:>8} {:>30}", "callers", "requests/s");
    for (callers, samples) in samples {
        println!("{callers:>8} {:>30}", format!("{:.0}", Figure::new(samples)));
    }
    Ok(())
}

/// The callers share one thread; the nodes have their own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Somebody who can be asked, by many callers.
trait Asks: Clone + Send + 'static {
    /// Asks, and waits for the answer.
    fn ask(&self) -> impl Future<Output = std::result::Result<(), String>> + Send;
}

/// Lets so many callers ask over and over for as long as `turn`, and gives the answers per second.
async fn call(callers: usize, turn: Duration, asks: &impl Asks) -> Result<f64> {
    let (started, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (asks, stop) = (asks.clone(), stop.clone());
        tasks.spawn(async move {
            let mut answers = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                asks.ask().await?;
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
