//! Deployments that come with the log: one predictor, and whole nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use boat_clipper::{
    Backend, BackendConfig, Beginning, Change, ClipperConfig, ClipperPredictor, Configuration, Engine,
    EngineConfig, HashChain, ModelKind, Renewal, admin_routes, begin_deployment, default_deployment,
};
use boat_core::config::{Limits, NodeConfig};
use boat_core::http::HttpServer;
use boat_core::transport::local::LocalNetwork;
use boat_core::{
    Call, CallOutcome, MemberList, Node, NodeId, PredictError, Predictor, RequestKind, StateKind,
};
use tokio::net::TcpListener;

use crate::http::{Message, ask};
use crate::{calls, input, lost, output, predict, unavailable};

/// As often as nodes may be told to make snapshots, in bytes of log.
const SNAPSHOT_LOG_BYTES: u64 = 64 << 10;

/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

fn begin() -> String {
    Configuration::Begin(Beginning { begin: default_deployment() }).to_body()
}

/// Version 2 of `echo-model`, served by the built-in hash chain.
const VERSION_2: &str = r#"{"model_name":"echo-model","model_version":"2","labels":[],"input_type":"strings","container_name":"boat/hash-chain","model_data_path":"","batch_size":-1}"#;

fn add_version_2() -> String {
    let change = Change::parse("add_model", VERSION_2.as_bytes()).unwrap().unwrap();
    Configuration::Change(change).to_body()
}

/// Calls in this order; what begins with `{"input` is a prediction, the rest changes.
fn mixed(bodies: &[String]) -> Vec<Call> {
    let mut calls = calls(bodies);
    let mut predictions = 0;
    for call in &mut calls {
        call.predictions_before = predictions;
        match call.body.starts_with(b"{\"input") {
            true => predictions += 1,
            false => call.kind = RequestKind::Configure,
        }
    }
    calls
}

fn said(outcome: &CallOutcome) -> String {
    match outcome {
        CallOutcome::Output(output) => String::from_utf8(output.to_vec()).unwrap(),
        CallOutcome::Rejected(why) => format!("rejected: {why}"),
        other => panic!("{other:?}"),
    }
}

async fn replicated() -> Backend {
    backend(false).await
}

async fn backend(stateless: bool) -> Backend {
    let query_address = "127.0.0.1:0".parse().unwrap();
    let config = BackendConfig { query_address, replicated: true, stateless, ..BackendConfig::default() };
    Backend::from_config(config).await.unwrap()
}

