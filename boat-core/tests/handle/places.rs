//! Nodes as the HTTP frontend asks them: requests in a client's session, each under the number that the client gives it, and
//! keys within the scope of a token.

use std::time::Duration;

use boat_core::config::SessionLimits;
use boat_core::http::{IdempotencyKey, Identity, Service, SessionPlace};
use boat_core::{Answer, Node, OutcomeError, PredictError, RequestKind};
use bytes::Bytes;

use crate::cluster::{Cluster, PATIENCE, SumNode, within};

async fn ask(
    node: &SumNode,
    token: &str,
    (sequence, lowest_unanswered): (u64, u64),
    body: &'static str,
) -> Result<Answer<Bytes>, PredictError> {
    let place = SessionPlace { token: token.to_owned(), sequence, lowest_unanswered };
    let (identity, body) = (Identity::Session(place), Bytes::from_static(body.as_bytes()));
    within(Service::predict(&node.raw(), RequestKind::Predict, body, identity, PATIENCE)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_stands_for_one_request_on_whichever_node() {
    let mut cluster = Cluster::new(3);
    cluster.config.sessions = SessionLimits { session_outcomes_max: 4, ..SessionLimits::default() };
    let nodes = cluster.start_all().await;
    let opened = within(Service::open_session(&nodes[0].raw(), PATIENCE)).await.unwrap();
    assert_eq!(opened.outcomes_max, 4);
    let token = opened.token.as_str();
    // Another node may not have heard of the session yet, and waits for that.
    let first = ask(&nodes[1], token, (0, 0), "5").await.unwrap();
    assert_eq!((first.output.as_ref(), first.replayed), (&b"5"[..], false));
    for node in &nodes {
        within(node.reached(first.position)).await.unwrap();
        let again = ask(node, token, (0, 0), "5").await.unwrap();
        assert_eq!((again.position, again.replayed), (first.position, true));
        assert_eq!(again.key, first.key);
        let by_key = within(node.predict(5).key(&first.key).into_future()).await.unwrap();
        assert_eq!((by_key.position, by_key.replayed), (first.position, true));
        let other = ask(node, token, (0, 0), "6").await;
        assert_eq!(other, Err(PredictError::KeyReused { position: first.position }));
    }
    let skipped = ask(&nodes[2], token, (3, 0), "1").await.unwrap();
    assert_eq!(skipped.output.as_ref(), b"6");
    let full = ask(&nodes[2], token, (4, 0), "1").await;
    assert!(matches!(full, Err(PredictError::Overloaded { waiting_max: 4, .. })), "{full:?}");
    let acknowledged = ask(&nodes[0], token, (4, 3), "1").await.unwrap();
    assert_eq!(acknowledged.output.as_ref(), b"7");
    assert_eq!(ask(&nodes[0], token, (0, 0), "5").await, Err(PredictError::OutcomeForgotten));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_its_name_lets_ask_in_a_session() {
    let mut cluster = Cluster::new(1);
    let leader_wait = Duration::from_millis(100);
    cluster.config.limits.leader_wait_ms = leader_wait.as_millis() as u64;
    cluster.config.sessions = SessionLimits { session_age_ms_max: 1_000, ..SessionLimits::default() };
    let nodes = cluster.start_all().await;
    let node = &nodes[0];
    let session = within(node.session()).await.unwrap();
    let id = session.id();
    let answer = ask(node, &session.token(), (7, 7), "1").await.unwrap();
    assert_eq!(answer.output.as_ref(), b"1");
    for wrong in [format!("{id}-0000000000000000"), id.to_string(), answer.key.clone(), String::new()] {
        let refused = ask(node, &wrong, (8, 8), "1").await;
        assert!(matches!(refused, Err(PredictError::Invalid(_))), "{wrong}: {refused:?}");
    }
    // A position that is not there yet may still become a session's.
    let early = ask(node, &format!("{}-0", id + 1_000), (0, 0), "1").await;
    assert!(matches!(early, Err(PredictError::Behind { .. })), "{early:?}");
    within(async {
        let began = tokio::time::Instant::now();
        let mut asked = 0;
        while began.elapsed() < Duration::from_millis(1_300) {
            asked += 1;
            node.predict(0).key(asked.to_string()).await.unwrap();
        }
    })
    .await;
    let expired = ask(node, &session.token(), (8, 8), "1").await;
    assert_eq!(expired, Err(PredictError::SessionExpired { session: id }));
    assert_eq!(within(node.predict(0).into_future()).await.unwrap().output, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_told_to_the_token_that_asked() {
    let cluster = Cluster::new(1);
    let nodes = cluster.start_all().await;
    let node: Node = nodes[0].raw();
    let key = IdempotencyKey::new("k").unwrap().scoped_by(b"Bearer t");
    let body = Bytes::from_static(b"9");
    let asked = Service::predict(&node, RequestKind::Feedback, body, Identity::Key(key.clone()), PATIENCE);
    let asked = within(asked).await.unwrap();
    let found = within(Service::outcome(&node, &key)).await.unwrap();
    assert_eq!((found.position, found.output.as_ref(), found.replayed), (asked.position, &b"90"[..], true));
    for other in [IdempotencyKey::new("k").unwrap(), IdempotencyKey::new("k").unwrap().scoped_by(b"Bearer u")]
    {
        assert_eq!(within(Service::outcome(&node, &other)).await, Err(OutcomeError::NotFound));
    }
}
