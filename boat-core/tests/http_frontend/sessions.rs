//! `POST /sessions`, and requests in a session; feedback beside predictions.

use std::time::Duration;

use boat_core::http::{HttpOptions, Identity, SessionPlace};
use boat_core::{RequestKind, SessionError};

use crate::Frontend;
use crate::client::{bare, post};

#[tokio::test]
async fn a_session_is_opened_and_named_in_its_requests() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for body in ["", "{}"] {
        let reply = client.ask(post("/sessions", "", body)).await;
        assert_eq!((reply.status, reply.header("boat-position")), (201, Some("9")), "{reply:?}");
        let opened = reply.json();
        assert_eq!(opened["session"], "9-00000000000000ab");
        assert_eq!((&opened["outcomes_max"], &opened["expires_after_ms"]), (&64.into(), &600_000.into()));
    }
    let headers = "Boat-Session: 9-00000000000000ab\r\nBoat-Sequence: 4\r\nBoat-Lowest-Unanswered: 2\r\n";
    for (path, kind) in [("/predict", RequestKind::Predict), ("/feedback", RequestKind::Feedback)] {
        let reply = client.ask(post(path, headers, "{}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let place =
            SessionPlace { token: "9-00000000000000ab".to_owned(), sequence: 4, lowest_unanswered: 2 };
        assert_eq!(frontend.double.last_identity(), Identity::Session(place));
        assert_eq!(frontend.double.last_kind(), kind);
    }
}

#[tokio::test]
async fn half_a_place_in_a_session_is_refused() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for headers in [
        "Boat-Session: 9-ab\r\n",
        "Boat-Sequence: 4\r\n",
        "Boat-Session: 9-ab\r\nBoat-Sequence: 4\r\n",
        "Boat-Session: 9-ab\r\nBoat-Sequence: 4\r\nBoat-Lowest-Unanswered: 5\r\n",
        "Boat-Session: 9-ab\r\nBoat-Sequence: 4\r\nBoat-Lowest-Unanswered: 4\r\nIdempotency-Key: k\r\n",
    ] {
        client.ask(post("/predict", headers, "{}")).await.problem(400, "invalid_request");
    }
    assert!(frontend.double.applied().is_empty());
}

#[tokio::test]
async fn a_session_that_is_not_opened_says_why() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    for (error, status, code) in [
        (SessionError::TooMany { sessions_max: 1 }, 503, "overloaded"),
        (SessionError::Overloaded { waiting: 1, waiting_max: 1 }, 503, "overloaded"),
        (SessionError::NoLeader(Duration::from_secs(1)), 503, "no_leader"),
        (SessionError::DiskFull, 507, "disk_full"),
        (SessionError::Stopped, 503, "shutting_down"),
    ] {
        frontend.double.fail_next_session(error);
        client.ask(post("/sessions", "", "")).await.problem(status, code);
    }
    client.ask(bare("GET", "/sessions")).await.problem(405, "method_not_allowed");
}