/// A whole history: nothing deployed, then version 1, then version 2 in the middle of a batch, then version 1 again.
fn history() -> Vec<String> {
    let select = r#"{"set_model_version":{"model_name":"echo-model","model_version":"1"}}"#.to_owned();
    let (add, unlink) =
        (add_version_2(), r#"{"delete_model_links":{"app_name":"default","model_names":["x"]}}"#.to_owned());
    let x = input("x");
    vec![
        x.clone(),
        begin(),
        x.clone(),
        add,
        x.clone(),
        x.clone(),
        begin(),
        unlink,
        select,
        x,
        "{}".to_owned(),
    ]
}

fn expected() -> Vec<String> {
    let mut chain = HashChain::default();
    let mut chained = || format!("{:?}", chain.step(b"x"));
    [
        "rejected: no application default is deployed: add it with POST /admin/add_app".to_owned(),
        "Successfully began with 3 changes".to_owned(),
        said(&output(1, "\"x\"")),
        "Successfully added model with name 'echo-model' and input type 'strings'".to_owned(),
        said(&output(2, &chained())),
        said(&output(3, &chained())),
        "rejected: there is a deployment already".to_owned(),
        "rejected: Cannot remove nonexistent link between app default and model x".to_owned(),
        "Successfully set model with name 'echo-model' to version '1'".to_owned(),
        said(&output(4, "\"x\"")),
        "rejected: expected {\"begin\":[...]} or one change, like {\"add_app\":{...}}".to_owned(),
    ]
    .into()
}

#[tokio::test]
async fn changes_take_effect_at_their_position_and_again_at_a_replay() {
    let mut backend = replicated().await;
    let view = backend.deployment_view().unwrap();
    let calls = mixed(&history());
    for batch_max in [calls.len(), 1, 3] {
        backend.reset().await.unwrap();
        let mut outcomes = Vec::new();
        for calls in calls.chunks(batch_max) {
            let (given, ended) = predict(&mut backend, calls).await;
            assert_eq!(ended, Ok(()));
            outcomes.extend(given.iter().map(said));
        }
        assert_eq!(outcomes, expected());
    }
    assert_eq!(view.deployment().selected("echo-model"), Some("1"));
}

#[tokio::test]
async fn the_deployment_of_a_model_without_state_stands_in_snapshots() {
    let calls = mixed(&[begin(), add_version_2(), input("x")]);
    let mut first = backend(true).await;
    assert_eq!(first.state_kind(), StateKind::Snapshot);
    first.reset().await.unwrap();
    assert_eq!(predict(&mut first, &calls[..2]).await.1, Ok(()));
    let mut state = Vec::new();
    first.freeze().await.unwrap().write_to(&mut state).unwrap();
    let mut second = backend(true).await;
    let view = second.deployment_view().unwrap();
    // Twice: what was there before is gone.
    for _ in 0..2 {
        second.restore(&mut state.as_slice()).await.unwrap();
        assert_eq!(view.deployment(), first.deployment_view().unwrap().deployment());
        let expected = HashChain::default().step(b"x");
        let (outcomes, ended) = predict(&mut second, &calls[2..]).await;
        assert_eq!((outcomes, ended), (vec![output(0, &format!("{expected:?}"))], Ok(())));
    }
    let wrong = second.restore(&mut b"hello".as_slice()).await;
    assert!(lost(wrong).contains("this is no deployment"));
}

#[tokio::test]
async fn what_is_asked_is_checked_by_what_is_deployed() {
    let mut backend = replicated().await;
    backend.reset().await.unwrap();
    let check = backend.check();
    assert_eq!(check(RequestKind::Predict, br#"{"input":[1]}"#), Ok(()));
    assert!(check(RequestKind::Configure, b"{\"ping\":{}}").is_err());
    assert_eq!(predict(&mut backend, &mixed(&[begin()])).await.1, Ok(()));
    assert!(check(RequestKind::Predict, br#"{"input":[1]}"#).unwrap_err().contains("expected a string"));
}

#[tokio::test]
async fn a_clipper_of_somebody_elses_is_changed_by_its_management_and_once() {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = EngineConfig { management_address: Some(any), ..EngineConfig::empty() };
    let engine = Engine::start(any, config).await.unwrap();
    let predictor = |management_address| {
        let config = ClipperConfig {
            replicated: true,
            management_address,
            settle_ms: 0,
            probe: false,
            ..ClipperConfig::default()
        };
        ClipperPredictor::new(engine.address(), config, Renewal::External).unwrap()
    };
    let mut first = predictor(engine.management_address());
    first.reset().await.unwrap();
    let calls = mixed(&history());
    let (outcomes, ended) = predict(&mut first, &calls[..3]).await;
    assert_eq!((ended, outcomes.iter().map(said).collect::<Vec<_>>()), (Ok(()), expected()[..3].to_vec()));
    // Another life of the node finds there what it was about to make.
    let mut second = predictor(engine.management_address());
    let (outcomes, ended) = predict(&mut second, &calls[..2]).await;
    assert_eq!((ended, outcomes.iter().map(said).collect::<Vec<_>>()), (Ok(()), expected()[..2].to_vec()));
    // But not if it is something else.
    let other = begin().replace("boat/echo", "boat/hash-chain");
    let mut third = predictor(engine.management_address());
    let why = unavailable(predict(&mut third, &mixed(&[other])).await.1);
    assert!(
        why.contains("add_model: refused: model with name 'echo-model' and version '1' already"),
        "{why}"
    );
    let mut nowhere = predictor(None);
    assert!(unavailable(predict(&mut nowhere, &calls[1..2]).await.1).contains("no management_address"));
}

struct Cluster {
    network: LocalNetwork,
    directory: tempfile::TempDir,
    members: MemberList,
    stateless: bool,
}

struct Running {
    node: Node,
    server: HttpServer,
}

impl Running {
    async fn post(&self, path: &str, body: &str) -> Message {
        within(ask(self.server.local_address(), "POST", path, body.as_bytes())).await.unwrap()
    }

    async fn output(&self, text: &str) -> (u64, String) {
        let answer = within(async {
            loop {
                match self.node.predict(input(text).into()).await {
                    Ok(answer) => return answer,
                    Err(PredictError::NoLeader(_) | PredictError::Unknown { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
        .await;
        let json: serde_json::Value = serde_json::from_slice(&answer.output).unwrap();
        (answer.position, json["output"].as_str().unwrap().to_owned())
    }
}

impl Cluster {
    fn new(stateless: bool) -> Self {
        let members = (0..3).map(|node| (NodeId(node), format!("local:{node}")));
        let directory = tempfile::tempdir().unwrap();
        let members = MemberList::new(members).unwrap();
        Cluster { network: LocalNetwork::new(), directory, members, stateless }
    }

    async fn start(&self, id: u16, beginning: Vec<Change>) -> Running {
        let backend = backend(self.stateless).await;
        let view = backend.deployment_view().unwrap();
        let limits = Limits { snapshot_log_bytes: SNAPSHOT_LOG_BYTES, ..Limits::default() };
        let node = Node::builder(id)
            .config(NodeConfig::<boat_core::config::NoBackend> { limits, ..NodeConfig::default() })
            .data_dir(self.directory.path().join(id.to_string()))
            .members(self.members.clone())
            .transport(self.network.transport())
            .start_predictor(backend)
            .await
            .unwrap();
        begin_deployment(&node, view.clone(), beginning);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = node.config().clone().check().unwrap().http_options();
        let server =
            boat_core::http::serve(listener, node.clone(), options, admin_routes(&node, view)).unwrap();
        Running { node, server }
    }
}

#[tokio::test]
async fn every_node_deploys_what_the_log_says_and_a_fresh_one_by_replay() {
    let cluster = Cluster::new(false);
    let mut nodes = Vec::new();
    for id in 0..3 {
        nodes.push(cluster.start(id, default_deployment()).await);
    }
    for (id, running) in nodes.iter().enumerate() {
        within(running.node.ready()).await.unwrap();
        assert_eq!(running.output(&format!("n{id}")).await.1, format!("n{id}"));
    }
    let changed = nodes[1].post("/admin/add_model", VERSION_2).await;
    assert_eq!(changed.status(), 200, "{}", changed.text());
    assert!(changed.text().starts_with("Successfully added model"), "{}", changed.text());
    assert!(changed.head.to_ascii_lowercase().contains("boat-position: "), "{}", changed.head);
    let again = nodes[2].post("/admin/add_model", VERSION_2).await;
    assert_eq!((again.status(), again.text().contains("already exists")), (400, true), "{}", again.text());
    let wrong = nodes[2].post("/admin/add_model", "{}").await;
    assert!(wrong.text().starts_with("Error parsing JSON"), "{}", wrong.text());
    let mut chain = HashChain::default();
    for running in &nodes {
        assert_eq!(running.output("x").await.1, chain.step(b"x"));
        let linked = running.post("/admin/get_linked_models", r#"{"app_name":"default"}"#).await;
        assert_eq!((linked.status(), linked.text()), (200, r#"["echo-model"]"#));
        let model = r#"{"model_name":"echo-model","model_version":"2"}"#;
        assert!(running.post("/admin/get_model", model).await.text().contains("\"is_current_version\":true"));
    }
    assert_eq!(nodes[0].post("/admin/get_all_containers", r#"{"verbose":false}"#).await.status(), 400);

    // One is gone with all it has, and comes back empty; its deployment file differs, and does not count.
    let gone = nodes.remove(2);
    gone.server.shutdown().await;
    gone.node.shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.directory.path().join("2")).unwrap();
    let other = ModelKind::HashChain;
    let other: Vec<Change> = default_deployment()
        .into_iter()
        .map(|change| match change {
            Change::AddModel(mut model) => {
                model.container_name = format!("boat/{other}");
                Change::AddModel(model)
            }
            other => other,
        })
        .collect();
    let back = cluster.start(2, other).await;
    within(back.node.ready()).await.unwrap();
    let (position, output) = back.output("y").await;
    assert_eq!(output, chain.step(b"y"));
    nodes.push(back);
    within(async {
        while nodes.iter().any(|running| running.node.status().position < position) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let digests: Vec<String> = nodes.iter().map(|running| running.node.status().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[tokio::test]
async fn a_fresh_node_gets_the_deployment_from_a_snapshot_where_no_model_has_state() {
    let cluster = Cluster::new(true);
    let mut nodes = Vec::new();
    for id in 0..3 {
        nodes.push(cluster.start(id, default_deployment()).await);
    }
    for running in &nodes {
        within(running.node.ready()).await.unwrap();
    }
    let gone = nodes.remove(2);
    gone.server.shutdown().await;
    gone.node.shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.directory.path().join("2")).unwrap();
    let long = "x".repeat(8 << 10);
    within(async {
        // With the second snapshot the log is cut behind the first: once there is a third, what holds the deployment is gone.
        let mut taken: Vec<BTreeSet<u64>> = nodes.iter().map(|_| BTreeSet::new()).collect();
        while taken.iter().any(|positions| positions.len() < 3) {
            assert_eq!(nodes[0].output(&long).await.1, long);
            for (running, positions) in nodes.iter().zip(&mut taken) {
                positions.extend(running.node.status().snapshot.map(|snapshot| snapshot.position));
            }
        }
    })
    .await;
    let back = cluster.start(2, default_deployment()).await;
    within(back.node.ready()).await.unwrap();
    assert_eq!(back.output("y").await.1, "y");
    let linked = back.post("/admin/get_linked_models", r#"{"app_name":"default"}"#).await;
    assert_eq!((linked.status(), linked.text()), (200, r#"["echo-model"]"#));
    assert!(back.node.status().snapshot.is_some(), "{:?}", back.node.status());
}
