//! Replicated requests a second within one process: what Boat costs once disk, sockets and HTTP are left out.
//!
//! In turns, with 1, 64, 1,024 and 4,096 callers that each wait for an answer before they ask again,
//! - *boat*: three nodes whose logs are in memory, over the transport within a process; the callers ask the leader;
//! - *openraft*: three nodes of the openraft crate, with a log and a network of the same kind (feature `peers`).
//!
//! Both have requests of a few bytes and a state machine that counts them. Boat keeps sessions, positions, a digest, checksums and
//! exact retries on top; openraft's callers hand over a value and get one back.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod boat;
#[cfg(feature = "peers")]
mod peer;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{Figure, Goal, Result, Size, machine};

const ROUNDS: usize = 3;
const CALLERS: [usize; 4] = [1, 64, 1_024, 4_096];

fn main() -> Result<()> {
    let size = Size::asked_for();
    println!("replicate, on {}; {ROUNDS} rounds in turns", machine());
    if !cfg!(feature = "peers") {
        println!("openraft is off: cargo bench -p benches --features peers --bench replicate");
    }
    println!("\n{:>8} {:>30} {:>30}", "callers", "boat, requests/s", "openraft, requests/s");
    let mut goals = Vec::new();
    for callers in CALLERS {
        goals.extend(measure(callers, size)?);
    }
    Goal::print(&goals, size);
    Ok(())
}

fn measure(callers: usize, size: Size) -> Result<Option<Goal>> {
    let turn = Duration::from_millis(size.pick(20, 1_000, 5_000));
    let (mut boats, mut peers) = (Vec::new(), Vec::new());
    for round in 0..=size.pick(0, ROUNDS, ROUNDS) {
        let boat = runtime()?.block_on(boat::run(callers, turn))?;
        #[cfg(feature = "peers")]
        let peer = runtime()?.block_on(peer::run(callers, turn))?;
        #[cfg(not(feature = "peers"))]
        let peer = f64::NAN;
        // The first round is for warming up.
        if round > 0 || size == Size::Test {
            boats.push(boat);
            peers.push(peer);
        }
    }
    let (boat, peer) = (Figure::new(boats), Figure::new(peers));
    let peer_text = if peer.median().is_nan() { "-".to_owned() } else { format!("{peer:.0}") };
    println!("{callers:>8} {:>30} {peer_text:>30}", format!("{boat:.0}"));
    let name = format!("replicate_{callers}_of_openraft");
    Ok(cfg!(feature = "peers").then(|| Goal::at_least(name, boat.median() / peer.median(), 1.0)))
}

/// A runtime with as many threads as there are cores, for callers and, with openraft, for the nodes.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
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
