//! What Boat costs, and saves, in front of Clipper's API: three engines with and without it.
//!
//! In turns, over 1, 16 and 64 connections, the same requests go
//! - (a) *direct*: to three engines, each a process of its own, at the same time: a client has its answer when all three have
//!   answered. That is redundancy without Boat, and without one order;
//! - (b) *boat*: to the leader of three nodes, each a process of its own with such an engine behind Clipper's HTTP, which answers
//!   when a majority has the request on its disk and the leader's engine has answered.
//!
//! The model is the hash chain in both.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod engines;

use std::time::Duration;

use benches::{Cluster, Figure, Goal, Load, Result, Sample, Size, machine, request, sync_p50_ms};
use boat_clipper::BackendKind;

use self::engines::Engines;

const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// With [`benches::COUNTER`] in it: each input is its own, as no cache could tell the answers of a model that keeps state.
const BODY: &[u8] = br#"{"input":"0000000000000000 as a client of Clipper writes it"}"#;
const FIELDS: &str = "content-type: application/json\r\n";

fn main() -> Result<()> {
    if benches::run_if_node()? || engines::run_if_engine()? {
        return Ok(());
    }
    let size = Size::asked_for();
    println!("clipper, on {}; {ROUNDS} rounds in turns", machine());
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let engines = Engines::start()?;
    let cluster = Cluster::start(directory.path(), BackendKind::Engine)?;
    let mut goals = Vec::new();
    for connections in CONNECTIONS {
        goals.extend(measure(&engines, &cluster, connections, size)?);
    }
    Goal::print(&goals, size);
    Ok(())
}

fn measure(engines: &Engines, cluster: &Cluster, connections: usize, size: Size) -> Result<Vec<Goal>> {
    let turn = Duration::from_millis(size.pick(50, 1_500, 10_000));
    let leader = cluster.http(cluster.leader()?)?;
    let load = Load {
        addresses: vec![leader],
        request: request("POST", "/predict", leader, FIELDS, BODY),
        connections,
        pace: Duration::ZERO,
    };
    let (mut direct, mut boat, mut syncs_ms) = (Vec::new(), Vec::new(), Vec::new());
    let files = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    for round in 0..=size.pick(0, ROUNDS, ROUNDS) {
        let samples = (engines.load(connections, turn)?, load.run(turn)?);
        syncs_ms.push(sync_p50_ms(files.path(), turn / 5)?);
        // The first round is for warming up.
        if round > 0 || size == Size::Test {
            direct.push(samples.0);
            boat.push(samples.1);
        }
    }
    let sync_ms = Figure::new(syncs_ms);
    println!("\n{connections} connections; fdatasync of three files at a time: p50 {sync_ms:.3} ms");
    println!("{:12} {:>26} {:>24} {:>24}", "", "requests/s", "p50 ms", "p99 ms");
    let direct = tell("(a) direct", &direct);
    let boat = tell("(b) boat", &boat);
    let mut goals = Vec::new();
    if connections == 1 {
        let added_ms = boat.1.median() - direct.1.median();
        goals.push(Goal::at_most("clipper_1_added_p50_ms", added_ms, 2.0 * sync_ms.median() + 1.0));
    }
    if connections == 64 {
        goals.push(Goal::at_least("clipper_64_of_direct", boat.0.median() / direct.0.median(), 1.0));
    }
    Ok(goals)
}

/// Prints what the samples say; gives the rate and the median wait.
fn tell(name: &str, samples: &[Sample]) -> (Figure, Figure) {
    let figure = |part: fn(&Sample) -> f64| Figure::new(samples.iter().map(part).collect());
    let per_second = figure(|sample| sample.per_second);
    let (p50_ms, p99_ms) = (figure(|sample| sample.p50_ms), figure(|sample| sample.p99_ms));
    println!("{name:12} {:>26} {p50_ms:>24.3} {p99_ms:>24.3}", format!("{per_second:.0}"));
    (per_second, p50_ms)
}
