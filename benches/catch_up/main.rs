//! What clients notice while a follower that was away catches up.
//!
//! Three nodes, each a process of its own, serve clients that ask the leader at a steady pace. A follower is killed, a million
//! requests come meanwhile, and it is started again: it replays what it has, and fetches the rest. The 99th percentile of the
//! clients' waits during that is told beside that of the same clients before, in turns of the same length.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::time::{Duration, Instant};

use benches::{Cluster, Figure, Goal, Load, NODES, Result, Sample, Size, machine, request};
use boat_clipper::BackendKind;
use rustix::process::Signal;

const ROUNDS: usize = 3;
/// The clients whose waits count, and how long each rests between two requests: far from what the machine can do.
const CLIENTS: usize = 16;
const PACE: Duration = Duration::from_millis(10);
/// How many connections ask for the million.
const FILLING_CONNECTIONS: usize = 256;
/// How long a part of the measurement is.
const PART: Duration = Duration::from_millis(250);
/// How many times longer than before the 99th percentile may be.
const RISE_MAX: f64 = 2.0;

/// What one round gave.
struct Round {
    before_ms: f64,
    during_ms: f64,
    seconds: f64,
    requests: u64,
}

fn main() -> Result<()> {
    if benches::run_if_node()? {
        return Ok(());
    }
    let size = Size::asked_for();
    let missed = size.pick(2_000, 300_000, 1_000_000);
    let rounds = size.pick(1, ROUNDS, ROUNDS);
    println!("catch_up, on {}; {rounds} rounds, a follower misses {missed} requests", machine());
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let mut cluster = Cluster::start(directory.path(), BackendKind::None)?;
    let mut all = Vec::new();
    for _ in 0..rounds {
        let round = measure(&mut cluster, missed, size)?;
        println!(
            "p99 before {:.2} ms, while {} requests were caught up with in {:.1} s {:.2} ms",
            round.before_ms, round.requests, round.seconds, round.during_ms
        );
        all.push(round);
    }
    let rise = Figure::new(all.iter().map(|round| round.during_ms / round.before_ms).collect());
    println!("\nthe 99th percentile rises {rise} times");
    Goal::print(&[Goal::at_most("catch_up_p99_rise", rise.median(), RISE_MAX)], size);
    Ok(())
}

fn measure(cluster: &mut Cluster, missed: u64, size: Size) -> Result<Round> {
    let leader = cluster.leader()?;
    let follower = (0..NODES).find(|node| *node != leader).ok_or("one node alone")?;
    let address = cluster.http(leader)?;
    let body = br#"{"input":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
    let bytes = request("POST", "/predict", address, "content-type: application/json\r\n", body);
    let load =
        |connections, pace| Load { addresses: vec![address], request: bytes.clone(), connections, pace };
    let steady = load(CLIENTS, PACE);
    // In parts as meanwhile, whose first requests meet new connections.
    let asked = Instant::now();
    let mut parts = Vec::new();
    while asked.elapsed() < Duration::from_millis(size.pick(250, 4_000, 10_000)) {
        parts.push(steady.latencies(PART)?);
    }
    let before = Sample::new(parts.concat(), asked.elapsed());

    cluster.end(follower, Signal::KILL)?;
    let enough = cluster.position(leader)? + missed;
    while cluster.position(leader)? < enough {
        load(FILLING_CONNECTIONS, Duration::ZERO).run(PART)?;
    }
    let target = cluster.position(leader)?;
    cluster.start_node(follower)?;
    let started = Instant::now();
    let mut parts = Vec::new();
    while cluster.position(follower).unwrap_or(0) < target {
        parts.push(steady.latencies(PART)?);
    }
    let took = started.elapsed();
    cluster.wait_ready(follower)?;
    let during = Sample::new(parts.concat(), took);
    let (before_ms, during_ms) = (before.p99_ms, during.p99_ms);
    Ok(Round { before_ms, during_ms, seconds: took.as_secs_f64(), requests: missed })
}
