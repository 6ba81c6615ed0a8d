//! Applications, models and versions that come with the log, on each node's own containers.

use boat_clipper::{Backend, Beginning, Configuration};
use boat_core::{Call, CallOutcome, Predictor, PredictorError, RequestKind, StateKind};
use serde_json::{Value, json};

use super::client::Client;
use super::cluster::{Cluster, NODES};
use super::docker::{Engine, PREFIX, TAG, docker};
use super::node::{Node, call, run};
use super::site::Site;
use super::{LOOK_AGAIN, WAIT_MAX, poll};

/// The default deployment, with images of the tests'.
fn deployment() -> String {
    format!(
        "[[application]]\nname = 'default'\nmodel = 'm'\n\n[[model]]\nname = 'm'\nversion = '1'\n\
         container = '{PREFIX}/echo:{TAG}'\n"
    )
}

/// The versions of models whose containers run on a node.
fn containers(site: &Site, node: u16) -> Vec<String> {
    let filters = [
        format!("label=dev.boat.cluster={}", site.cluster),
        format!("label=dev.boat.node={node}"),
        "label=dev.boat.role=model_container".to_owned(),
    ];
    let mut arguments = vec!["ps", "--format", r#"{{.Label "ai.clipper.model_container.label"}}"#];
    arguments.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
    let mut found: Vec<String> = docker(&arguments).lines().map(str::to_owned).collect();
    found.sort();
    found
}

#[track_caller]
fn change(client: &mut Client, endpoint: &str, body: &Value) {
    let path = format!("/admin/{endpoint}");
    let fields = [("content-type", "application/json"), ("idempotency-key", endpoint)];
    let reply = poll(&path, || {
        let request = super::client::request("POST", &path, &fields, &body.to_string());
        client.ask(request).ok().filter(|reply| reply.status < 500)
    });
    assert_eq!(reply.status, 200, "{reply:?}");
}

/// What the model of a node says to an input that it has not seen.
#[track_caller]
fn output(cluster: &Cluster<'_>, node: u16, input: &str) -> String {
    let mut client = cluster.client(node);
    let reply = poll(&format!("{input} from node {node}"), || {
        client.predict(input, input).ok().filter(|reply| reply.status == 200)
    });
    reply.json()["output"].as_str().unwrap().to_owned()
}

/// What the node's own Clipper says to its administrator.
#[track_caller]
fn clipper(site: &Site, node: u16, endpoint: &str, body: &Value) -> Value {
    let mut client = Client::new(site.management(node));
    let reply = client.post(&format!("/admin/{endpoint}"), &body.to_string()).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn every_node_deploys_on_its_own_containers_what_the_log_says() {
    let Some(engine) = Engine::beside_others("every_node_deploys_on_its_own_containers_what_the_log_says")
    else {
        return;
    };
    let site = Site::new("deploys");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("deployment.toml");
    std::fs::write(&file, deployment()).unwrap();
    let more = ["--deployment", file.to_str().unwrap()].map(str::to_owned);
    let arguments = [site.arguments(), more.to_vec()].concat();
    let mut cluster = Cluster::start(&site.ports, site.setup("echo", &arguments));
    assert_eq!(output(&cluster, 0, "a"), "a");
    (0..NODES).for_each(|node| assert_eq!(containers(&site, node), ["m_1"], "node {node}"));

    // Another version, on every node at the same place in the order.
    let version_2 = json!({
        "model_name": "m", "model_version": "2", "labels": [], "input_type": "strings",
        "container_name": format!("{PREFIX}/hash-chain:{TAG}"), "model_data_path": "", "batch_size": 64
    });
    change(&mut cluster.client(1), "add_model", &version_2);
    let mut chain = boat_clipper::HashChain::default();
    for node in 0..NODES {
        let input = format!("chained {node}");
        assert_eq!(output(&cluster, node, &input), chain.step(input.as_bytes()));
        assert_eq!(containers(&site, node), ["m_1", "m_2"], "node {node}");
        let id = json!({"model_name": "m", "model_version": "2"});
        assert_eq!(clipper(&site, node, "get_model", &id)["is_current_version"], true);
    }
    let other = json!({"name": "other", "input_type": "doubles", "default_output": "-1.0", "latency_slo_micros": 1000});
    change(&mut cluster.client(2), "add_app", &other);

    // One that is killed and one that has lost everything get all of it by replay.
    let follower = (cluster.leader() + 1) % NODES;
    cluster.kill(&[follower]);
    let wiped = super::full::wipe_a_follower(&cluster);
    for node in 0..NODES {
        let input = format!("again {node}");
        assert_eq!(output(&cluster, node, &input), chain.step(input.as_bytes()), "wiped: {wiped}");
        assert_eq!(containers(&site, node), ["m_1", "m_2"], "node {node}");
        poll("the other application", || {
            (clipper(&site, node, "get_application", &json!({"name": "other"}))["name"] == "other")
                .then_some(())
        });
    }
    change(&mut cluster.client(0), "set_model_version", &json!({"model_name": "m", "model_version": "1"}));
    change(
        &mut cluster.client(1),
        "delete_versioned_model",
        &json!({"model_name": "m", "model_version": "2"}),
    );
    for node in 0..NODES {
        let input = format!("plain {node}");
        assert_eq!(output(&cluster, node, &input), input);
        poll("its container is gone", || (containers(&site, node) == ["m_1"]).then_some(()));
    }
    cluster.expect_agreement();
    cluster.program.send(rustix::process::Signal::TERM);
    assert_eq!(cluster.program.expect_end().code(), Some(0));
    engine.expect_nothing_of(&site.cluster);
}

#[test]
fn an_image_that_cannot_be_had_holds_up_nothing_but_its_own_model() {
    let Some(engine) =
        Engine::beside_others("an_image_that_cannot_be_had_holds_up_nothing_but_its_own_model")
    else {
        return;
    };
    let site = Site::new("typo");
    let mut program = site.start_one();
    let mut client = Client::new(site.ports.http(0));
    let missing = json!({
        "model_name": "typo", "model_version": "1", "labels": [], "input_type": "strings",
        "container_name": "localhost:1/nothing:x", "model_data_path": "", "batch_size": 64
    });
    change(&mut client, "add_model", &missing);
    let reply = poll("an answer", || client.predict("a", "a").ok().filter(|reply| reply.status == 200));
    assert_eq!(reply.json()["output"], boat_clipper::HashChain::default().step(b"a"));
    let id = json!({"model_name": "typo", "model_version": "1"});
    change(&mut client, "delete_versioned_model", &id);
    program.send(rustix::process::Signal::INT);
    assert_eq!(program.expect_end().code(), Some(0));
    engine.expect_nothing_of(&site.cluster);
}

/// Asks until the model answers, and not its default.
async fn expect_answer(backend: &mut Backend, position: u64, after: &str) {
    let asked = tokio::time::Instant::now();
    loop {
        let mut outcomes = Vec::new();
        let ended = backend.predict(&[call(position, "a")], &mut outcomes).await;
        assert!(!matches!(ended, Err(PredictorError::StateLost(_))), "after {after}: {ended:?}");
        if let [CallOutcome::Output(output)] = &outcomes[..]
            && String::from_utf8_lossy(output).ends_with(r#""default":false}"#)
        {
            return;
        }
        assert!(asked.elapsed() < WAIT_MAX, "after {after}: {ended:?}, {outcomes:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[test]
fn what_dies_of_a_clipper_without_state_is_started_again_and_told_all() {
    let Some(engine) =
        Engine::beside_others("what_dies_of_a_clipper_without_state_is_started_again_and_told_all")
    else {
        return;
    };
    let mut node = Node::new("stateless");
    (node.config.replicated, node.config.stateless) = (true, true);
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        assert_eq!(backend.state_kind(), StateKind::Snapshot);
        backend.reset().await.unwrap();
        let begin = node.config.beginning().unwrap();
        let body = Configuration::Begin(Beginning { begin }).to_body().into();
        let begin = Call { kind: RequestKind::Configure, body, ..call(1, "") };
        let mut outcomes = Vec::new();
        backend.predict(&[begin], &mut outcomes).await.unwrap();
        assert_eq!(outcomes, [CallOutcome::Output("Successfully began with 3 changes".into())]);
        expect_answer(&mut backend, 2, "the beginning").await;
        let first = node.container("redis");
        for (position, role) in [(3, "model_container"), (4, "query_frontend"), (5, "redis")] {
            engine.docker(&["kill", &node.container(role)]);
            expect_answer(&mut backend, position, role).await;
        }
        assert_eq!(node.container("redis"), first, "names stay within a run");
        // A fresh Clipper is given what a snapshot holds.
        let mut state = Vec::new();
        backend.freeze().await.unwrap().write_to(&mut state).unwrap();
        backend.restore(&mut state.as_slice()).await.unwrap();
        expect_answer(&mut backend, 6, "a snapshot").await;
        drop(backend);
        node.clean().await;
    });
    engine.expect_nothing_of(&node.config.docker.cluster);
}
