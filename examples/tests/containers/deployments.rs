//! Applications, models and versions that come with the log, on each node's own containers.

use boat_clipper::{Backend, Beginning, Change, Configuration};
use boat_core::{Call, CallOutcome, Predictor, PredictorError, RequestKind, StateKind};
use serde_json::{Value, json};

use super::client::Client;
use super::cluster::{Cluster, NODES};
use super::docker::{Engine, PREFIX, TAG, docker};
use super::node::{Node, call, expect_next, run};
use super::site::Site;
use super::{LOOK_AGAIN, WAIT_MAX, poll};

/// A latency SLO longer than any to which Boat raises one.
const SLO_MICROS: i64 = 500_000_000;

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

/// One change, at this position.
async fn make(backend: &mut Backend, position: u64, endpoint: &str, body: &Value) {
    let change = Change::parse(endpoint, body.to_string().as_bytes()).unwrap().unwrap();
    let body = Configuration::Change(change).to_body().into();
    let mut outcomes = Vec::new();
    let call = Call { kind: RequestKind::Configure, body, ..call(position, "") };
    backend.predict(&[call], &mut outcomes).await.unwrap();
    assert!(matches!(&outcomes[..], [CallOutcome::Output(_)]), "{endpoint}: {outcomes:?}");
}

#[test]
fn an_application_that_comes_back_as_another_is_another_and_its_model_runs_on() {
    let test = "an_application_that_comes_back_as_another_is_another_and_its_model_runs_on";
    let Some(engine) = Engine::beside_others(test) else { return };
    let mut node = Node::new("again");
    node.config.replicated = true;
    let add = |input_type: &str, latency_slo_micros: i64| {
        json!({
            "name": "default", "input_type": input_type, "default_output": "", "latency_slo_micros": latency_slo_micros
        })
    };
    let (name, links) =
        (json!({"name": "default"}), json!({"app_name": "default", "model_names": ["echo-model"]}));
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        backend.reset().await.unwrap();
        let begin = node.config.beginning().unwrap();
        let body = Configuration::Begin(Beginning { begin }).to_body().into();
        let begin = Call { kind: RequestKind::Configure, body, ..call(1, "") };
        backend.predict(&[begin], &mut Vec::new()).await.unwrap();
        let mut chain = boat_clipper::HashChain::default();
        expect_next(&mut backend, &mut chain, 2).await;
        let (model, frontend) = (node.container("model_container"), node.container("query_frontend"));

        // Another SLO: longer than any that Boat would have given the first.
        make(&mut backend, 3, "delete_app", &name).await;
        make(&mut backend, 4, "add_app", &add("strings", SLO_MICROS)).await;
        expect_next(&mut backend, &mut chain, 5).await;
        // Another type: inputs of the former are none any more.
        make(&mut backend, 6, "delete_model_links", &links).await;
        make(&mut backend, 7, "delete_app", &name).await;
        make(&mut backend, 8, "add_app", &add("doubles", SLO_MICROS)).await;
        let doubles = json!({
            "model_name": "d", "model_version": "1", "labels": [], "input_type": "doubles",
            "container_name": format!("{PREFIX}/echo:{TAG}"), "model_data_path": "", "batch_size": 1
        });
        make(&mut backend, 9, "add_model", &doubles).await;
        make(&mut backend, 10, "add_model_links", &json!({"app_name": "default", "model_names": ["d"]}))
            .await;
        let doubles = Call { body: r#"{"input":[1.5]}"#.into(), ..call(11, "") };
        let mut outcomes = Vec::new();
        backend.predict(&[doubles], &mut outcomes).await.unwrap();
        let answer = r#"{"query_id":10,"output":[1.5],"default":false}"#;
        assert_eq!(outcomes, [CallOutcome::Output(answer.into())]);
        // And back, with what the model has seen.
        make(&mut backend, 12, "delete_model_links", &json!({"app_name": "default", "model_names": ["d"]}))
            .await;
        make(&mut backend, 13, "delete_app", &name).await;
        make(&mut backend, 14, "delete_versioned_model", &json!({"model_name": "d", "model_version": "1"}))
            .await;
        make(&mut backend, 15, "add_app", &add("strings", 1)).await;
        make(&mut backend, 16, "add_model_links", &links).await;
        expect_next(&mut backend, &mut chain, 17).await;
        assert_eq!(node.container("model_container"), model);
        assert_eq!(node.container("query_frontend"), frontend);
        drop(backend);
        node.clean().await;
    });
    engine.expect_nothing_of(&node.config.docker.cluster);
}
