//! What the original offered, and what stands beside it, on every node.

use serde_json::json;

use super::client::{Client, request};
use super::cluster::{Cluster, NODES, Setup};
use super::ports::Ports;

#[test]
fn every_route_answers_on_every_node() {
    let ports = Ports::reserve();
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&ports, Setup { temporary: Some(directory.path()), ..Setup::default() });
    for node in 0..NODES {
        let mut client = cluster.client(node);
        let reply = client.get("/").unwrap();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"Hello from Boat API"[..]));
        check_prediction(&mut client, node);
        check_what_stands_beside(&mut client);
        check_anything_else(&mut client);
    }
    check_one_leads(&cluster);
    for node in 0..NODES {
        check_log(&cluster, node);
    }
}

/// The node's first prediction is the cluster's `node`th.
fn check_prediction(client: &mut Client, node: u16) {
    let body = format!(r#"{{"input": "Hello {node}"}}"#);
    let reply = client.post("/predict", &body).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    let answer = format!(r#"{{"query_id":{node},"output":"Hello {node}","default":false}}"#);
    assert_eq!(std::str::from_utf8(&reply.body), Ok(answer.as_str()));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("boat-node"), Some(node.to_string().as_str()));
    assert!(reply.header("boat-term").is_some() && reply.header("boat-position").is_some(), "{reply:?}");
    // The key that the node gave makes a retry exact.
    let key = reply.header("idempotency-key").expect("a key").to_owned();
    let again = client
        .ask(request(
            "POST",
            "/predict",
            &[("content-type", "application/json"), ("idempotency-key", &key)],
            &body,
        ))
        .unwrap();
    assert_eq!(again.header("boat-replayed"), Some("true"), "{again:?}");
    assert_eq!((&again.body, again.header("boat-position")), (&reply.body, reply.header("boat-position")));
}

fn check_what_stands_beside(client: &mut Client) {
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(client.get(path).unwrap().status, 200, "{path}");
    }
    let metrics = client.get("/metrics").unwrap();
    let text = std::str::from_utf8(&metrics.body).unwrap();
    assert!(text.contains(r#"boat_http_requests_total{route="predict",status="200"} 2"#), "{text}");
    let head = client.ask(request("HEAD", "/status", &[], "")).unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
}

/// The original answered all of these with 400.
fn check_anything_else(client: &mut Client) {
    client.get("/nothing").unwrap().expect_problem(404, "not_found");
    client.post("/predict/more", "{}").unwrap().expect_problem(404, "not_found");
    for (method, path, allowed) in [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("GET", "/control", "POST"),
        ("POST", "/", "GET,HEAD"),
        ("PUT", "/status", "GET,HEAD"),
    ] {
        let reply = client.ask(request(method, path, &[], "")).unwrap();
        reply.expect_problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
    client.post("/control", r#"{"cmd": "stay"}"#).unwrap().expect_problem(400, "invalid_request");
}

fn check_one_leads(cluster: &Cluster<'_>) {
    let (position, _) = cluster.expect_agreement();
    let all: Vec<_> = (0..NODES).map(|node| cluster.status(node).unwrap()).collect();
    let leader = all.iter().position(|status| status["is_leader"] == true).expect("a leader");
    for (node, status) in all.iter().enumerate() {
        assert_eq!(status["is_leader"], node == leader, "{status}");
        assert_eq!((&status["node"], &status["leader"]), (&json!(node), &json!(leader)));
        // Beside the predictions, the cluster began with its deployment, and each frontend opened a session.
        let expected = 1 + 2 * NODES;
        assert_eq!((&status["position"], position), (&json!(expected), u64::from(expected)), "{status}");
        assert_eq!(status["backend"], json!({"healthy": true, "error": null, "rebuilds": 0}));
        assert_eq!(status["members"].as_array().map(Vec::len), Some(usize::from(NODES)));
    }
}

fn check_log(cluster: &Cluster<'_>, node: u16) {
    let output = &cluster.program.output;
    for sender in 0..NODES {
        let body = format!(r#"{{"input": "Hello {sender}"}}"#);
        output.expect(&format!("Boat {node}: Request received from raft: {body}"));
        output.expect(&format!(
            r#"Boat {node}: {body} sent to clipper with status 200 and response: {{"query_id":{sender},"output":"Hello {sender}","default":false}}"#
        ));
    }
    let own = format!(r#"{{"input": "Hello {node}"}}"#);
    output.expect(&format!("Boat {node}: Request from API appended to state: {own}"));
}

#[test]
fn every_node_can_be_told_to_exit_and_comes_back() {
    let ports = Ports::reserve();
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&ports, Setup { temporary: Some(directory.path()), ..Setup::default() });
    for node in 0..NODES {
        let key = format!("before {node}");
        assert_eq!(cluster.client(node).predict(&key, &key).unwrap().status, 200);
        cluster.expect_agreement();
        let mark = cluster.program.output.mark();
        let reply = cluster.client(node).post("/control", r#"{"cmd": "exit"}"#).unwrap();
        assert_eq!((reply.status, &reply.body[..]), (200, &br#"{"cmd":"exit"}"#[..]), "{reply:?}");
        cluster.program.output.expect_after(mark, &format!("node {node}: wiped, killing itself"));
        cluster.expect_back(node, mark);
        // Its new backend was given everything again.
        cluster.program.output.expect_after(
            mark,
            &format!(
                r#"Boat {node}: {{"input":"before 0"}} sent to clipper with status 200 and response: {{"query_id":0,"output":"before 0","default":false}}"#
            ),
        );
        let again = cluster.client(node).predict(&key, &key).unwrap();
        assert_eq!(again.header("boat-replayed"), Some("true"), "{again:?}");
    }
    cluster.expect_agreement();
}
