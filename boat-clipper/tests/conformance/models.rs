//! The management frontend: models, versions and links.

use boat_clipper::InputType;
use serde_json::{Value, json};

use crate::target::{Target, answering, model, unique};

fn version(name: &str, version: &str) -> Value {
    json!({"model_name": name, "model_version": version})
}

#[tokio::test]
async fn models_have_versions_of_which_the_last_added_is_current() {
    let target = Target::find().await;
    let name = unique("model");
    target.add_model(&name, "1", "strings").await;
    target.add_model(&name, "2", "strings").await;
    target.manage("add_model", &model(&name, "2", "strings"), 400).await;
    let shown = |version: &str, is_current: bool| {
        json!({
            "model_name": name, "model_version": version, "input_type": "strings", "labels": ["some"],
            "container_name": "NO_CONTAINER", "model_data_path": "DEPRECATED", "is_current_version": is_current
        })
    };
    assert_eq!(target.get("get_model", &version(&name, "1")).await, shown("1", false));
    assert_eq!(target.get("get_model", &version(&name, "2")).await, shown("2", true));
    assert_eq!(target.get("get_model", &version(&name, "3")).await, json!({}));
    target.manage("set_model_version", &version(&name, "1"), 200).await;
    target.manage("set_model_version", &version(&name, "9"), 400).await;
    target.manage("set_model_version", &version(&unique("x"), "1"), 400).await;
    let all = target.get("get_all_models", &json!({"verbose": true})).await;
    for shown in [shown("1", true), shown("2", false)] {
        assert!(all.as_array().unwrap().contains(&shown), "{all}");
    }
    let names = target.get("get_all_models", &json!({"verbose": false})).await;
    assert!(names.as_array().unwrap().contains(&json!(format!("{name}:2"))), "{names}");
    target.manage("delete_versioned_model", &version(&name, "2"), 200).await;
    target.manage("delete_versioned_model", &version(&name, "9"), 400).await;
}

#[tokio::test]
async fn every_alias_of_an_input_type_is_reported_by_its_canonical_name() {
    let target = Target::find().await;
    for (canonical, aliases) in [
        ("bytes", &["bytes", "byte", "b"][..]),
        ("integers", &["integers", "ints", "integer", "int", "i"]),
        ("floats", &["floats", "float", "f"]),
        ("doubles", &["doubles", "double", "d"]),
        ("strings", &["strings", "string", "str", "strs", "s"]),
    ] {
        for alias in aliases {
            let name = unique("model");
            target.add_model(&name, "1", alias).await;
            assert_eq!(target.get("get_model", &version(&name, "1")).await["input_type"], canonical);
        }
    }
}

#[tokio::test]
async fn models_that_cannot_be_are_refused() {
    let target = Target::find().await;
    let with = |field: &str, value: Value| {
        let mut body = model(&unique("model"), "1", "ints");
        body[field] = value;
        body
    };
    for wrong in [
        with("batch_size", json!(0)),
        with("batch_size", json!(-2)),
        with("model_name", json!("a:b")),
        with("model_name", json!("a,b")),
        with("model_version", json!("1:2")),
        with("labels", json!(["a:b"])),
        with("labels", json!([1])),
    ] {
        target.manage("add_model", &wrong, 400).await;
    }
    let unlabelled = with("labels", json!([]));
    target.manage("add_model", &unlabelled, 200).await;
    let name = unlabelled["model_name"].as_str().unwrap();
    assert_eq!(target.get("get_model", &version(name, "1")).await["labels"], json!([""]));
    target.manage("add_model", &with("batch_size", json!(-1)), 200).await;
}

#[tokio::test]
async fn an_application_is_linked_with_one_model_of_its_type() {
    let target = Target::find().await;
    let application = target.add_application("doubles", "", 1_000_000).await;
    let (doubles, ints) = (unique("doubles"), unique("ints"));
    target.add_model(&doubles, "1", "doubles").await;
    target.add_model(&ints, "1", "ints").await;
    let links = |application: &str, models: &[&str]| json!({"app_name": application, "model_names": models});
    let linked = json!({"app_name": application});
    assert_eq!(target.get("get_linked_models", &linked).await, json!([]));
    for wrong in [
        links(&unique("x"), &[&doubles]),
        links(&application, &[&unique("x")]),
        links(&application, &[&ints]),
        links(&application, &[]),
        links(&application, &[&doubles, &ints]),
    ] {
        target.manage("add_model_links", &wrong, 400).await;
    }
    target.manage("add_model_links", &links(&application, &[&doubles]), 200).await;
    target.manage("add_model_links", &links(&application, &[&doubles]), 400).await;
    let other = unique("other");
    target.add_model(&other, "1", "doubles").await;
    target.manage("add_model_links", &links(&application, &[&other]), 400).await;
    target.manage("add_model", &model(&doubles, "2", "ints"), 400).await;
    assert_eq!(target.get("get_linked_models", &linked).await, json!([doubles]));
    let shown = target.get("get_application", &json!({"name": application})).await;
    assert_eq!(shown["linked_models"], json!([doubles]));
    target.manage("get_linked_models", &json!({"app_name": unique("x")}), 400).await;
    target.manage("delete_model_links", &links(&application, &[&ints]), 400).await;
    target.manage("delete_model_links", &links(&unique("x"), &[&doubles]), 400).await;
    target.manage("delete_model_links", &links(&application, &[&doubles]), 200).await;
    assert_eq!(target.get("get_linked_models", &linked).await, json!([]));
}

#[tokio::test]
async fn containers_are_listed_by_model_version_and_number() {
    let target = Target::find().await;
    let (_, name, _container) =
        target.serving(InputType::Strings, r#"{"input":"a"}"#, answering(ToString::to_string)).await;
    let shown = json!({
        "model_id": format!("{name}:1"), "model_name": name, "model_version": "1", "model_replica_id": 0,
        "input_type": "strings"
    });
    let names = target.get("get_all_containers", &json!({"verbose": false})).await;
    assert!(names.as_array().unwrap().contains(&json!(format!("{name}:1:0"))), "{names}");
    let all = target.get("get_all_containers", &json!({"verbose": true})).await;
    assert!(all.as_array().unwrap().contains(&shown), "{all}");
    let one = |replica: i32| json!({"model_name": name, "model_version": "1", "replica_id": replica});
    assert_eq!(target.get("get_container", &one(0)).await, shown);
    assert_eq!(target.get("get_container", &one(7)).await, json!({}));
}
