//! `boat-log` over directories that real nodes left behind: what it writes, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, Model, Node};
use examples::boat_log;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
struct Echo;

impl Model for Echo {
    type Request = Value;
    type Response = Value;

    fn predict(&mut self, _: &Context, request: Value) -> Value {
        request
    }
}

async fn start(directory: &Path) -> Node<Json<Value, Value>> {
    let node = Node::builder(0)
        .data_dir(directory)
        .members("0=local:0".parse().unwrap())
        .transport(LocalNetwork::new().transport())
        .start(Echo)
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, node.ready()).await.unwrap().unwrap();
    node
}

/// A node's directory with requests at positions 1 to 5.
async fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let node = start(directory.path()).await;
    for n in 1..=5 {
        let answer = node.predict(json!({"n": n})).key(format!("key {n}")).await.unwrap();
        assert_eq!(answer.position, n);
    }
    node.shutdown().await.unwrap();
    directory
}

/// Exit status, output and errors.
fn run(arguments: &[&str]) -> (u8, String, String) {
    run_telling(Duration::from_secs(3_600), arguments)
}

fn run_telling(progress_every: Duration, arguments: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let line = ["boat-log"].iter().chain(arguments).map(|&argument| argument.to_owned());
    let status = boat_log(line, progress_every, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn segment(directory: &Path) -> PathBuf {
    directory.join("log/0000000000000001.segment")
}

#[tokio::test]
async fn requests_are_json_lines() {
    let directory = directory().await;
    let path = directory.path().to_str().unwrap();
    let (status, out, err) = run(&["show", path, "--from", "2", "--to", "4"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<Value> = out.lines().map(json_of).collect();
    assert_eq!(lines.len(), 3);
    for (position, line) in (2..).zip(&lines) {
        assert_eq!(line["position"], position);
        assert_eq!((&line["kind"], &line["body"]), (&json!("predict"), &json!({"n": position})));
        assert_eq!(line["origin"], json!({"http_key": format!("key {position}")}));
        assert!(line["index"].as_u64() > Some(0) && line["term"].as_u64() > Some(0));
        assert!(line["time_ms"].as_u64() > Some(1_600_000_000_000));
    }
    let (status, all, err) = run(&["show", path]);
    assert_eq!((status, all.lines().count(), err.as_str()), (0, 5, ""));
    assert!(all.contains(&out));
    let (status, out, err) = run(&["show", path, "--from", "9"]);
    assert_eq!((status, out.as_str(), err.as_str()), (0, "", "boat-log: the last position is 5\n"));
}

#[tokio::test]
async fn a_sound_directory_is_said_to_be() {
    let directory = directory().await;
    let path = directory.path().to_str().unwrap();
    let (status, out, err) = run(&["inspect", path]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("positions   1 to 5") && out.contains("0000000000000001.segment"), "{out}");
    let (status, out, _) = run(&["inspect", path, "--json"]);
    let found = json_of(&out);
    assert_eq!((status, &found["log"]["last_position"]), (0, &json!(5)));
    assert_eq!((&found["identity"]["node"], &found["identity"]["boots"]), (&json!(0), &json!(1)));
    assert_eq!(found["log"]["segments"][0]["first_position"], 1);
    let (status, out, _) = run(&["inspect", path, "--json", "--no-positions"]);
    assert_eq!((status, &json_of(&out)["log"]["last_position"]), (0, &Value::Null));
    let (status, out, _) = run(&["verify", path]);
    assert!(status == 0 && out.starts_with("sound: 1 segments, "), "{out}");
    let (status, out, err) = run_telling(Duration::ZERO, &["verify", path, "--json"]);
    assert_eq!((status, &json_of(&out)["verdict"]), (0, &json!("sound")));
    assert!(err.starts_with("read 0.0 of ") && err.contains(" MiB/s"), "{err}");
}

#[tokio::test]
async fn torn_and_corrupt_logs_have_statuses_of_their_own() {
    let directory = directory().await;
    let path = directory.path().to_str().unwrap();
    let sound = fs::read(segment(directory.path())).unwrap();
    let end = (sound.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(8);

    let mut torn = sound.clone();
    torn[end..end + 16].fill(0xa5);
    fs::write(segment(directory.path()), &torn).unwrap();
    let (status, out, _) = run(&["verify", path, "--json"]);
    let found = json_of(&out);
    assert_eq!((status, &found["verdict"], &found["offset"]), (1, &json!("torn_tail"), &json!(end)));
    assert_eq!(run(&["inspect", path]).0, 0);

    // The last request was synced before it was answered; what follows is only a commit, which need not be.
    let mut corrupt = sound.clone();
    let request = sound.windows(7).position(|bytes| bytes == br#"{"n":5}"#).unwrap();
    corrupt[request] ^= 1;
    fs::write(segment(directory.path()), &corrupt).unwrap();
    let (status, out, _) = run(&["verify", path, "--json"]);
    let found = json_of(&out);
    assert_eq!((status, &found["verdict"]), (2, &json!("corrupt")));
    assert_eq!(found["file"], segment(directory.path()).to_str().unwrap());
    assert!(found["offset"].as_u64() < Some(request as u64));
    let (status, text, _) = run(&["verify", path]);
    assert!(status == 2 && text.contains(&format!("at byte {}", found["offset"])), "{text}");
    let (status, out, _) = run(&["inspect", path, "--json"]);
    assert_eq!((status, json_of(&out)["problems"].as_array().unwrap().len()), (2, 1));
    // What stands before the damage can still be read.
    let (status, out, _) = run(&["show", path, "--to", "2"]);
    assert_eq!((status, out.lines().count()), (0, 2));

    corrupt[20] ^= 1;
    fs::write(segment(directory.path()), &corrupt).unwrap();
    let (status, _, err) = run(&["show", path]);
    assert!(status == 2 && err.contains("0000000000000001.segment"), "{err}");
}

#[tokio::test]
async fn a_directory_in_use_and_wrong_usage_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let node = start(directory.path()).await;
    for task in ["inspect", "show", "verify"] {
        let (status, out, err) = run(&[task, path]);
        assert_eq!((status, out.as_str()), (75, ""), "{task}");
        assert!(err.contains("in use"), "{err}");
    }
    node.shutdown().await.unwrap();
    drop(node);
    assert_eq!(run(&["verify", path]).0, 0);
    let nowhere = directory.path().join("nowhere");
    let wrong: [&[&str]; 6] = [
        &[],
        &["mend", path],
        &["show", path, "--from", "0"],
        &["show", path, "--from", "3", "--to", "2"],
        &["verify"],
        &["verify", nowhere.to_str().unwrap()],
    ];
    for arguments in wrong {
        let (status, out, err) = run(arguments);
        assert_eq!((status, out.as_str(), err.is_empty()), (64, "", false), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["show", "--help"], &["verify", "--help"]] {
        let (status, out, err) = run(arguments);
        assert!(status == 0 && out.contains("Usage: boat-log") && err.is_empty(), "{out}{err}");
    }
}
