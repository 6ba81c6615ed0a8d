//! The original's promise on real containers: whatever dies under load, all models come to one state.

use rustix::process::Signal;

use super::cluster::{Cluster, NODES};
use super::docker::{Engine, SomebodyElses, try_docker};
use super::load::Load;
use super::poll;
use super::site::Site;

/// How many answers must come between two faults.
const BETWEEN: usize = 30;

#[test]
fn whatever_dies_under_load_all_models_come_to_one_state() {
    let Some(engine) = Engine::get("whatever_dies_under_load_all_models_come_to_one_state") else { return };
    let _others = SomebodyElses::make();
    let before = engine.inventory();
    let site = Site::new("full");
    let mut cluster = site.start();
    check_what_runs(&engine, &site);
    check_routes(&cluster);
    let load = Load::start(&cluster);
    load.expect_more(BETWEEN);

    let leader = cluster.leader();
    let follower = (leader + 1) % NODES;
    for (node, role, doing) in [
        (follower, "model_container", "kill"),
        (leader, "model_container", "kill"),
        (follower, "query_frontend", "kill"),
        (leader, "query_frontend", "pause"),
        (follower, "model_container", "restart"),
        (leader, "redis", "kill"),
    ] {
        let container = site.container(node, role);
        let mark = cluster.program.output.mark();
        // The node may remove a container before Docker has restarted it.
        try_docker(&[doing, &container]);
        cluster.program.output.expect_after(mark, &format!("node {node}: Clipper is ready"));
        expect_ready(&cluster, node);
        load.expect_more(BETWEEN);
    }

    // An exporter that dies is started again, and nothing else notices.
    let exporter = site.container(0, "query_frontend_exporter");
    engine.docker(&["kill", &exporter]);
    poll("another exporter", || site.find(0, "query_frontend_exporter").filter(|found| *found != exporter));
    cluster.kill(&[follower]);
    load.expect_more(BETWEEN);
    wipe_a_follower(&cluster);
    load.expect_more(BETWEEN);

    let mut history = load.stop();
    history.probe(&cluster, "after the faults");
    history.expect_one_chain();
    history.expect_on_every_node(&cluster);
    cluster.program.send(Signal::INT);
    assert_eq!(cluster.program.expect_end().code(), Some(0));
    assert_eq!(engine.inventory(), before);
    assert_eq!(site.files(), Vec::<String>::new());
}

/// Each node has its own six containers on its own network, labelled as Clipper's tool does.
fn check_what_runs(engine: &Engine, site: &Site) {
    for node in 0..NODES {
        let network = format!("clipper_network_{}_{node}", site.cluster);
        let on_it = ["network", "inspect", "--format", "{{len .Containers}}", &network];
        assert_eq!(engine.docker(&on_it), "6", "{network}");
        let model = site.container(node, "model_container");
        let format = r#"{{index .Config.Labels "ai.clipper.container.label"}} {{index .Config.Labels "ai.clipper.model_container.label"}} {{.Name}}"#;
        let told = engine.docker(&["inspect", "--format", format, &model]);
        let expected = format!("clipper_cluster_{}_{node} echo-model_1 /echo-model_1-", site.cluster);
        assert!(told.starts_with(&expected), "{told}");
    }
}

/// The original's greeting, and what is told of a place that there is none, on every node.
fn check_routes(cluster: &Cluster<'_>) {
    for mut client in cluster.clients() {
        let reply = client.get("/").unwrap();
        assert_eq!((reply.status, &reply.body[..]), (200, &b"Hello from Boat API"[..]));
        client.get("/nowhere").unwrap().expect_problem(404, "not_found");
        client.get("/predict").unwrap().expect_problem(405, "method_not_allowed");
        let linked = client.post("/admin/get_linked_models", r#"{"app_name":"default"}"#).unwrap();
        assert_eq!((linked.status, &linked.body[..]), (200, &br#"["echo-model"]"#[..]));
    }
}

#[track_caller]
fn expect_ready(cluster: &Cluster<'_>, node: u16) {
    let mut client = cluster.client(node);
    poll(&format!("node {node} is ready"), || client.get("/readyz").ok().filter(|reply| reply.status == 200));
}

/// Tells a follower to exit, and waits until it is back, empty at first; which.
pub(crate) fn wipe_a_follower(cluster: &Cluster<'_>) -> u16 {
    let (node, mark) = poll("a follower goes", || {
        let (node, mark) = ((cluster.leader() + 1) % NODES, cluster.program.output.mark());
        let reply = cluster.client(node).post("/control", r#"{"cmd":"exit"}"#).ok()?;
        if reply.status == 200 {
            return Some((node, mark));
        }
        // Right after a restart the others may not be there yet.
        assert!(matches!(reply.status, 409 | 503), "{reply:?}");
        None
    });
    cluster.expect_back(node, mark);
    node
}
