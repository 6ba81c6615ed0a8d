//! How fast a node replays, beside what this machine could do at best and beside a peer.
//!
//! For each shape of requests, in turns, the same requests are
//! - (a) *bare*: read by one thread, checksummed, decoded and handed to a function that does nothing: the limit;
//! - (b) *scan*: read from Boat's log, decoded and handed to that function;
//! - (c) *replay*: read from Boat's log and applied: sessions, positions, digest, a model that does nothing;
//! - (c) again with one request of ten under a key of its own, for information;
//! - (d) *raft-engine*: fetched from raft-engine, decoded and handed to that function (feature `peers`).
//!
//! All files are in the page cache, read into it rather than written. Decoding is the same for all: it makes a request a
//! value of its own, whose body is a counted part of what was read, as a predictor gets it. That costs more than reading does;
//! so (a), (b) and (d) run once more *in place*, where a request is looked at where it stands, and (a) from plain memory, too.
//! A log is judged against raft-engine by that. GB/s are of encoded requests.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod bare;
mod boat;
mod decode;
#[cfg(feature = "peers")]
mod engine;

use benches::{Contender, Figure, Goal, Result, Shape, Size, machine, race};

use self::bare::Image;
use self::boat::BoatLog;
use self::decode::{look, share};

const ROUNDS: usize = 5;
/// Bodies are of 32 B, 128 B and 1 KiB. Many requests share an entry; the last line shows what one alone costs.
const SHAPES: [(usize, usize); 4] = [(32, 64), (128, 64), (1024, 64), (128, 1)];
/// How many requests are written together, and so share one checksum.
const WRITE_REQUESTS: usize = 64;

fn main() -> Result<()> {
    let size = Size::asked_for();
    println!("replay, on {}; {ROUNDS} rounds in turns", machine());
    if !cfg!(feature = "peers") {
        println!("raft-engine is off: cargo bench -p benches --features peers --bench replay");
    }
    let mut goals = Vec::new();
    for (body_bytes, entry_requests) in SHAPES {
        let shape = Shape { body_bytes, entry_requests, keyed_percent: 0 };
        goals.extend(measure(shape, size)?);
    }
    Goal::print(&goals, size);
    Ok(())
}

/// Measures one shape and gives its goals.
fn measure(shape: Shape, size: Size) -> Result<Vec<Goal>> {
    let bytes = size.pick(1 << 20, 384 << 20, 2 << 30);
    let requests = bytes / (shape.body_bytes as u64 + 32);
    let writes = usize::max(2, requests as usize / WRITE_REQUESTS);
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let image = Image::write(&directory.path().join("image"), shape, writes)?;
    let log = BoatLog::write(&directory.path().join("log"), shape, writes)?;
    let keyed = Shape { keyed_percent: 10, ..shape };
    let keyed = BoatLog::write(&directory.path().join("keyed"), keyed, writes)?;
    #[cfg(feature = "peers")]
    let engine = engine::Peer::write(&directory.path().join("engine"), shape, writes)?;
    benches::forget_cached(directory.path())?;
    let mut contenders = vec![
        Contender::new("(a) bare", || image.scan(share)),
        Contender::new("(b) scan", || log.scan(share)),
        Contender::new("(c) replay", || log.replay()),
        Contender::new("(c) replay, 10 % keyed", || keyed.replay()),
        Contender::new("in place: (a)", || image.scan(look)),
        Contender::new("in place: (a) in memory", || image.scan_memory()),
        Contender::new("in place: (b)", || log.scan(look)),
        #[cfg(feature = "peers")]
        Contender::new("in place: (d)", || engine.fetch(look)),
        #[cfg(feature = "peers")]
        Contender::new("(d) raft-engine", || engine.fetch(share)),
    ];
    let rounds = if size == Size::Test { 1 } else { ROUNDS };
    let seconds = race(&mut contenders, rounds, 1)?;
    let Shape { body_bytes, entry_requests, .. } = shape;
    let (requests, bytes) = (image.requests(), image.command_bytes());
    println!("\n{requests} requests of {body_bytes} B, {entry_requests} to an entry");
    println!("{:24} {:>26} {:>22}", "", "million requests/s", "GB/s");
    for (contender, seconds) in contenders.iter().zip(&seconds) {
        let rate = seconds.map(|seconds| requests as f64 / seconds / 1e6);
        let throughput = seconds.map(|seconds| bytes as f64 / seconds / 1e9);
        println!("{:24} {:>26} {:>22}", contender.name, rate.to_string(), throughput.to_string());
    }
    Ok(goals(shape, &seconds))
}

/// What a shape's figures, in seconds, mean for the goals.
fn goals(shape: Shape, seconds: &[Figure]) -> Vec<Goal> {
    let Shape { body_bytes, entry_requests, .. } = shape;
    let [bare, scan, replay, _keyed, _bare_in_place, _memory, scan_in_place, peer @ ..] = seconds else {
        return Vec::new();
    };
    let name = |what| format!("{what}_{body_bytes}B");
    let mut goals = Vec::new();
    // The goals against the limit are about entries as they are under load.
    if entry_requests > 1 {
        goals.push(Goal::at_least(name("scan_of_bare"), bare.median() / scan.median(), 0.8));
    }
    if entry_requests > 1 && body_bytes == 128 {
        goals.push(Goal::at_least(name("replay_of_bare"), bare.median() / replay.median(), 0.3));
    }
    if let [engine_in_place, _engine] = peer {
        let times = engine_in_place.median() / scan_in_place.median();
        let name = format!("{}_{entry_requests}_to_an_entry", name("scan_of_raft_engine"));
        goals.push(Goal::at_least(name, times, 2.0));
    }
    goals
}
