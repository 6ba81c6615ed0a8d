//! Nodes that are killed under load, one by one and all at once.

use super::cluster::{Cluster, NODES, QUIET, Setup};
use super::load::Load;
use super::poll;
use super::ports::Ports;

/// How often each node is killed.
const ROUNDS: u32 = 3;

/// How many answers must come between two kills.
const BETWEEN: usize = 30;

const CHAIN: Setup<'_> =
    Setup { model: Some("hash-chain"), data_dir: None, temporary: None, log: Some(QUIET), more: &[] };

#[test]
fn each_node_in_turn_is_killed_and_then_the_leader_wiped() {
    let ports = Ports::reserve();
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&ports, Setup { temporary: Some(directory.path()), ..CHAIN });
    let load = Load::start(&cluster);
    load.expect_more(BETWEEN);
    for _ in 0..ROUNDS {
        for node in 0..NODES {
            cluster.kill(&[node]);
            load.expect_more(BETWEEN);
        }
    }
    wipe_the_leader(&cluster);
    load.expect_more(BETWEEN);
    let mut history = load.stop();
    history.probe(&cluster, "after the kills");
    history.expect_one_chain();
    history.expect_on_every_node(&cluster);
}

/// Tells the leader to exit, and waits until it is back, empty at first.
fn wipe_the_leader(cluster: &Cluster<'_>) {
    let (leader, mark) = poll("the leader goes", || {
        let (leader, mark) = (cluster.leader(), cluster.program.output.mark());
        let reply = cluster.client(leader).post("/control", r#"{"cmd":"exit"}"#).ok()?;
        if reply.status == 200 {
            return Some((leader, mark));
        }
        // Right after a restart the others may not be there yet.
        assert!(matches!(reply.status, 409 | 503), "{reply:?}");
        None
    });
    cluster.expect_back(leader, mark);
    cluster.program.output.expect_after(mark, "was founded without this directory: joining it anew");
}

#[test]
fn all_nodes_are_killed_at_once_and_later_all_is_started_again() {
    let ports = Ports::reserve();
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup { data_dir: Some(directory.path()), ..CHAIN };
    let mut cluster = Cluster::start(&ports, setup);
    let load = Load::start(&cluster);
    load.expect_more(BETWEEN);
    for _ in 0..ROUNDS {
        cluster.kill(&[0, 1, 2]);
        load.expect_more(BETWEEN);
    }
    let mut history = load.stop();
    history.probe(&cluster, "after the kills");
    history.expect_one_chain();
    history.expect_on_every_node(&cluster);

    cluster.program.send(rustix::process::Signal::INT);
    assert_eq!(cluster.program.expect_end().code(), Some(0));
    let cluster = Cluster::start(&ports, setup);
    history.expect_on_every_node(&cluster);
    history.probe(&cluster, "after the new start");
    history.expect_one_chain();
    history.expect_on_every_node(&cluster);
}
