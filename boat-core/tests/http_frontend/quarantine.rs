//! `/admin/quarantine`.

use std::time::Duration;

use boat_core::QuarantineError;
use boat_core::http::HttpOptions;

use super::Frontend;
use super::client::post;

#[tokio::test]
async fn an_operator_on_the_nodes_own_machine_has_a_held_request_put_aside() {
    let frontend = Frontend::start(HttpOptions { allow_control: true, ..HttpOptions::default() }).await;
    let mut client = frontend.client().await;
    let done = client.ask(post("/admin/quarantine", "", "{\"position\": 7}")).await;
    assert_eq!(
        (done.status, &done.json()["position"], &done.json()["quarantined"]),
        (200, &7.into(), &true.into())
    );
    assert_eq!(frontend.double.quarantined(), [7]);
    for body in ["{}", "{\"position\": -1}", "{\"position\": 7, \"force\": true}", "seven"] {
        client.ask(post("/admin/quarantine", "", body)).await.problem(400, "invalid_request");
    }
    let page = post("/admin/quarantine", "Origin: http://localhost:3000\r\n", "{\"position\": 8}");
    client.ask(page).await.problem(403, "forbidden");
    assert_eq!(frontend.double.quarantined(), [7]);
}

#[tokio::test]
async fn why_a_request_was_not_put_aside_is_told() {
    let frontend = Frontend::start(HttpOptions { allow_control: true, ..HttpOptions::default() }).await;
    let mut client = frontend.client().await;
    let waited = Duration::from_secs(5);
    for (error, status, code) in [
        (QuarantineError::NotHeld { position: 7 }, 404, ("not_found", "never")),
        (QuarantineError::Unknown { waited }, 504, ("undecided", "same_request")),
        (QuarantineError::Stopped, 503, ("shutting_down", "safe")),
    ] {
        frontend.double.refuse_next_quarantine(error);
        let told = client.ask(post("/admin/quarantine", "", "{\"position\": 7}")).await;
        told.problem(status, code.0);
        assert_eq!(told.json()["retry"], code.1);
    }
    assert!(frontend.double.quarantined().is_empty());
}

#[tokio::test]
async fn nobody_puts_a_request_aside_where_that_is_not_allowed() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let refused = frontend.client().await.ask(post("/admin/quarantine", "", "{\"position\": 7}")).await;
    assert!([403, 404].contains(&refused.status), "{refused:?}");
    assert!(frontend.double.quarantined().is_empty());
}
