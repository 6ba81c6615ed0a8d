//! Models that crash, hang, answer nonsense or are not what they are taken for, and names that others have.

use boat_clipper::docker::DockerError;
use boat_clipper::{Backend, HashChain};
use boat_core::{Predictor, PredictorError};

use super::client::Client;
use super::cluster::three_node;
use super::docker::{Engine, PREFIX, TAG, docker, try_docker};
use super::node::{Node, call, expect_next, run};
use super::poll;
use super::site::Site;

/// How long one call may take where the model is too slow.
const CALL_TIMEOUT_MS: u64 = 2_000;

/// How long everything may take to be ready where it never will be.
const READY_MS_MAX: u64 = 10_000;

fn faulty() -> String {
    format!("{PREFIX}/faulty-model:{TAG}")
}

/// Builds an image whose model is another; its id.
fn image(dockerfile: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    docker(&["build", "--quiet", directory.path().to_str().unwrap()])
}

#[test]
fn an_input_that_crashes_the_model_is_put_aside_and_all_others_go_on() {
    let test = "an_input_that_crashes_the_model_is_put_aside_and_all_others_go_on";
    let Some(engine) = Engine::beside_others(test) else { return };
    let site = Site::new("poison");
    let arguments = site.setup_arguments("faulty-model", &["--num-nodes", "1"]);
    let mut program = three_node(&site.ports, site.setup("hash-chain", &arguments));
    let mut client = Client::new(site.ports.http(0));
    poll("the node is ready", || client.get("/readyz").ok().filter(|reply| reply.status == 200));
    let mut chain = HashChain::default();
    let mut expect = |client: &mut Client, input: &str| {
        let reply =
            poll("an answer", || client.predict(input, input).ok().filter(|reply| reply.status == 200));
        assert_eq!(reply.json()["output"], chain.step(input.as_bytes()), "{input}");
    };
    expect(&mut client, "before");
    let put_aside = poll("the input is put aside", || {
        // Until then nobody knows.
        client.predict("poison", "crash").ok().filter(|reply| reply.status != 504 && reply.status != 503)
    });
    put_aside.expect_problem(500, "quarantined");
    // The model has seen what came before, and not that.
    expect(&mut client, "after");
    let status = client.get("/status").unwrap().json();
    assert!(status["backend"]["rebuilds"].as_u64().unwrap() >= 3, "{status}");
    program.send(rustix::process::Signal::INT);
    assert_eq!(program.expect_end().code(), Some(0));
    engine.expect_nothing_of(&site.cluster);
}

#[test]
fn a_model_that_hangs_or_answers_too_little_is_made_anew() {
    let Some(engine) = Engine::beside_others("a_model_that_hangs_or_answers_too_little_is_made_anew") else {
        return;
    };
    let mut node = Node::new("nonsense");
    node.config.docker.images.model = faulty();
    node.config.call_timeout_ms = CALL_TIMEOUT_MS;
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        for input in ["slow", "too few"] {
            backend.reset().await.unwrap();
            expect_next(&mut backend, &mut HashChain::default(), 1).await;
            let mut outcomes = Vec::new();
            let lost = backend.predict(&[call(2, input)], &mut outcomes).await;
            assert!(matches!(lost, Err(PredictorError::StateLost(_))), "{input}: {lost:?}");
            assert!(outcomes.is_empty(), "{input}: {outcomes:?}");
        }
        backend.reset().await.unwrap();
        expect_next(&mut backend, &mut HashChain::default(), 1).await;
        drop(backend);
        node.clean().await;
    });
    engine.expect_nothing_of(&node.config.docker.cluster);
}

#[test]
fn a_model_of_another_type_answers_nothing_that_is_believed() {
    let Some(engine) = Engine::beside_others("a_model_of_another_type_answers_nothing_that_is_believed")
    else {
        return;
    };
    let other = image(&format!("FROM {}\nENV BOAT_TEST_CLAIMS=doubles\n", faulty()));
    let mut node = Node::new("type");
    node.config.docker.images.model = other.clone();
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        backend.reset().await.unwrap();
        let mut outcomes = Vec::new();
        let ended = backend.predict(&[call(1, "a")], &mut outcomes).await;
        let Err(PredictorError::StateLost(why)) = ended else { panic!("{ended:?}") };
        assert!(why.contains("default came instead of an output") && outcomes.is_empty(), "{why}");
        drop(backend);
        node.clean().await;
    });
    try_docker(&["image", "rm", "--force", &other]);
    engine.expect_nothing_of(&node.config.docker.cluster);
}

#[test]
fn a_container_that_talks_nonsense_is_named_as_the_one_that_never_came() {
    let Some(engine) =
        Engine::beside_others("a_container_that_talks_nonsense_is_named_as_the_one_that_never_came")
    else {
        return;
    };
    let talk = r#"while true; do echo nonsense | busybox nc $CLIPPER_IP 7000; sleep 1; done"#;
    let entry = format!("ENTRYPOINT [\"/bin/sh\", \"-c\", \"echo > /model_is_ready.check; {talk}\"]");
    let other = image(&format!("FROM {}\n{entry}\n", faulty()));
    let mut node = Node::new("babble");
    node.config.docker.images.model = other.clone();
    node.config.docker.ready_timeout_ms = READY_MS_MAX;
    run(async {
        let mut deployment = node.prepare().await.unwrap();
        let error = deployment.renew().await.unwrap_err();
        assert!(matches!(error, DockerError::NotReady { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("no container of model echo-model version 1 has connected yet"), "{text}");
        drop(deployment);
        node.clean().await;
    });
    try_docker(&["image", "rm", "--force", &other]);
    engine.expect_nothing_of(&node.config.docker.cluster);
}

#[test]
fn a_container_of_somebody_elses_with_a_name_of_ours_is_told_and_stays() {
    let Some(engine) =
        Engine::beside_others("a_container_of_somebody_elses_with_a_name_of_ours_is_told_and_stays")
    else {
        return;
    };
    let node = Node::new("name");
    let (redis_image, others) = (format!("{PREFIX}/redis:{TAG}"), format!("others-{}", std::process::id()));
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        backend.reset().await.unwrap();
        let mut chain = HashChain::default();
        // A container of the node's that nothing hangs on makes place for another of its name, and ends.
        let exporter = node.container("query_frontend_exporter");
        engine.docker(&["rename", &exporter, &others]);
        let precious = engine.docker(&["create", "--name", &exporter, &redis_image]);
        engine.docker(&["kill", &others]);
        for position in 1..=20 {
            expect_next(&mut backend, &mut chain, position).await;
        }
        assert_eq!(engine.docker(&["inspect", "--format", "{{.Id}}", &exporter]), precious);
        // What hangs on it is told, by name and owner, and goes on when the name is free.
        backend.predict(&[call(21, "x")], &mut Vec::new()).await.unwrap();
        let redis = node.container("redis");
        engine.docker(&["rename", &redis, &format!("{others}-redis")]);
        let more = engine.docker(&["create", "--name", &redis, &redis_image]);
        let error = backend.reset().await.unwrap_err();
        let PredictorError::Unavailable(why) = error else { panic!("{error}") };
        assert!(why.contains(&format!("container {redis} exists already and is not Boat's")), "{why}");
        assert!(why.contains(&redis_image), "{why}");
        engine.docker(&["rm", "--volumes", &precious, &more]);
        backend.reset().await.unwrap();
        expect_next(&mut backend, &mut HashChain::default(), 1).await;
        drop(backend);
        node.clean().await;
    });
    engine.expect_nothing_of(&node.config.docker.cluster);
}
