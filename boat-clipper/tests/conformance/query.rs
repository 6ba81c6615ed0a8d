//! The query frontend.

use std::time::{Duration, Instant};

use boat_clipper::InputType;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::{read, request};
use crate::target::{Target, answering, unique};

const NO_MODEL: &str = "No connected models found for query";
const TOO_LATE: &str = "Failed to retrieve a prediction response within the specified latency SLO";

#[tokio::test]
async fn what_it_does_not_know_is_closed_without_a_byte() {
    let target = Target::find().await;
    let application = target.add_application("strings", "", 1_000_000).await;
    for (method, path) in [
        ("GET", "/".to_owned()),
        ("GET", format!("/{application}/predict")),
        ("PUT", format!("/{application}/predict")),
        ("POST", format!("/{}/predict", unique("x"))),
        ("POST", format!("/{application}/forget")),
        ("POST", "/metrics".to_owned()),
    ] {
        assert_eq!(target.query(method, &path, "{}").await, None, "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_model_the_default_comes_at_once() {
    let target = Target::find().await;
    let application = target.add_application("strings", "-1.0", 60_000_000).await;
    let expected = |answer: &Value| {
        assert!(answer["query_id"].is_u64(), "{answer}");
        assert_eq!((&answer["output"], &answer["default"]), (&json!(-1.0), &json!(true)));
        assert_eq!(answer["default_explanation"], NO_MODEL);
        assert_eq!(answer.as_object().unwrap().len(), 4);
    };
    let started = Instant::now();
    expected(&target.predict(&application, r#"{"input":"a"}"#).await);
    let batch = target.predict(&application, r#"{"input_batch":["a","b"]}"#).await;
    batch["batch_predictions"].as_array().unwrap().iter().for_each(expected);
    // Linked with a model that nobody serves it is the same.
    let name = unique("model");
    target.add_model(&name, "1", "strings").await;
    target.manage("add_model_links", &json!({"app_name": application, "model_names": [name]}), 200).await;
    expected(&target.predict(&application, r#"{"input":"a"}"#).await);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn answers_have_clippers_shape() {
    let target = Target::find().await;
    let (application, _, _container) =
        target.serving(InputType::Strings, r#"{"input":"probe"}"#, answering(ToString::to_string)).await;
    let path = format!("/{application}/predict");
    let got = target.query("POST", &path, r#"{"input":"Hello"}"#).await.unwrap();
    let first: Value = serde_json::from_str(got.text()).unwrap();
    let id = first["query_id"].as_u64().unwrap();
    assert_eq!(got.text(), format!("{{\"query_id\":{id},\"output\":\"Hello\",\"default\":false}}"));
    // A batch of one is answered like a single input; of two keys `input` counts.
    for body in [r#"{"input_batch":["b1"]}"#, r#"{"input_batch":["x","y"],"input":"b1"}"#] {
        assert_eq!(target.predict(&application, body).await["output"], "b1");
    }
    let empty = target.query("POST", &path, r#"{"input_batch":[]}"#).await.unwrap();
    assert_eq!(empty.text(), r#"{"batch_predictions":[]}"#);
    let inputs: Vec<String> = (0..20).map(|n| format!("in{n}")).collect();
    let batch = target.predict(&application, &json!({ "input_batch": inputs }).to_string()).await;
    let batch = batch["batch_predictions"].as_array().unwrap();
    assert_eq!(batch.iter().map(|element| element["output"].as_str().unwrap()).collect::<Vec<_>>(), inputs);
    let ids: Vec<u64> = batch.iter().map(|element| element["query_id"].as_u64().unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]) && ids[0] > id, "{ids:?}");
    // Outputs that are JSON are inlined.
    for (output, inlined) in [("42", "42"), ("1.0", "1.0"), ("true", "true"), ("[3.25]", "[3.25]")] {
        let body = json!({ "input": output }).to_string();
        let got = target.query("POST", &path, &body).await.unwrap();
        assert!(got.text().contains(&format!("\"output\":{inlined},")), "{}", got.text());
    }
    // A slash and a query string do not matter.
    let slash = target.query("POST", &format!("{path}/?x=1"), r#"{"input":"s"}"#).await.unwrap();
    assert_eq!(slash.status(), 200);
}

#[tokio::test]
async fn each_input_type_has_its_rules() {
    let target = Target::find().await;
    for (input_type, good, output, wrong) in [
        (InputType::Integers, "[1,-2]", json!([1, -2]), &["[1.0]", "[1e3]", "[2147483648]", "\"1\""][..]),
        (InputType::Doubles, "[1.5,1e3]", json!([1.5, 1000.0]), &["[1,2]", "\"1\"", "[\"1\"]"]),
        (InputType::Floats, "[1.5]", json!([1.5]), &["[1]", "[3.5e38]", "1.5"]),
        (InputType::Bytes, "\"aGk=\"", json!("aGk="), &["[1]", "1"]),
        (InputType::Strings, "\"hi\"", json!("hi"), &["[\"hi\"]", "1"]),
    ] {
        let probe = format!("{{\"input\":{good}}}");
        let (application, _, _container) =
            target.serving(input_type, &probe, answering(ToString::to_string)).await;
        assert_eq!(target.predict(&application, &probe).await["output"], output);
        for wrong in wrong {
            let body = format!("{{\"input\":{wrong}}}");
            let got = target.query("POST", &format!("/{application}/predict"), &body).await.unwrap();
            assert_eq!(got.status(), 400, "{input_type} {wrong}: {}", got.text());
        }
    }
}

#[tokio::test]
async fn bad_bodies_get_400_with_error_and_cause() {
    let target = Target::find().await;
    let application = target.add_application("strings", "", 1_000_000).await;
    let name = unique("model");
    target.add_model(&name, "1", "strings").await;
    target.manage("add_model_links", &json!({"app_name": application, "model_names": [name]}), 200).await;
    let mut bodies = vec![
        ("", "Json error"),
        ("{", "Json error"),
        (r#"{"input":"a"} b"#, "Json error"),
        ("[1]", "Json error"),
        ("null", "Json error"),
        ("{}", "Json error"),
        (r#"{"input":1}"#, "Json error"),
        (r#"{"input_batch":"a"}"#, "Json error"),
        (r#"{"input":"a","version":1}"#, "Json error"),
        (r#"{"input":"a","version":"99"}"#, "Query processing error"),
    ];
    if target.is_engine() {
        bodies.extend([("\"a\"", "Json error"), ("1", "Json error")]);
    }
    for (body, error) in bodies {
        let got = target.query("POST", &format!("/{application}/predict"), body).await.unwrap();
        assert_eq!(got.status(), 400, "{body}");
        let said: Value = serde_json::from_str(got.text()).unwrap();
        assert_eq!((&said["error"], said.as_object().unwrap().len()), (&json!(error), 2), "{said}");
        assert!(said["cause"].is_string(), "{said}");
    }
    if target.is_engine() {
        // Clipper's query frontend crashes.
        let unlinked = target.add_application("strings", "", 1_000_000).await;
        let body = r#"{"input":"a","version":"1"}"#;
        let got = target.query("POST", &format!("/{unlinked}/predict"), body).await.unwrap();
        assert_eq!(got.status(), 400);
    }
}

#[tokio::test]
async fn a_model_that_is_too_slow_gives_the_default_at_the_slo() {
    let target = Target::find().await;
    let slow = answering(|input| {
        if input.to_string() == "slow" {
            std::thread::sleep(Duration::from_millis(900));
        }
        "out".to_owned()
    });
    let (_, name, _container) = target.serving(InputType::Strings, r#"{"input":"probe"}"#, slow).await;
    let hasty = target.add_application("strings", "none", 300_000).await;
    target.manage("add_model_links", &json!({"app_name": hasty, "model_names": [name]}), 200).await;
    target.until_answered(&hasty, r#"{"input":"quick"}"#).await;
    let started = Instant::now();
    let late = target.predict(&hasty, r#"{"input":"slow"}"#).await;
    assert!(started.elapsed() >= Duration::from_millis(290));
    assert_eq!((&late["output"], &late["default"]), (&json!("none"), &json!(true)));
    assert_eq!(late["default_explanation"], TOO_LATE);
}

#[tokio::test]
async fn the_selected_version_answers_and_another_on_demand() {
    let target = Target::find().await;
    let (application, name, _one) =
        target.serving(InputType::Strings, r#"{"input":"probe"}"#, answering(|_| "one".to_owned())).await;
    target.add_model(&name, "2", "strings").await;
    let _two = target.serve(&name, "2", InputType::Strings, answering(|_| "two".to_owned()));
    target.until_answered(&application, r#"{"input":"probe 2"}"#).await;
    let output = async |body: &str| target.predict(&application, body).await["output"].clone();
    assert_eq!(output(r#"{"input":"a"}"#).await, "two");
    assert_eq!(output(r#"{"input":"b","version":"1"}"#).await, "one");
    target.manage("set_model_version", &json!({"model_name": name, "model_version": "1"}), 200).await;
    let until = Instant::now() + Duration::from_secs(20);
    // Eventually, says Clipper.
    let mut asked = 0;
    while output(&json!({ "input": format!("c{asked}") }).to_string()).await != "one" {
        assert!(Instant::now() < until, "the old version goes on answering");
        asked += 1;
    }
    target.manage("delete_versioned_model", &json!({"model_name": name, "model_version": "1"}), 200).await;
    let body = json!({ "input": "gone", "version": "1" }).to_string();
    let until = Instant::now() + Duration::from_secs(20);
    while target.query("POST", &format!("/{application}/predict"), &body).await.unwrap().status() != 400 {
        assert!(Instant::now() < until, "a removed version goes on answering");
    }
}

#[tokio::test]
async fn feedback_is_accepted_and_ignored() {
    let target = Target::find().await;
    let application = target.add_application("strings", "", 1_000_000).await;
    for (body, status, text) in [
        (r#"{"uid":0,"input":"a","label":1.0}"#, 200, Some("Feedback received? 1")),
        (r#"{"uid":7,"input":"a","label":1.0}"#, 200, Some("Feedback received? 0")),
        (r#"{"uid":"0","input":"a","label":1.0}"#, 400, None),
        (r#"{"uid":0,"input":"a","label":1}"#, 400, None),
        (r#"{"uid":0,"input":1,"label":1.0}"#, 400, None),
        (r#"{"uid":0,"label":1.0}"#, 400, None),
        ("", 400, None),
    ] {
        let got = target.query("POST", &format!("/{application}/update"), body).await.unwrap();
        assert_eq!(got.status(), status, "{body}: {}", got.text());
        assert!(text.is_none_or(|text| got.text() == text), "{}", got.text());
    }
}

#[tokio::test]
async fn metrics_have_clippers_shape() {
    let target = Target::find().await;
    let (application, name, _container) =
        target.serving(InputType::Strings, r#"{"input":"probe"}"#, answering(ToString::to_string)).await;
    let got = target.query("GET", "/metrics", "").await.unwrap();
    assert!(
        got.text().starts_with("{\n    \"counters\": [") && got.text().ends_with("}\n"),
        "{}",
        got.text()
    );
    let metrics: Value = serde_json::from_str(got.text()).unwrap();
    let find = |category: &str, name: &str| {
        let all = metrics[category].as_array().unwrap();
        let found = all.iter().find_map(|one| one.get(name));
        found.unwrap_or_else(|| panic!("no {name} in {category}: {metrics}")).clone()
    };
    let fields = ["count"];
    let ratio = ["ratio"];
    let meter = ["unit", "rate", "rate_1min", "rate_5min", "rate_15min"];
    let histogram = ["unit", "size", "min", "max", "mean", "std_dev", "p50", "p95", "p99"];
    let (app, model) = (format!("app:{application}"), format!("model:{name}:1"));
    for (category, name, fields) in [
        ("counters", format!("{app}:num_predictions"), &fields[..]),
        ("counters", format!("{model}:num_predictions"), &fields),
        ("counters", "internal:aggregate_num_predictions".to_owned(), &fields),
        ("ratio_counters", format!("{app}:default_prediction_ratio"), &ratio),
        ("ratio_counters", format!("{model}:cache_hit_ratio"), &ratio),
        ("ratio_counters", "internal:prediction_cache_hit_ratio".to_owned(), &ratio),
        ("meters", format!("{app}:prediction_throughput"), &meter),
        ("meters", format!("{model}:prediction_throughput"), &meter),
        ("meters", "internal:aggregate_model_throughput".to_owned(), &meter),
        ("histograms", format!("{app}:prediction_latency"), &histogram),
        ("histograms", format!("{model}:prediction_latency"), &histogram),
        ("histograms", format!("{model}:batch_size"), &histogram),
    ] {
        let found = find(category, &name);
        for field in fields {
            assert!(found[field].is_string(), "{name}: {field} in {found}");
        }
        assert_eq!(found.as_object().unwrap().len(), fields.len(), "{name}: {found}");
    }
    let count = find("counters", &format!("{model}:num_predictions"));
    assert!(count["count"].as_str().unwrap().parse::<u64>().unwrap() >= 1);
}

#[tokio::test]
async fn connections_are_kept_and_chunked_bodies_read() {
    let target = Target::find().await;
    let application = target.add_application("strings", "", 1_000_000).await;
    let path = format!("/{application}/predict");
    let mut stream = TcpStream::connect(target.query_address()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&request("POST", &path, br#"{"input":"a"}"#)).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap().status(), 200);
    }
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunks = "7\r\n{\"input\r\n6\r\n\":\"a\"}\r\n0\r\n\r\n";
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap().status(), 200);
}
