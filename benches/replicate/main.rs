//! Replicated requests a second within one process: what Boat costs once disk, sockets and HTTP are left out, beside openraft.
//!
//! With 1, 64, 1,024 and 4,096 callers that each wait for an answer before they ask again, three nodes are asked whose logs are in
//! memory, over a transport within a process, in turns with three nodes of openraft that do the same. Requests have one byte, and both
//! models count them. Boat's nodes have threads of their own, which few requests need, for the model declares itself quick; sessions,
//! positions, digests, checksums and exact retries are all there. openraft has no such things, and its nodes run on the callers'
//! runtime: once on one thread, once on all cores. The goals hold Boat against the better of the two.
//!
//! With `BOAT_CALLERS=64` in the environment, Boat alone is asked, by so many callers: for a profiler.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod boat;
mod peer;

use std::time::Duration;

use benches::{Figure, Goal, Result, Size, machine};

const ROUNDS: usize = 3;
const CALLERS: [usize; 4] = [1, 64, 1_024, 4_096];
/// What a caller asks.
const BODY: &[u8] = b"1";

/// What is measured, in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Boat,
    PeerOnOneThread,
    PeerOnAllCores,
}

impl Who {
    const ALL: [Who; 3] = [Who::Boat, Who::PeerOnOneThread, Who::PeerOnAllCores];

    /// Answers a second with so many callers.
    fn run(self, callers: usize, turn: Duration) -> Result<f64> {
        match self {
            Who::Boat => one_thread()?.block_on(boat::run(callers, turn)),
            Who::PeerOnOneThread => one_thread()?.block_on(peer::run(callers, turn)),
            Who::PeerOnAllCores => all_cores()?.block_on(peer::run(callers, turn)),
        }
    }
}

fn main() -> Result<()> {
    let size = Size::asked_for();
    println!("replicate, on {}; {ROUNDS} rounds in turns", machine());
    let turn = Duration::from_millis(size.pick(20, 1_000, 5_000));
    let only: Option<usize> = std::env::var("BOAT_CALLERS").ok().and_then(|callers| callers.parse().ok());
    if let Some(callers) = only {
        println!("{callers:>8} {:>26.0}", Who::Boat.run(callers, 5 * turn)?);
        return Ok(());
    }
    let mut samples = CALLERS.map(|callers| (callers, Who::ALL.map(|who| (who, Vec::new()))));
    for round in 0..=size.pick(0, ROUNDS, ROUNDS) {
        for (callers, samples) in &mut samples {
            for (who, samples) in samples {
                let per_second = who.run(*callers, turn)?;
                // The first round is for warming up.
                if round > 0 || size == Size::Test {
                    samples.push(per_second);
                }
            }
        }
    }
    println!("\nrequests/s");
    println!("{:>8} {:>26} {:>26} {:>26}", "callers", "boat", "openraft, one thread", "openraft, all cores");
    let mut goals = Vec::new();
    for (callers, samples) in samples {
        let figures = samples.map(|(_, samples)| Figure::new(samples));
        let [boat, one, all] = figures.each_ref().map(|figure| format!("{figure:.0}"));
        println!("{callers:>8} {boat:>26} {one:>26} {all:>26}");
        let [boat, one, all] = figures.map(|figure| figure.median());
        let ratio = boat / one.max(all).max(1.0);
        goals.push(Goal::at_least(format!("replicate_over_openraft_{callers}"), ratio, 1.0));
    }
    Goal::print(&goals, size);
    Ok(())
}

/// The callers share one thread.
fn one_thread() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn all_cores() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
