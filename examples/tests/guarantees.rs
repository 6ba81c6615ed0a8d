//! `docs/guarantees.md` is true: every promise stands in it, and the tests that it names are there.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// The functions of all our crates that are marked as tests.
fn tests() -> BTreeSet<String> {
    let mut directories = vec![root().join("boat-core"), root().join("boat-transport")];
    directories.extend([root().join("boat-clipper"), root().join("examples")]);
    let mut found = BTreeSet::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(tests_in(&fs::read_to_string(&path).expect("readable")));
            }
        }
    }
    found
}

fn tests_in(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = lines.iter().enumerate().filter(|(_, line)| {
        line.starts_with("#[test]") || line.starts_with("#[tokio::test") || line.starts_with("#[cfg_attr(")
    });
    let name = |start: usize| {
        let signature = lines.iter().skip(start + 1).find(|line| !line.starts_with("#["))?;
        let behind = signature.split_once("fn ")?.1;
        behind.split(['(', '<']).next().map(str::to_owned)
    };
    marked.filter_map(|(start, _)| name(start)).collect()
}

/// The rows of all tables: their cells.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_promise_has_a_row_and_its_tests_are_there() {
    let text = fs::read_to_string(root().join("docs/guarantees.md")).expect("readable");
    let rows = rows(&text);
    let tests = tests();
    assert!(tests.len() > 300, "only {} tests were found", tests.len());
    let promises = (1..=14).map(|n| format!("S{n}")).chain((1..=5).map(|n| format!("L{n}")));
    for promise in promises {
        let of_promise: Vec<_> = rows.iter().filter(|cells| cells.first() == Some(&promise)).collect();
        let [cells] = of_promise.as_slice() else { panic!("{promise} has {} rows", of_promise.len()) };
        let [_, promised, attack, named] = cells.as_slice() else {
            panic!("{promise} has other cells: {cells:?}")
        };
        assert!(promised.len() > 20 && !attack.is_empty(), "{promise} says nothing: {cells:?}");
        let names: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || named.contains("*not yet*"), "{promise} names no test");
        for name in names {
            assert!(tests.contains(name), "{promise}: there is no test `{name}`");
        }
    }
}

#[test]
fn tests_are_found_where_they_are_marked() {
    let text =
        "#[test]\nfn a() {}\n#[tokio::test(start_paused = true)]\n#[ignore]\nasync fn b() {}\nfn c() {}\n";
    assert_eq!(tests_in(text), ["a", "b"]);
    assert_eq!(rows("| a | b |\n|---|---|\n| c | d |\n"), [["a", "b"], ["c", "d"]]);
}
