//! How the programs are told what to do, and what they say when that cannot be done.

use std::net::TcpListener;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::Client;
use super::cluster::{Cluster, NODES, Setup, three_node};
use super::poll;
use super::ports::Ports;
use super::program::{Program, send};

/// A cluster of one `node`, told by its environment; it allows `/control`.
pub(crate) fn one_node(ports: &Ports, more: &[(&str, &str)]) -> (TempDir, Program) {
    let directory = tempfile::tempdir().unwrap();
    let members = format!("0={}", ports.peer(0));
    let (http, query) = (ports.http(0).to_string(), ports.query(0).to_string());
    let told = [
        ("BOAT_NODE_ID", "0"),
        ("BOAT_MEMBERS", members.as_str()),
        ("BOAT_DATA_DIR", directory.path().to_str().unwrap()),
        ("BOAT_HTTP_ADDRESS", http.as_str()),
        ("BOAT_QUERY_ADDRESS", query.as_str()),
        ("BOAT_ALLOW_CONTROL", "true"),
    ];
    let node = Program::start("node", &[], &[&told, more].concat());
    expect_ready(ports);
    (directory, node)
}

fn expect_ready(ports: &Ports) {
    let mut client = Client::new(ports.http(0));
    poll("the node is ready", || client.get("/readyz").ok().filter(|reply| reply.status == 200));
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Runs a program that ends by itself; its status and all that it printed.
fn run(name: &str, arguments: &[String]) -> (Option<i32>, String) {
    let mut program = Program::start(name, arguments, &[]);
    let status = program.expect_end().code();
    (status, program.output.lines().join("\n"))
}

#[test]
fn help_tells_every_flag_and_its_default() {
    let (status, text) = run("three_node", &words("--help"));
    assert_eq!(status, Some(0), "{text}");
    for told in [
        "-n, --num-nodes",
        "--http-port",
        "[default: 8080]",
        "[default: 8000]",
        "[default: 1337]",
        "--data-dir",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let (status, text) = run("node", &words("--help"));
    assert_eq!(status, Some(0), "{text}");
    for told in [
        "--members",
        "BOAT_MEMBERS",
        "--data-dir",
        "--election-ticks",
        "[default: 127.0.0.1:8080]",
        "--config",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
}

#[test]
fn wrong_arguments_end_with_the_usage_status() {
    for (program, line, told) in [
        (
            "node",
            "--node-id 5 --members 0=127.0.0.1:1 --data-dir /nowhere",
            "`node_id` is 5, which does not stand in `members`",
        ),
        ("node", "--data-dir /nowhere", "`members`"),
        ("node", "--members nonsense", "--members"),
        ("node", "--members 0=127.0.0.1:1 --config /nowhere/node.toml", "/nowhere/node.toml"),
        ("node", "--tick", "--tick"),
        ("three_node", "--num-nodes 0", "--num-nodes"),
        ("three_node", "--backend clipper", "use engine, docker or none"),
    ] {
        let (status, text) = run(program, &words(line));
        assert_eq!(status, Some(64), "{program} {line}: {text}");
        assert!(text.contains(told), "{program} {line}: {text}");
    }
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_file_tells_a_node_what_to_do_and_flags_overrule_it() {
    let (ports, directory) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let file = directory.path().join("node.toml");
    let text = format!(
        "node_id = 0\nmembers = \"0={}\"\ndata_dir = {:?}\nhttp_address = \"{}\"\n\n[http]\nallow_control = false\n\n\
         [limits]\nrequest_bytes_max = 100\n\n[backend]\nkind = \"none\"\nmodel = \"hash-chain\"\n",
        ports.peer(0),
        directory.path().join("data"),
        ports.http(0),
    );
    std::fs::write(&file, text).unwrap();
    let mut node = Program::start("node", &words(&format!("--config {} --model echo", file.display())), &[]);
    expect_ready(&ports);
    let mut client = Client::new(ports.http(0));
    let reply = client.predict("a key", "Hello").unwrap();
    assert_eq!(reply.json(), serde_json::json!({"query_id": 0, "output": "Hello", "default": false}));
    client.predict("b key", &"x".repeat(100)).unwrap().expect_problem(413, "body_too_large");
    client.post("/control", r#"{"cmd":"exit"}"#).unwrap().expect_problem(404, "not_found");
    assert!(directory.path().join("data").is_dir());
    node.send(Signal::TERM);
    assert_eq!(node.expect_end().code(), Some(0));
}

#[test]
fn a_node_keeps_its_state_when_it_is_killed_and_started_again() {
    let ports = Ports::reserve();
    let (directory, mut node) = one_node(&ports, &[("BOAT_MODEL", "hash-chain")]);
    let first = Client::new(ports.http(0)).predict("first", "a").unwrap();
    node.send(Signal::KILL);
    node.expect_end();
    let line = format!(
        "--members 0={} --data-dir {} --http-address {} --query-address {} --model hash-chain",
        ports.peer(0),
        directory.path().display(),
        ports.http(0),
        ports.query(0)
    );
    let _again = Program::start("node", &words(&line), &[]);
    expect_ready(&ports);
    let mut client = Client::new(ports.http(0));
    let again = client.predict("first", "a").unwrap();
    assert_eq!((&again.body, again.header("boat-replayed")), (&first.body, Some("true")));
    let mut model = boat_clipper::HashChain::default();
    let outputs = ["a", "b"].map(|input| model.step(input.as_bytes()));
    assert_eq!(first.json()["output"], outputs[0]);
    assert_eq!(client.predict("second", "b").unwrap().json()["output"], outputs[1]);
}

#[test]
fn a_data_directory_belongs_to_one_process() {
    let ports = Ports::reserve();
    let (directory, _node) = one_node(&ports, &[]);
    let line = format!(
        "--members 0={} --data-dir {} --http-address {} --backend none",
        ports.peer(1),
        directory.path().display(),
        ports.http(1)
    );
    let (status, text) = run("node", &words(&line));
    assert_eq!(status, Some(75), "{text}");
    assert!(text.contains("is in use by another process"), "{text}");
}

#[test]
fn a_taken_port_is_told_before_anything_starts() {
    let (ports, temporary) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let _taken = [ports.http(1), ports.query(2)].map(|address| TcpListener::bind(address).unwrap());
    let mut program = three_node(&ports, Setup { temporary: Some(temporary.path()), ..Setup::default() });
    assert_eq!(program.expect_end().code(), Some(64));
    let own = std::process::id();
    for (address, purpose) in [(ports.http(1), "node 1, HTTP"), (ports.query(2), "node 2, queries")] {
        let line =
            program.output.expect(&format!("port {} for {purpose} on 127.0.0.1 is taken by", address.port()));
        assert!(line.ends_with(&format!("(process {own})")), "{line}");
    }
    assert_eq!(program.output.last("started as process"), None);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn a_node_whose_port_is_taken_when_it_starts_again_is_tried_until_it_is_free() {
    let (ports, temporary) = (Ports::reserve(), tempfile::tempdir().unwrap());
    let cluster = Cluster::start(&ports, Setup { temporary: Some(temporary.path()), ..Setup::default() });
    for address in [ports.http(1), ports.query(1), ports.peer(1)] {
        // While the supervisor stands still it cannot start the node before its port is taken.
        cluster.program.send(Signal::STOP);
        let mark = cluster.program.output.mark();
        send(cluster.pid(1), Signal::KILL);
        let taken = poll("the port is free", || TcpListener::bind(address).ok());
        cluster.program.send(Signal::CONT);
        cluster.program.output.expect_after(mark, &format!("{address}"));
        cluster.program.output.expect_after(mark, "exit status: 70");
        drop(taken);
        poll("node 1 is ready", || cluster.status(1).filter(|status| status["ready"] == true));
    }
    // What the cluster began with, and nothing else.
    assert_eq!(cluster.expect_agreement().0, 1);
    assert_eq!(cluster.program.processes().len(), 1 + usize::from(NODES));
}
