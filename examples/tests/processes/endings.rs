//! Every way in which `three_node` ends leaves nothing behind.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::cluster::{Cluster, NODES, Setup};
use super::poll;
use super::ports::Ports;

/// How long a clean end may take.
const CLEAN_END_MAX: Duration = Duration::from_secs(5);

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn start<'a>(ports: &'a Ports, temporary: &TempDir) -> Cluster<'a> {
    let cluster = Cluster::start(ports, Setup { temporary: Some(temporary.path()), ..Setup::default() });
    assert_eq!(entries(temporary.path()).len(), 1, "the data is not where it should be");
    assert_eq!(cluster.client(0).predict("a key", "some input").unwrap().status, 200);
    assert_eq!(cluster.program.processes().len(), 1 + usize::from(NODES));
    cluster
}

/// A clean end by one signal.
fn check_clean_end(signal: Signal, told: &str) {
    let (ports, temporary) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let mut cluster = start(&ports, &temporary);
    let asked = Instant::now();
    cluster.program.send(signal);
    assert_eq!(cluster.program.expect_end().code(), Some(0));
    assert!(asked.elapsed() < CLEAN_END_MAX, "{:?}", asked.elapsed());
    cluster.program.output.expect(&format!("stopping: {told}"));
    for node in 0..NODES {
        let pid = cluster.pid(node);
        let ended = cluster.program.output.last(&format!("node {node} (process {pid}) ended")).expect("told");
        assert!(ended.contains("exit status: 0"), "{ended}");
    }
    ports.expect_free();
    assert_eq!(entries(temporary.path()), Vec::<PathBuf>::new());
}

#[test]
fn ctrl_c_ends_all() {
    check_clean_end(Signal::INT, "ctrl-C");
}

#[test]
fn sigterm_ends_all() {
    check_clean_end(Signal::TERM, "SIGTERM");
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_clients() {
    let (ports, temporary) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let mut cluster = start(&ports, &temporary);
    // Clients whose requests the nodes are still reading: a clean end waits for these.
    let _held: Vec<TcpStream> = (0..NODES).map(|node| hold(&cluster, &ports, node)).collect();
    cluster.program.send(Signal::INT);
    for node in 0..NODES {
        cluster.program.output.expect(&format!("node {node}: SIGTERM, stopping"));
    }
    cluster.program.send(Signal::INT);
    assert_eq!(cluster.program.expect_end().code(), Some(0));
    cluster.program.output.expect("killing what is left: ctrl-C");
    for node in 0..NODES {
        cluster.program.output.expect(&format!("node {node} (process {}) is killed", cluster.pid(node)));
    }
    ports.expect_free();
    assert_eq!(entries(temporary.path()), Vec::<PathBuf>::new());
}

/// Sends half a request, and waits until the node has its connection.
fn hold(cluster: &Cluster<'_>, ports: &Ports, node: u16) -> TcpStream {
    let mut stream = TcpStream::connect(ports.http(node)).unwrap();
    stream.write_all(b"POST /predict HTTP/1.1\r\nhost: boat\r\ncontent-length: 100\r\n\r\n{").unwrap();
    let mut client = cluster.client(node);
    poll("the node has both connections", || {
        let metrics = client.get("/metrics").ok()?;
        std::str::from_utf8(&metrics.body).unwrap().contains("\nboat_http_connections 2\n").then_some(())
    });
    stream
}

#[test]
fn nothing_survives_a_supervisor_that_is_killed_and_the_next_start_cleans_up() {
    let (ports, temporary) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let mut cluster = start(&ports, &temporary);
    let left = entries(temporary.path());
    cluster.program.send(Signal::KILL);
    assert_eq!(cluster.program.expect_end().code(), None);
    ports.expect_free();
    assert_eq!(entries(temporary.path()), left);

    let mut next = start(&ports, &temporary);
    assert_ne!(entries(temporary.path()), left);
    next.program.output.expect(&format!("removed {}", left[0].display()));
    next.program.send(Signal::INT);
    assert_eq!(next.program.expect_end().code(), Some(0));
    assert_eq!(entries(temporary.path()), Vec::<PathBuf>::new());
}
