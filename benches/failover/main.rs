//! How long nobody is answered when a leader goes.
//!
//! Clients ask all three nodes, each one request after the other, and go on with the next node when theirs does not answer. In
//! turns the leader
//! - is *killed* with signal 9;
//! - falls *silent*: its process is stopped, its connections stay;
//! - is told to *end*, so that it hands over first.
//!
//! Each time the longest time is told in which nobody had an answer. The last line counts the requests that a client sent to
//! a node that ended in order, and that were not answered with an outcome.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod clients;

use std::time::{Duration, Instant};

use benches::{Cluster, Figure, Goal, NODES, Result, Size, machine, wait_for};
use boat_clipper::BackendKind;
use rustix::process::Signal;

use self::clients::Clients;

/// How long the clients have been answered before anything happens, and how long the gap may take.
const CALM: Duration = Duration::from_millis(300);
const GAP_MAX: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    if benches::run_if_node()? {
        return Ok(());
    }
    let size = Size::asked_for();
    let rounds = size.pick(1, 15, 50);
    println!("failover, on {}; {rounds} rounds in turns", machine());
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let mut cluster = Cluster::start(directory.path(), BackendKind::None)?;
    let (mut killed, mut silent, mut ended, mut lost) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        killed.push(leader_goes(&mut cluster, Signal::KILL)?.gap_ms);
        silent.push(leader_goes(&mut cluster, Signal::STOP)?.gap_ms);
        let end = leader_goes(&mut cluster, Signal::TERM)?;
        ended.push(end.gap_ms);
        lost += end.lost;
    }
    let (killed, silent, ended) = (Figure::new(killed), Figure::new(silent), Figure::new(ended));
    println!("\nmilliseconds without an answer to anybody");
    for (name, figure) in [("killed", &killed), ("silent", &silent), ("ended", &ended)] {
        let (least, most) = figure.range();
        println!("{name:8} median {:8.1}, from {least:.1} to {most:.1}", figure.median());
    }
    println!("{lost} requests were not answered by a leader that ended in order");
    let goals = [
        Goal::at_most("killed_gap_ms", killed.median(), 20.0),
        Goal::at_most("killed_gap_ms_worst", killed.range().1, 500.0),
        Goal::at_most("silent_gap_ms", silent.median(), 500.0),
        Goal::at_most("ended_gap_ms", ended.median(), 20.0),
        Goal::at_most("ended_requests_lost", f64::from(lost), 0.0),
    ];
    Goal::print(&goals, size);
    Ok(())
}

/// What clients saw.
struct Seen {
    gap_ms: f64,
    lost: u32,
}

/// Sends the leader a signal under load, waits until somebody is answered again, and mends the cluster.
fn leader_goes(cluster: &mut Cluster, signal: Signal) -> Result<Seen> {
    let leader = cluster.leader()?;
    let addresses = (0..NODES).map(|node| cluster.http(node)).collect::<Result<Vec<_>>>()?;
    let clients = Clients::start(addresses);
    wait_for("clients are answered", || Ok((clients.answered() > 0).then_some(())))?;
    let before = clients.answered();
    let calm = Instant::now();
    wait_for("a calm time", || Ok((calm.elapsed() > CALM).then_some(())))?;
    if clients.answered() == before {
        return Err("nobody was answered in a calm time".into());
    }
    let gone = Instant::now();
    cluster.process(leader)?.send(signal)?;
    let seen = wait_for("somebody is answered again", || {
        let over = gone.elapsed() > CALM && clients.answered_after(gone + CALM / 2);
        Ok((over || gone.elapsed() > GAP_MAX).then_some(()))
    });
    let history = clients.stop()?;
    seen?;
    if signal == Signal::STOP {
        cluster.process(leader)?.send(Signal::CONT)?;
    } else {
        cluster.reap(leader)?;
        cluster.start_node(leader)?;
    }
    (0..NODES).try_for_each(|node| cluster.wait_ready(node))?;
    Ok(Seen { gap_ms: history.longest_gap(gone).as_secs_f64() * 1e3, lost: history.lost })
}
