//! The public interface of the three crates, pinned: a change of it shows in a change of the files beside this one.
//!
//! What is listed is read from the sources, so no other toolchain is needed: modules, functions, types with their public fields and
//! variants, derives, traits, constants, re-exports and inherent methods, as long as they are `pub`. The lint `unreachable_pub` sees
//! to it that nothing is `pub` which cannot be reached from outside. Not seen is what macros write (error codes, faults and mutants of
//! the simulator, rules of the contract), and which traits a type implements other than by derive.
//!
//! `UPDATE_EXPECT=1 cargo test -p examples --test api` writes the files anew.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod listing;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// Compares the interface of a crate with the file that pins it.
fn check(name: &str) {
    let found = listing::of(&root().join(name).join("src"));
    assert!(found.lines().count() > 10, "only this was found in {name}:\n{found}");
    let path = root().join("examples/tests/api").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &found).expect("writable");
    }
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    let added: Vec<&str> = found.lines().filter(|line| !pinned.lines().any(|old| old == *line)).collect();
    let removed: Vec<&str> = pinned.lines().filter(|line| !found.lines().any(|new| new == *line)).collect();
    assert!(
        found == pinned,
        "the public interface of {name} has changed. If it is meant to: UPDATE_EXPECT=1 cargo test -p examples --test api, \
         and tell users in CHANGELOG.md.\nnew or changed: {added:#?}\ngone or changed: {removed:#?}"
    );
}

#[test]
fn the_interface_of_boat_core_is_pinned() {
    check("boat-core");
}

#[test]
fn the_interface_of_boat_transport_is_pinned() {
    check("boat-transport");
}

#[test]
fn the_interface_of_boat_clipper_is_pinned() {
    check("boat-clipper");
}

#[test]
fn all_that_is_public_is_documented_and_reachable() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("readable");
    for lint in ["missing_docs = \"deny\"", "unreachable_pub = \"warn\""] {
        assert!(manifest.contains(lint), "the workspace's lints lack {lint}");
    }
    for name in ["boat-core", "boat-transport", "boat-clipper"] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).expect("readable");
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{name} has lints of its own");
        let crate_root = fs::read_to_string(root().join(name).join("src/lib.rs")).expect("readable");
        assert!(!crate_root.contains("(missing_docs"), "{name} allows items without documentation");
    }
}
