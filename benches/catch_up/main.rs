//! What clients notice while a follower that was away catches up.
//!
//! Three nodes, each a process of its own, serve clients that ask the leader at a steady pace. A follower is killed, a million
//! requests come meanwhile, and it is started again: it replays what it has, and fetches the rest. The 99th percentile of the
//! clients' waits during that is told beside that of such clients before.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use benches::{Cluster, Figure, Goal, Load, NODES, Result, Sample, Size, Wait, machine, request, wait_for};
use boat_clipper::BackendKind;
use rustix::process::Signal;

const ROUNDS: usize = 3;
/// The clients whose waits count, and how long each rests between two requests: far from what the machine can do.
const CLIENTS: usize = 16;
const PACE: Duration = Duration::from_millis(10);
/// How many connections ask for the million.
const FILLING_CONNECTIONS: usize = 256;
/// After how many requests to look at how many are there.
const FILLING: Duration = Duration::from_millis(250);
/// How long the clients ask before their waits count.
const WARM_UP: Duration = Duration::from_millis(500);
/// How often to look whether the follower has caught up: a look costs it a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How much of the catching up is told apart: a process starts, reads its log and replays it.
const START: Duration = Duration::from_millis(500);
/// How many times longer than before the 99th percentile may be.
const RISE_MAX: f64 = 2.0;

/// What one round gave.
struct Round {
    before_ms: f64,
    start_ms: f64,
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
            "p99 before {:.2} ms, while {} requests were caught up with in {:.1} s {:.2} ms, in its first {START:?} {:.2} ms",
            round.before_ms, round.requests, round.seconds, round.during_ms, round.start_ms
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
    let lasts = Duration::from_millis(size.pick(250, 4_000, 10_000));
    let before = waits_while(&steady, || {
        std::thread::sleep(lasts);
        Ok(())
    })?;

    cluster.end(follower, Signal::KILL)?;
    let enough = cluster.position(leader)? + missed;
    while cluster.position(leader)? < enough {
        load(FILLING_CONNECTIONS, Duration::ZERO).run(FILLING)?;
    }
    let target = cluster.position(leader)?;
    let during = waits_while(&steady, || {
        cluster.start_node(follower)?;
        wait_for("the follower catches up", || {
            std::thread::sleep(LOOK_AGAIN);
            Ok((cluster.position(follower).unwrap_or(0) >= target).then_some(()))
        })
    })?;
    cluster.wait_ready(follower)?;
    Ok(Round {
        before_ms: before.p99_ms(before.took),
        start_ms: during.p99_ms(START),
        during_ms: during.p99_ms(during.took),
        seconds: during.took.as_secs_f64(),
        requests: missed,
    })
}

/// How long a steady load waited while something was done.
struct Waits {
    waits: Vec<Wait>,
    started: Instant,
    took: Duration,
}

impl Waits {
    /// The 99th percentile of what was asked for until so long after the start.
    fn p99_ms(&self, until: Duration) -> f64 {
        let asked = self.waits.iter().filter(|wait| wait.asked < self.started + until);
        Sample::new(asked.map(|wait| wait.us).collect(), until).p99_ms
    }
}

/// Lets a steady load ask while `work` is done.
fn waits_while(load: &Load, work: impl FnOnce() -> Result<()>) -> Result<Waits> {
    let ended = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| load.waits_until(ended.clone()).map_err(|error| error.to_string()));
        std::thread::sleep(WARM_UP);
        let started = Instant::now();
        let worked = work();
        let took = started.elapsed();
        ended.store(true, Ordering::Relaxed);
        let mut waits = clients.join().map_err(|_| "the clients panicked")??;
        waits.retain(|wait| wait.asked >= started);
        worked.map(|()| Waits { waits, started, took })
    })
}
