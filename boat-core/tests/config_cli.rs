//! Flags, environment and file, as a program of its own would use them. The environment belongs to the whole process, so
//! what needs it runs in a child: this test's own binary, told by a variable which part to play.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and its helpers with it"
)]

use std::process::{Command, Output};

use boat_core::NodeId;
use boat_core::config::cli::{NodeFlags, with_defaults};
use boat_core::config::{ConfigError, NoBackend, NodeConfig};
use clap::{CommandFactory, FromArgMatches, Parser};

#[derive(Parser)]
struct Node {
    #[command(flatten)]
    node: NodeFlags,
}

fn load(line: &[&str]) -> Result<NodeConfig, ConfigError> {
    let line = [&["node"], line].concat();
    let matches = with_defaults(Node::command()).try_get_matches_from(line).unwrap();
    Node::from_arg_matches(&matches).unwrap().node.load::<NoBackend>()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// Plays the child: prints what it loaded.
#[test]
#[ignore = "the child that the other tests start"]
fn child() {
    let line = std::env::var("CONFIG_CLI_LINE").unwrap();
    let line: Vec<&str> = line.split_whitespace().collect();
    let config = load(&line).unwrap();
    println!(
        "loaded {} {} {} {} {}",
        config.node_id,
        config.timing.tick_ms,
        config.timing.heartbeat_ticks,
        config.timing.election_ticks,
        config.http.allow_control
    );
}

fn run_child(line: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .env("CONFIG_CLI_LINE", line)
        .envs(environment.iter().copied());
    let Output { stdout, stderr, .. } = command.output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let loaded =
        stdout.lines().find_map(|line| line.split_once("loaded ")).map(|(_, loaded)| loaded.to_owned());
    loaded.unwrap_or_else(|| panic!("{stdout}\n{}", String::from_utf8_lossy(&stderr)))
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = file("node_id = 4\n[timing]\ntick_ms = 11\nheartbeat_ticks = 4\n[http]\nallow_control = true");
    let line = format!("--config {} --tick-ms 13", file.path().display());
    let environment = [("BOAT_TICK_MS", "12"), ("BOAT_NODE_ID", "5"), ("BOAT_ALLOW_CONTROL", "false")];
    assert_eq!(run_child("", &[]), "0 20 3 15 false");
    assert_eq!(run_child(&line, &[]), "4 13 4 15 true");
    assert_eq!(run_child(&line, &environment), "5 13 4 15 false");
    assert_eq!(run_child(&format!("{line} --allow-control"), &environment), "5 13 4 15 true");
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let file = file("node_id = 6");
    let path = file.path().display().to_string();
    assert_eq!(run_child("", &[("BOAT_CONFIG", &path)]), "6 20 3 15 false");
}

#[test]
fn every_field_has_a_flag_a_variable_and_a_default_in_the_help() {
    let mut config = NodeConfig::<NoBackend> { peer_address: Some(String::new()), ..NodeConfig::default() };
    config.members = "0=a:1".parse().unwrap();
    let config = serde_json::to_value(config).unwrap();
    let sections = config.as_object().unwrap().iter().filter(|(name, _)| *name != "backend");
    let fields = sections.flat_map(|(name, value)| match value.as_object() {
        Some(section) => section.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        None => vec![(name.clone(), value.clone())],
    });
    let command = with_defaults(Node::command());
    for (field, default) in fields {
        let arg = command.get_arguments().find(|arg| arg.get_id() == field.as_str());
        let arg = arg.unwrap_or_else(|| panic!("{field} has no flag"));
        assert_eq!(arg.get_long(), Some(field.replace('_', "-").as_str()));
        assert_eq!(arg.get_env().unwrap().to_str().unwrap(), format!("BOAT_{}", field.to_uppercase()));
        let help = arg.get_help().unwrap().to_string();
        if default.is_number() || default.is_boolean() {
            assert!(help.ends_with(&format!("[default: {default}]")), "{field}: {help}");
        }
    }
}

#[test]
fn a_bad_file_says_where() {
    let bad = file("node_id = 1\n[timing]\ntick_ms = \"fast\"\n");
    let path = bad.path().to_str().unwrap();
    let error = load(&["--config", path]).unwrap_err().to_string();
    assert!(error.contains(path) && error.contains("line 3") && error.contains("tick_ms"), "{error}");
    let error = load(&["--config", "/nowhere/boat.toml"]).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
}

#[test]
fn a_bad_flag_is_named() {
    for (line, named) in [
        (&["node", "--tick-ms", "fast"][..], "--tick-ms"),
        (&["node", "--members", "0=a"], "--members"),
        (&["node", "--node-id", "70000"], "--node-id"),
        (&["node", "--tick"], "--tick"),
    ] {
        let error = Node::command().try_get_matches_from(line).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn flags_alone_make_a_node() {
    let line = ["--node-id", "1", "--members", "0=a:1,1=b:2", "--data-dir", "d", "--request-bytes-max", "9"];
    let config = load(&line).unwrap().check().unwrap();
    assert_eq!((config.node_id, config.limits.request_bytes_max), (NodeId(1), 9));
    assert_eq!(config.peer_listen_address(), "b:2");
}
