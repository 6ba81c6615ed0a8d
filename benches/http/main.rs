//! Durable predictions a second over HTTP, and how long one takes, beside what this machine could do at best and beside a peer.
//!
//! In turns, over 1, 16, 64 and 256 connections, requests of 128 B go to
//! - *echo*: a bare hyper server that answers each request with itself: one process, one thread, nothing kept: the limit;
//! - *boat*: the leader of three nodes, each a process of its own, the model within it;
//! - *boat, engines*: the same with each node's model behind the HTTP of its own engine;
//! - *etcd*: puts to the leader of three processes, over HTTP, where `etcd` is installed.
//!
//! All share this machine's cores with the clients, which are one thread. Between the turns the disk is asked how long
//! `fdatasync` takes while three files are synced at the same time. Before all that: what three nodes cost that nobody asks
//! anything.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

mod echo;
mod etcd;
mod idle;

use std::net::SocketAddr;
use std::time::Duration;

use benches::{COUNTER, Cluster, Figure, Goal, Load, Result, Sample, Size, machine, request, sync_p50_ms};
use boat_clipper::BackendKind;

const ROUNDS: usize = 3;
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];
/// The length of a request's body.
const BODY_BYTES: usize = 128;

/// One of those who are measured against each other.
struct Server {
    name: &'static str,
    address: SocketAddr,
    request: Vec<u8>,
}

/// What a server's turns with one number of connections gave.
struct Figures {
    per_second: Figure,
    p50_ms: Figure,
    p99_ms: Figure,
}

impl Figures {
    fn new(samples: &[Sample]) -> Figures {
        let figure = |part: fn(&Sample) -> f64| Figure::new(samples.iter().map(part).collect());
        Figures {
            per_second: figure(|sample| sample.per_second),
            p50_ms: figure(|sample| sample.p50_ms),
            p99_ms: figure(|sample| sample.p99_ms),
        }
    }
}

fn main() -> Result<()> {
    if benches::run_if_node()? || echo::run_if_echo()? {
        return Ok(());
    }
    let size = Size::asked_for();
    println!("http, on {}; {ROUNDS} rounds in turns", machine());
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let echo = echo::Echo::start()?;
    let local = Cluster::start(&directory.path().join("local"), BackendKind::None)?;
    let engines = Cluster::start(&directory.path().join("engines"), BackendKind::Engine)?;
    let etcd = etcd::Etcd::start(&directory.path().join("etcd"))?;
    let mut servers = vec![
        Server { name: "echo", address: echo.address(), request: prediction(echo.address()) },
        boat("boat", &local)?,
        boat("boat, engines", &engines)?,
    ];
    match &etcd {
        Some(etcd) => servers.push(Server { name: "etcd", address: etcd.leader(), request: etcd.put() }),
        None => println!("etcd is not installed: nothing is said of it"),
    }
    let mut goals = idle::measure(&local, size)?;
    for connections in CONNECTIONS {
        goals.extend(measure(&servers, connections, directory.path(), size)?);
    }
    idle::tell_memory(&local)?;
    Goal::print(&goals, size);
    Ok(())
}

fn boat(name: &'static str, cluster: &Cluster) -> Result<Server> {
    let address = cluster.http(cluster.leader()?)?;
    Ok(Server { name, address, request: prediction(address) })
}

/// A prediction whose body has [`BODY_BYTES`], each with an input of its own.
fn prediction(host: SocketAddr) -> Vec<u8> {
    let (before, behind) = ("{\"input\":\"", "\"}");
    let rest = "x".repeat(BODY_BYTES - before.len() - COUNTER.len() - behind.len());
    let body = format!("{before}{COUNTER}{rest}{behind}");
    request("POST", "/predict", host, "content-type: application/json\r\n", body.as_bytes())
}

/// Measures all servers with so many connections and gives the goals.
fn measure(
    servers: &[Server],
    connections: usize,
    directory: &std::path::Path,
    size: Size,
) -> Result<Vec<Goal>> {
    let turn = Duration::from_millis(size.pick(50, 1_500, 10_000));
    let mut samples = vec![Vec::new(); servers.len()];
    let mut syncs_ms = Vec::new();
    for round in 0..=size.pick(0, ROUNDS, ROUNDS) {
        for (server, samples) in servers.iter().zip(&mut samples) {
            let load = Load {
                addresses: vec![server.address],
                request: server.request.clone(),
                connections,
                pace: Duration::ZERO,
            };
            let sample = load.run(turn).map_err(|error| format!("{}: {error}", server.name))?;
            // The first round is for warming up.
            if round > 0 || size == Size::Test {
                samples.push(sample);
            }
        }
        syncs_ms.push(sync_p50_ms(directory, turn / 5)?);
    }
    let figures: Vec<Figures> = samples.iter().map(|samples| Figures::new(samples)).collect();
    let sync_ms = Figure::new(syncs_ms);
    println!("\n{connections} connections; fdatasync of three files at a time: p50 {sync_ms:.3} ms");
    println!("{:16} {:>26} {:>24} {:>24}", "", "requests/s", "p50 ms", "p99 ms");
    for (server, Figures { per_second, p50_ms, p99_ms }) in servers.iter().zip(&figures) {
        let per_second = format!("{per_second:.0}");
        println!("{:16} {per_second:>26} {p50_ms:>24.3} {p99_ms:>24.3}", server.name);
    }
    Ok(goals(connections, &figures, sync_ms.median()))
}

/// What the figures mean for the goals.
fn goals(connections: usize, figures: &[Figures], sync_ms: f64) -> Vec<Goal> {
    let [echo, boat, _engines, etcd @ ..] = figures else { return Vec::new() };
    let mut goals = Vec::new();
    let name = |what: &str| format!("http_{connections}_{what}");
    if connections == 1 {
        let limit_ms = sync_ms + 2.0 * echo.p50_ms.median();
        goals.push(Goal::at_most(name("p50_of_sync_and_calls"), boat.p50_ms.median() / limit_ms, 1.5));
        if let [etcd] = etcd {
            goals.push(Goal::at_most(name("p50_of_etcd"), boat.p50_ms.median() / etcd.p50_ms.median(), 0.5));
        }
    }
    let of_echo = match connections {
        64 => 0.30,
        256 => 0.42,
        _ => return goals,
    };
    let (measured, echoes) = (boat.per_second.median(), echo.per_second.median());
    // A slow disk ends no more rounds than it has syncs: then that is the limit.
    let disk_cap = connections as f64 / ((sync_ms + echo.p50_ms.median()) / 1e3);
    if 0.8 * disk_cap < of_echo * echoes {
        goals.push(Goal::at_least(name("of_disk"), measured / disk_cap, 0.8));
    } else {
        goals.push(Goal::at_least(name("of_echo"), measured / echoes, of_echo));
    }
    if let [etcd] = etcd {
        goals.push(Goal::at_least(name("of_etcd"), measured / etcd.per_second.median(), 10.0));
    }
    goals
}
