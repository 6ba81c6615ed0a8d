//! What the README and the documents show is real: commands, flags, links, configuration, and the walk through a running
//! cluster, done as it is written.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod cluster;
mod curl;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use boat_clipper::BackendConfig;
use boat_core::config::cli::read_file;

use cluster::{Cluster, program};
use text::{blocks, read, root, steps};

/// The documents whose commands and links are checked.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/guarantees.md",
    "docs/operations.md",
    "docs/http-api.md",
    "docs/clipper.md",
    "docs/docker.md",
];

#[test]
fn the_walk_through_goes_as_the_readme_says() {
    let readme = read("README.md");
    let commands: Vec<text::Step> =
        blocks(&readme, "console").iter().flat_map(|block| steps(block)).collect();
    assert!(commands.len() >= 7, "only {} commands were found", commands.len());
    let mut cluster = Cluster::start(&[]);
    for step in &commands {
        match step.command.split_once(' ') {
            Some(("curl", _)) => cluster.curl(step),
            Some(("kill", "-9 10286")) => {
                assert!(readme.contains("`node 1 started as process 10286`"), "whose process is it?");
                cluster.kill(1);
            }
            _ => panic!("the test does not know how to do `{}`", step.command),
        }
    }
    cluster.end();
}

#[test]
fn the_http_interface_answers_as_its_page_says() {
    let page = read("docs/http-api.md");
    assert!(page.contains("\nBOAT_STATELESS=true cargo run --release --example three_node\n"));
    let commands: Vec<text::Step> = blocks(&page, "console").iter().flat_map(|block| steps(block)).collect();
    assert!(commands.len() >= 6, "only {} commands were found", commands.len());
    let mut cluster = Cluster::start(&[("BOAT_STATELESS", "true")]);
    commands.iter().for_each(|step| cluster.curl(step));
    cluster.end();
}

#[test]
fn every_cargo_command_names_what_is_there() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let mut targets = BTreeSet::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        targets.insert(("-p".to_owned(), name.to_owned()));
        for target in package["targets"].as_array().expect("targets") {
            let (kind, name) = (&target["kind"][0], target["name"].as_str().expect("a name"));
            targets.insert((format!("--{}", kind.as_str().expect("a kind")), name.to_owned()));
        }
    }
    let mut named = 0;
    let in_text = DOCUMENTS.iter().flat_map(|document| text::code_spans(&read(document), document));
    for (document, command) in shell_commands().into_iter().chain(in_text) {
        for part in command.split("&&").map(str::trim).filter(|part| part.starts_with("cargo ")) {
            let words: Vec<&str> = part.split_whitespace().take_while(|word| *word != "--").collect();
            for pair in words.windows(2).filter(|pair| matches!(pair[0], "-p" | "--example" | "--bench")) {
                named += 1;
                let target = (pair[0].to_owned(), pair[1].to_owned());
                assert!(targets.contains(&target), "{document}: `{part}` names no {}", pair[1]);
            }
        }
    }
    assert!(named >= 4, "only {named} targets are named");
}

#[test]
fn every_flag_is_one_that_the_program_takes() {
    let help = ["three_node", "node", "engine", "clean", "soak"].map(|name| (name, help_of(name)));
    let help = BTreeMap::from(help);
    let mut checked = 0;
    for (document, command) in shell_commands() {
        let words: Vec<&str> = command.split_whitespace().collect();
        let example = words.iter().position(|word| *word == "--example").and_then(|at| words.get(at + 1));
        let (program, flags) = match example {
            Some(example) => (*example, words.split(|word| *word == "--").nth(1).unwrap_or_default()),
            None => (words[0], &words[1..]),
        };
        let Some(help) = help.get(program) else { continue };
        for flag in flags.iter().filter(|word| word.starts_with('-')) {
            checked += 1;
            assert!(takes(help, flag), "{document}: {program} has no {flag}");
        }
    }
    let known = |flag: &str| help.values().any(|help| takes(help, flag)) || CARGO_AND_CURL.contains(&flag);
    for (document, span) in DOCUMENTS.iter().flat_map(|document| text::code_spans(&read(document), document))
    {
        for flag in span.split([' ', '=']).filter(|word| word.starts_with("--") && word.len() > 2) {
            checked += 1;
            assert!(known(flag), "{document}: nothing takes {flag}");
        }
    }
    assert!(checked >= 20, "only {checked} flags were found");
}

/// Flags that stand in the text and belong to other programs, the script that builds images among them; those of `boat-log` are tried in its own test.
const CARGO_AND_CURL: [&str; 13] = [
    "--prediction_cache_size",
    "--json",
    "--workspace",
    "--open",
    "--release",
    "--example",
    "--test",
    "--features",
    "--from",
    "--to",
    "--no-positions",
    "--seeds",
    "--test-stand-ins",
];

fn takes(help: &str, flag: &str) -> bool {
    help.split([' ', ',', '\n', '[', '=']).any(|word| word == flag)
}

fn help_of(name: &str) -> String {
    let output = Command::new(program(name)).arg("--help").output().expect("it runs");
    assert!(output.status.success(), "{name} --help: {}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines of all `sh` blocks, with the document that each stands in.
fn shell_commands() -> Vec<(&'static str, String)> {
    let commands = DOCUMENTS.iter().flat_map(|document| {
        let blocks = blocks(&read(document), "sh");
        let lines: Vec<String> = blocks.iter().flat_map(|block| block.lines().map(str::to_owned)).collect();
        lines.into_iter().map(move |line| (*document, line))
    });
    commands.collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().expect("a folder").to_owned();
        for link in text::links(&text).into_iter().filter(|link| !link.contains("://")) {
            checked += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { root().join(document) } else { folder.join(path) };
            assert!(target.exists(), "{document}: {link} leads nowhere");
            if !anchor.is_empty() {
                let headings = text::anchors(&std::fs::read_to_string(&target).expect("readable"));
                assert!(headings.contains(anchor), "{document}: {link} has no such heading");
            }
        }
    }
    assert!(checked >= 15, "only {checked} links were found");
}

#[test]
fn the_configuration_file_is_one() {
    let operations = read("docs/operations.md");
    let file = blocks(&operations, "toml").into_iter().next().expect("a file");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("boat.toml");
    std::fs::write(&path, file).expect("written");
    let config = read_file::<BackendConfig>(&path).expect("a configuration").check().expect("within bounds");
    assert_eq!(config.members.len(), 3);
}
