//! The management frontend: applications, and what it refuses.

use serde_json::{Value, json};

use crate::target::{Target, model, unique};

#[tokio::test]
async fn it_answers_a_ping() {
    let target = Target::find().await;
    let pong = target.admin("GET", "/admin/ping", "").await.unwrap();
    assert_eq!((pong.status(), pong.text()), (200, "PONG"));
}

#[tokio::test]
async fn what_it_does_not_know_is_closed_without_a_byte() {
    let target = Target::find().await;
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/admin/ping"),
        ("GET", "/admin/get_all_applications"),
        ("POST", "/admin/get_all_applications/"),
        ("POST", "/admin/metrics"),
        ("PUT", "/admin/add_app"),
        ("POST", "/add_app"),
    ] {
        assert_eq!(target.admin(method, path, "{}").await, None, "{method} {path}");
    }
}

/// Every endpoint, with a body that it would accept but for what it is about.
fn bodies() -> Vec<(&'static str, Value)> {
    let application = json!({
        "name": "a", "input_type": "ints", "default_output": "", "latency_slo_micros": 1
    });
    let version = json!({"model_name": "m", "model_version": "1"});
    let links = json!({"app_name": "a", "model_names": ["m"]});
    vec![
        ("add_app", application),
        ("delete_app", json!({"name": "a"})),
        ("add_model", model("m", "1", "ints")),
        ("set_model_version", version.clone()),
        ("delete_versioned_model", version.clone()),
        ("add_model_links", links.clone()),
        ("delete_model_links", links),
        ("get_all_applications", json!({"verbose": false})),
        ("get_application", json!({"name": "a"})),
        ("get_linked_models", json!({"app_name": "a"})),
        ("get_all_models", json!({"verbose": false})),
        ("get_model", version),
        ("get_all_containers", json!({"verbose": false})),
        ("get_container", json!({"model_name": "m", "model_version": "1", "replica_id": 0})),
        ("get_state", json!({"app_name": "a", "uid": 0})),
    ]
}

#[tokio::test]
async fn every_endpoint_refuses_what_it_cannot_read() {
    let target = Target::find().await;
    for (endpoint, good) in bodies() {
        for wrong in ["", "{", "{} x"] {
            let got = target.admin("POST", &format!("/admin/{endpoint}"), wrong).await.unwrap();
            assert_eq!(got.status(), 400, "{endpoint} {wrong}: {}", got.text());
        }
        target.manage(endpoint, &json!([1]), 400).await;
        for (field, value) in good.as_object().unwrap() {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            let said = target.manage(endpoint, &body, 400).await;
            assert!(said.contains(field.as_str()), "{endpoint} without {field}: {said}");
            // A list stands for what is none, and a number for a list.
            body[field] = if value.is_array() { json!(7) } else { json!([]) };
            target.manage(endpoint, &body, 400).await;
        }
    }
}

#[tokio::test]
async fn applications_come_and_go() {
    let target = Target::find().await;
    let name = unique("we,ird:na me");
    let body = json!({
        "name": name, "input_type": "int", "default_output": "-1.0", "latency_slo_micros": -5
    });
    let before = target.get("get_application", &json!({"name": name})).await;
    assert_eq!(before, json!({}));
    target.manage("add_app", &body, 200).await;
    target.manage("add_app", &body, 400).await;
    let text = target.manage("get_application", &json!({"name": name}), 200).await;
    let shown = json!({
        "input_type": "integers", "default_output": "-1.0", "latency_slo_micros": -5, "name": name,
        "linked_models": []
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), shown);
    let order = ["input_type", "default_output", "latency_slo_micros", "\"name\"", "linked_models"];
    assert!(order.map(|key| text.find(key).unwrap()).is_sorted(), "{text}");
    let contains = |all: &Value, one: &Value| all.as_array().unwrap().contains(one);
    let names = target.get("get_all_applications", &json!({"verbose": false})).await;
    assert!(contains(&names, &json!(name)), "{names}");
    let all = target.get("get_all_applications", &json!({"verbose": true})).await;
    assert!(contains(&all, &shown), "{all}");
    assert_eq!(target.manage("get_state", &json!({"app_name": name, "uid": 0}), 200).await, "-1.0");
    assert_eq!(target.manage("get_state", &json!({"app_name": unique("x"), "uid": 0}), 200).await, "");
    target.manage("delete_app", &json!({"name": name}), 200).await;
    target.manage("delete_app", &json!({"name": name}), 400).await;
    assert_eq!(target.get("get_application", &json!({"name": name})).await, json!({}));
}

#[tokio::test]
async fn an_unknown_input_type_is_refused() {
    let target = Target::find().await;
    if target.is_engine() {
        // A real Clipper hangs for five seconds and closes.
        let name = unique("app");
        let body = json!({"name": name, "input_type": "text", "default_output": "", "latency_slo_micros": 1});
        target.manage("add_app", &body, 400).await;
        target.manage("add_model", &model("m", "1", "text"), 400).await;
    }
}
