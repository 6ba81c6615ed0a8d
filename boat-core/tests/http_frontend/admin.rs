//! `/admin/members` and `/admin/leader`.

use std::time::Duration;

use boat_core::http::HttpOptions;
use boat_core::{MembershipError, MembershipOperation as Operation, MembershipRefusal, NodeId};

use super::Frontend;
use super::client::{bare, post};

fn with_admin() -> HttpOptions {
    HttpOptions { allow_admin: true, ..HttpOptions::default() }
}

#[tokio::test]
async fn who_takes_part_is_told_to_all_and_changed_by_nobody_unless_allowed() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    let told = client.ask(bare("GET", "/admin/members")).await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.json()["members"].is_array());
    let addition = "{\"node\": 3, \"address\": \"10.0.0.4:8000\"}";
    for request in [
        post("/admin/members", "", addition),
        post("/admin/leader", "", "{}"),
        bare("DELETE", "/admin/members/3"),
    ] {
        let refused = client.ask(request).await.problem(403, "forbidden");
        assert!(refused["detail"].as_str().unwrap().contains("--allow-admin"));
    }
    assert!(frontend.double.operations().is_empty());
}

#[tokio::test]
async fn each_request_is_one_operation() {
    let frontend = Frontend::start(with_admin()).await;
    let mut client = frontend.client().await;
    let (node, address) = (NodeId(3), "10.0.0.4:8000".to_owned());
    let key = "Idempotency-Key: grow\r\nPrefer: wait=7\r\n";
    let addition = "{\"node\": 3, \"address\": \"10.0.0.4:8000\"}";
    let replacement = "{\"node\": 3, \"address\": \"10.0.0.4:8000\", \"replace\": true}";
    for request in [
        post("/admin/members", key, addition),
        post("/admin/members", "", replacement),
        bare("DELETE", "/admin/members/3"),
        post("/admin/leader", "", "{\"node\": 3}"),
        post("/admin/leader", "", "{}"),
    ] {
        let done = client.ask(request).await;
        assert_eq!(done.status, 200, "{done:?}");
        assert!(done.json()["members"].is_array());
    }
    let expected = [
        (Operation::Add { node, address: address.clone() }, Some("grow".to_owned())),
        (Operation::Replace { node, address }, None),
        (Operation::Remove { node }, None),
        (Operation::TransferLeader { to: Some(node) }, None),
        (Operation::TransferLeader { to: None }, None),
    ];
    assert_eq!(frontend.double.operations(), expected);
}

#[tokio::test]
async fn a_refusal_says_why_and_whether_to_try_again() {
    let frontend = Frontend::start(with_admin()).await;
    let mut client = frontend.client().await;
    let operation = Operation::Remove { node: NodeId(3) };
    for (refusal, status, code, retry) in [
        (MembershipRefusal::WouldLoseQuorum, 409, "would_lose_quorum", "safe"),
        (MembershipRefusal::ChangeUnderWay, 409, "change_under_way", "safe"),
        (MembershipRefusal::NotAMember, 404, "not_a_member", "never"),
        (MembershipRefusal::NotThere, 409, "not_there", "safe"),
        (MembershipRefusal::Unreachable, 503, "unreachable", "safe"),
    ] {
        let error = MembershipError::Refused { operation: operation.clone(), refusal };
        frontend.double.refuse_next_operation(error);
        let refused = client.ask(bare("DELETE", "/admin/members/3")).await.problem(status, code);
        assert_eq!(refused["retry"], retry, "{refused}");
    }
    let unknown = MembershipError::Unknown { waited: Duration::from_secs(30), key: "k-1".into() };
    frontend.double.refuse_next_operation(unknown);
    let unknown = client.ask(bare("DELETE", "/admin/members/3")).await.problem(504, "unknown");
    assert_eq!((&unknown["key"], &unknown["retry"]), (&"k-1".into(), &"same_key".into()));
    for (path, body) in [
        ("/admin/members", "{\"node\": 3}"),
        ("/admin/members", "{\"node\": 70000, \"address\": \"h:1\"}"),
        ("/admin/leader", "{\"nod\": 3}"),
    ] {
        client.ask(post(path, "", body)).await.problem(400, "invalid_request");
    }
    client.ask(bare("DELETE", "/admin/members/x")).await.problem(400, "invalid_request");
    let page = post("/admin/leader", "Origin: http://localhost:3000\r\n", "{}");
    client.ask(page).await.problem(403, "forbidden");
}
