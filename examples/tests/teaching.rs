//! The teaching examples run, and are as short as they are meant to be.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest example that still teaches.
const LINES_MAX: usize = 100;

/// Runs an example, which asserts what it shows, and gives what it printed.
fn run(name: &str, arguments: &[&Path]) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{name}.rs"));
    let lines = std::fs::read_to_string(source).unwrap().lines().count();
    assert!(lines < LINES_MAX, "{name} has {lines} lines");
    let own = std::env::current_exe().unwrap();
    let program: PathBuf = own.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let ran = Command::new(&program).args(arguments).output();
    let ran =
        ran.unwrap_or_else(|error| panic!("{}: {error}: run `cargo test -p examples`", program.display()));
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{name} ended with {}:\n{out}\n{err}", ran.status);
    out.into_owned()
}

#[test]
fn embed() {
    let out = run("embed", &[]);
    assert!(out.contains("with two of three nodes: 5 at position"), "{out}");
}

#[test]
fn online_learning_gives_the_same_curve_with_and_without_kills() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("loss.svg");
    let out = run("online_learning", &[&file]);
    assert!(out.contains("equal with and without kills"), "{out}");
    let drawn = std::fs::read_to_string(file).unwrap();
    let points = drawn.split_once("points=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    assert_eq!(points.split(' ').count(), 569 - 40 + 1);
}

#[test]
fn bandit() {
    let out = run("bandit", &[]);
    assert!(out.contains("the best of three advertisements was chosen"), "{out}");
}

#[test]
fn custom_predictor() {
    let out = run("custom_predictor", &[]);
    assert!(out.contains("after the service lost everything: b\"6\""), "{out}");
}

#[test]
fn membership() {
    let out = run("membership", &[]);
    assert!(out.contains("would lose the quorum") && out.ends_with("nothing was lost\n"), "{out}");
}
