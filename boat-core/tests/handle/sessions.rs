//! Sessions, keys and unknown fates: whatever happens, a request is applied once.

use std::time::Duration;

use boat_core::config::SessionLimits;
use boat_core::{NodeId, OutcomeError, PredictError, SessionError};

use crate::cluster::{Cluster, SumNode, isolate, until, within};

/// How long an attempt may take whose answer is not going to come.
const BRIEFLY: Duration = Duration::from_millis(400);

fn leader(nodes: &[SumNode]) -> usize {
    nodes.iter().position(|node| node.status().is_leader).expect("somebody leads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessions_requests_are_numbered_and_applied_in_turn() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let session = within(nodes[1].session()).await.unwrap();
    for n in 1..=100 {
        let answer = within(session.predict(1).into_future()).await.unwrap();
        assert_eq!((answer.output, answer.replayed), (n, false));
    }
    let answer = within(session.feedback(1).into_future()).await.unwrap();
    assert_eq!(answer.output, 110);
    // Acknowledged with the next request, so nobody can have it again.
    let first = within(session.predict(0).into_future()).await.unwrap();
    within(session.predict(0).into_future()).await.unwrap();
    let again = within(nodes[0].predict(0).key(&first.key).into_future()).await;
    assert_eq!(again, Err(PredictError::OutcomeForgotten));
    assert_eq!(within(nodes[0].outcome(&first.key)).await, Err(OutcomeError::Forgotten));
}

/// The first attempt reaches the leader, which cannot commit it and does not know that. Asked again elsewhere, and once
/// more after the leader's return, it stands once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_of_unknown_fate_and_its_retries_over_a_change_of_leader_are_applied_once() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let old = leader(&nodes);
    let session = within(nodes[old].session()).await.unwrap();
    let before = within(session.predict(1).into_future()).await.unwrap();
    until(|| nodes.iter().all(|node| node.status().position >= before.position)).await;
    isolate(&cluster, NodeId(old as u16), true);
    let unknown = |result| match result {
        Err(PredictError::Unknown { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let in_session = unknown(within(session.predict(2).within(BRIEFLY).into_future()).await);
    let named = within(nodes[old].predict(4).key("named").within(BRIEFLY).into_future()).await;
    // The leader may have noticed in the meantime that it leads nobody, and then it was never sent.
    assert!(matches!(named, Err(PredictError::Unknown { .. } | PredictError::NoLeader(_))), "{named:?}");
    let other = (old + 1) % 3;
    until(|| nodes.iter().any(|node| node.status().is_leader && node.id() != NodeId(old as u16))).await;
    let retried = within(nodes[other].predict(2).key(&in_session).into_future()).await.unwrap();
    let by_name = within(nodes[other].predict(4).key("named").into_future()).await.unwrap();
    assert_eq!((retried.output, by_name.output), (3, 7));
    isolate(&cluster, NodeId(old as u16), false);
    for node in &nodes {
        within(node.reached(by_name.position)).await.unwrap();
        let again = within(node.predict(2).key(&in_session).into_future()).await.unwrap();
        assert_eq!((again.position, again.output, again.replayed), (retried.position, 3, true));
        let again = within(node.predict(4).key("named").into_future()).await.unwrap();
        assert_eq!((again.position, again.output, again.replayed), (by_name.position, 7, true));
    }
    let settled = within(session.predict(2).key(&in_session).into_future()).await.unwrap();
    assert_eq!((settled.position, settled.replayed), (retried.position, true));
    let last = within(session.predict(8).into_future()).await.unwrap();
    assert_eq!(last.output, 15);
    until(|| nodes.iter().all(|node| node.status().position == last.position)).await;
    assert!(nodes.iter().all(|node| node.status().digest == nodes[0].status().digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_window_is_told_before_anything_is_sent_and_giving_up_makes_room() {
    let mut cluster = Cluster::new(3);
    cluster.config.sessions = SessionLimits { session_outcomes_max: 1, ..SessionLimits::default() };
    let nodes = cluster.start_all().await;
    let node = leader(&nodes);
    let session = within(nodes[node].session()).await.unwrap();
    isolate(&cluster, NodeId(node as u16), true);
    let unknown = match within(session.predict(1).within(BRIEFLY / 4).into_future()).await {
        Err(PredictError::Unknown { key, .. }) => key,
        other => panic!("{other:?}"),
    };
    let full = within(session.predict(1).into_future()).await;
    assert!(matches!(full, Err(PredictError::Overloaded { waiting_max: 1, .. })), "{full:?}");
    isolate(&cluster, NodeId(node as u16), false);
    session.give_up(&unknown);
    let answer = within(session.predict(1).into_future()).await.unwrap();
    assert!((1..=2).contains(&answer.output), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_expires_by_log_time_and_says_so() {
    let mut cluster = Cluster::new(1);
    cluster.config.sessions = SessionLimits { session_age_ms_max: 1_000, ..SessionLimits::default() };
    let nodes = cluster.start_all().await;
    let node = &nodes[0];
    let session = within(node.session()).await.unwrap();
    let kept = within(session.predict(1).into_future()).await.unwrap();
    // Log time goes on with what is logged, here under keys; the session itself is silent.
    let mut sum = 1;
    let expired = within(async {
        let began = tokio::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1_300) {
            sum += 1;
            node.predict(1).key(sum.to_string()).await.unwrap();
        }
        session.predict(1).await
    });
    assert_eq!(expired.await, Err(PredictError::SessionExpired { session: session.id() }));
    let again = within(node.predict(1).key(&kept.key).into_future()).await;
    assert_eq!(again, Err(PredictError::SessionExpired { session: session.id() }));
    assert_eq!(within(node.outcome(&kept.key)).await, Err(OutcomeError::Forgotten));
    let fresh = within(node.session()).await.unwrap();
    // What the expired session asked was not applied.
    assert_eq!(within(fresh.predict(0).into_future()).await.unwrap().output, sum);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_cannot_take_the_nodes_sessions() {
    let mut cluster = Cluster::new(1);
    cluster.config.sessions = SessionLimits { sessions_max: 8, ..SessionLimits::default() };
    let nodes = cluster.start_all().await;
    let mut open = Vec::new();
    let refused = loop {
        match within(nodes[0].session()).await {
            Ok(session) => open.push(session),
            Err(error) => break error,
        }
    };
    assert_eq!((open.len(), refused), (7, SessionError::TooMany { sessions_max: 7 }));
    assert_eq!(within(nodes[0].predict(3).into_future()).await.unwrap().output, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_found_on_every_node_and_none_is_made_up() {
    let cluster = Cluster::new(3);
    let nodes = cluster.start_all().await;
    let asked = within(nodes[0].predict(5).key("k").into_future()).await.unwrap();
    let unnamed = within(nodes[1].predict(6).into_future()).await.unwrap();
    for node in &nodes {
        let found = within(node.outcome("k")).await.unwrap();
        assert_eq!((found.position, found.output, found.replayed), (asked.position, 5, true));
        assert_eq!(within(node.outcome("other")).await, Err(OutcomeError::NotFound));
        let found = within(node.outcome(&unnamed.key)).await.unwrap();
        assert_eq!((found.position, found.output), (unnamed.position, 11));
        let forged = format!("{}0", &unnamed.key[..unnamed.key.len() - 1]);
        if forged != unnamed.key {
            assert_eq!(within(node.outcome(&forged)).await, Err(OutcomeError::NotFound));
        }
    }
}
