//! What is wrong with Docker is told so that a person understands it, or it is mended.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use boat_clipper::docker::DockerError;
use boat_clipper::{Backend, HashChain};
use boat_core::{Predictor, PredictorError};

use super::docker::{Engine, PREFIX, TAG, docker, skipped, try_docker};
use super::node::{Node, call, expect_next, run};
use super::proxy::{Mode, Proxy};

/// A user who is in no group that may use the engine.
const NOBODY: u32 = 65_534;

/// How long everything may take to be ready where it never will be.
const READY_MS_MAX: u64 = 8_000;

#[test]
fn without_an_engine_it_is_said_what_helps() {
    let mut node = Node::new("none");
    node.config.docker.socket = "/nowhere/docker.sock".into();
    let error = run(node.prepare()).unwrap_err();
    assert!(matches!(error, DockerError::NoEngine { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("/nowhere/docker.sock") && text.contains("--backend engine"), "{text}");
    // A socket on which nobody listens.
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    node.config.docker.socket = socket;
    let error = run(node.prepare()).unwrap_err();
    assert!(matches!(error, DockerError::NoEngine { .. }), "{error}");
}

#[test]
fn who_may_not_use_the_engine_is_told_how_to_be_let_in() {
    let Some(_engine) = Engine::get("who_may_not_use_the_engine_is_told_how_to_be_let_in") else { return };
    if !rustix::process::geteuid().is_root() {
        return skipped("who_may_not_use_the_engine_is_told_how_to_be_let_in", "only root can become nobody");
    }
    let program = super::site::program("clean");
    let told = Command::new(program).uid(NOBODY).output().unwrap();
    assert_eq!(told.status.code(), Some(64), "{told:?}");
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(text.contains("no permission") && text.contains("group"), "{text}");
}

#[test]
fn an_image_that_nobody_has_is_named() {
    let Some(engine) = Engine::get("an_image_that_nobody_has_is_named") else { return };
    let before = engine.inventory();
    let mut node = Node::new("image");
    // Nothing listens there.
    node.config.docker.images.registry = "localhost:1/boat".to_owned();
    let error = run(node.prepare()).unwrap_err();
    assert!(matches!(error, DockerError::Image { .. }) && error.is_usage(), "{error}");
    assert!(error.to_string().contains("localhost:1/boat/management_frontend:test"), "{error}");
    assert_eq!(engine.inventory(), before);
}

#[test]
fn a_container_that_ends_at_once_is_shown_with_its_last_words() {
    let Some(engine) = Engine::get("a_container_that_ends_at_once_is_shown_with_its_last_words") else {
        return;
    };
    let before = engine.inventory();
    let mut node = Node::new("exits");
    // A node without flags ends and says why.
    node.config.docker.images.model = format!("{PREFIX}/node:{TAG}");
    run(async {
        let mut deployment = node.prepare().await.unwrap();
        let error = deployment.renew().await.unwrap_err();
        let DockerError::Exited { container, status, log } = &error else { panic!("{error}") };
        assert!(container.starts_with("echo-model_1-"), "{container}");
        assert!(*status != 0 && !log.is_empty(), "{error}");
        drop(deployment);
        node.clean().await;
    });
    assert_eq!(engine.inventory(), before);
}

#[test]
fn a_container_that_is_never_well_is_named_with_its_health() {
    let Some(engine) = Engine::get("a_container_that_is_never_well_is_named_with_its_health") else { return };
    let before = engine.inventory();
    let directory = tempfile::tempdir().unwrap();
    let check = r#"HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/ls", "/never"]"#;
    let dockerfile = format!("FROM {PREFIX}/hash-chain:{TAG}\n{check}\n");
    std::fs::write(directory.path().join("Dockerfile"), dockerfile).unwrap();
    let image = docker(&["build", "--quiet", directory.path().to_str().unwrap()]);
    let mut node = Node::new("unwell");
    node.config.docker.images.model = image.clone();
    node.config.docker.ready_timeout_ms = READY_MS_MAX;
    run(async {
        let mut deployment = node.prepare().await.unwrap();
        let error = deployment.renew().await.unwrap_err();
        assert!(matches!(error, DockerError::NotReady { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("echo-model_1-") && text.contains("(unhealthy)"), "{text}");
        assert!(text.contains("/never"), "the health check's words are missing: {text}");
        drop(deployment);
        node.clean().await;
    });
    try_docker(&["image", "rm", "--force", &image]);
    assert_eq!(engine.inventory(), before);
}

#[test]
fn what_is_taken_is_told_with_its_owner_before_anything_is_made() {
    let Some(engine) = Engine::get("what_is_taken_is_told_with_its_owner_before_anything_is_made") else {
        return;
    };
    let before = engine.inventory();
    let node = Node::new("taken");
    let (cluster, redis_port) = (&node.config.docker.cluster, node.config.docker.redis_port);
    run(async {
        let listener = std::net::TcpListener::bind(("127.0.0.1", redis_port)).unwrap();
        let error = node.prepare().await.unwrap_err();
        let own = format!("(process {})", std::process::id());
        assert!(error.to_string().contains("Redis") && error.to_string().contains(&own), "{error}");
        drop(listener);

        let (other, publish) = (format!("other-{cluster}"), format!("127.0.0.1:{redis_port}:6379"));
        let image = format!("{PREFIX}/redis:{TAG}");
        engine.docker(&["run", "--detach", "--name", &other, "--publish", &publish, &image]);
        let error = node.prepare().await.unwrap_err();
        engine.docker(&["rm", "--force", "--volumes", &other]);
        assert!(matches!(error, DockerError::PortTaken { .. }), "{error}");
        assert!(error.to_string().contains(&other) && error.to_string().contains("Redis"), "{error}");

        let network = format!("clipper_network_{cluster}_0");
        engine.docker(&["network", "create", &network]);
        let error = node.prepare().await.unwrap_err();
        engine.docker(&["network", "rm", &network]);
        assert!(matches!(error, DockerError::NameTaken { .. }), "{error}");
        assert!(error.to_string().contains(&network), "{error}");

        let _first = node.prepare().await.unwrap();
        let error = node.prepare().await.unwrap_err();
        assert!(matches!(error, DockerError::Running { .. }), "{error}");
    });
    assert_eq!(engine.inventory(), before);
}

#[test]
fn a_full_disk_is_told_and_mended_by_room() {
    let Some(engine) = Engine::get("a_full_disk_is_told_and_mended_by_room") else { return };
    let before = engine.inventory();
    let proxy = Proxy::start();
    let mut node = Node::new("full-disk");
    node.config.docker.socket = proxy.socket();
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        proxy.set(Mode::Refuse(
            "/containers/create",
            "mkdir /var/lib/docker/overlay2/x: no space left on device",
        ));
        let error = backend.reset().await.unwrap_err();
        let PredictorError::Unavailable(why) = error else { panic!("{error}") };
        assert!(why.contains("create container redis-") && why.contains("no space left on device"), "{why}");
        proxy.set(Mode::Pass);
        backend.reset().await.unwrap();
        expect_next(&mut backend, &mut HashChain::default(), 1).await;
        drop(backend);
        node.clean().await;
    });
    assert_eq!(engine.inventory(), before);
}

#[test]
fn an_engine_that_restarts_is_waited_for_and_what_it_ended_is_noticed() {
    let Some(engine) = Engine::get("an_engine_that_restarts_is_waited_for_and_what_it_ended_is_noticed")
    else {
        return;
    };
    let before = engine.inventory();
    let proxy = Proxy::start();
    let mut node = Node::new("restarts");
    node.config.docker.socket = proxy.socket();
    run(async {
        let mut backend = Backend::from_config(node.config.clone()).await.unwrap();
        backend.reset().await.unwrap();
        let mut chain = HashChain::default();
        expect_next(&mut backend, &mut chain, 1).await;

        // The engine is gone for a moment, the containers are not.
        proxy.set(Mode::Cut);
        let back = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            proxy.set(Mode::Pass);
        };
        tokio::join!(expect_next(&mut backend, &mut chain, 2), back);

        // This time the model's container is restarted meanwhile: it answers, with an empty memory, and nobody tells of it.
        proxy.set(Mode::Cut);
        let filter = format!("label=dev.boat.cluster={}", node.config.docker.cluster);
        let role = "label=dev.boat.role=model_container";
        let model = engine.docker(&["ps", "--quiet", "--filter", &filter, "--filter", role]);
        engine.docker(&["restart", "--time", "0", &model]);
        proxy.set(Mode::Pass);
        let mut outcomes = Vec::new();
        let lost = loop {
            match backend.predict(&[call(3, "input 3")], &mut outcomes).await {
                Err(PredictorError::Unavailable(_)) => {}
                Err(PredictorError::StateLost(why)) => break why,
                Ok(()) => panic!("an answer of a model that was restarted was believed: {outcomes:?}"),
            }
        };
        assert!(!lost.is_empty() && outcomes.is_empty(), "{lost}");
        backend.reset().await.unwrap();
        let mut chain = HashChain::default();
        expect_next(&mut backend, &mut chain, 1).await;
        drop(backend);
        node.clean().await;
    });
    assert_eq!(engine.inventory(), before);
}
