//! The rules of this repository that no lint knows.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest function body, without blank lines and comments: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Which of our crates each of our crates may depend on, tests included: one direction, no circles.
const MAY_DEPEND_ON: [(&str, &[&str]); 5] = [
    ("boat-core", &[]),
    ("boat-transport", &["boat-core"]),
    ("boat-clipper", &["boat-core"]),
    ("examples", &["boat-core", "boat-transport", "boat-clipper"]),
    ("benches", &["boat-core", "boat-transport", "boat-clipper"]),
];

/// What stands at the top, beside names with a dot in front.
const TOP_LEVEL: [&str; 15] = [
    "boat-core",
    "boat-transport",
    "boat-clipper",
    "examples",
    "benches",
    "docs",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
];

#[test]
fn dependencies_point_one_way() {
    let allowed = BTreeMap::from(MAY_DEPEND_ON);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert_eq!(packages.len(), allowed.len(), "a crate is missing in this test");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is missing in this test"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            // Tests of a crate may need it with another feature.
            let is_itself = on == name && dependency["kind"] == "dev";
            let is_allowed = !allowed.contains_key(on) || may.contains(&on) || is_itself;
            assert!(is_allowed, "{name} must not depend on {on}");
        }
    }
}

#[test]
fn functions_fit_on_a_screen() {
    let mut wrong = Vec::new();
    let mut functions = 0;
    for (path, text) in sources() {
        for function in functions_in(&text) {
            functions += 1;
            if function.lines > FUNCTION_LINES_MAX && !function.has_reason {
                wrong.push(format!("{}:{} has {} lines", path.display(), function.at, function.lines));
            }
        }
    }
    assert!(functions > 100, "only {functions} functions were found");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn exceptions_from_lints_have_reasons() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (at, attribute) in exceptions_in(&text) {
            if !attribute.contains("reason = \"") {
                wrong.push(format!("{}:{at} {attribute}", path.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_crate_obeys_the_same_lints() {
    for (package, _) in MAY_DEPEND_ON {
        let manifest = read(&root().join(package).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true\n"), "{package} has lints of its own");
    }
    // Clippy reads the nearest file only.
    for path in ["clippy.toml", "boat-core/clippy.toml"] {
        let line = format!("too-many-lines-threshold = {FUNCTION_LINES_MAX}\n");
        assert!(read(&root().join(path)).contains(&line), "{path} has another limit");
    }
}

#[test]
fn the_top_level_stays_small() {
    let allowed = BTreeSet::from(TOP_LEVEL);
    let names = names_at_the_top();
    assert!(names.contains("Cargo.toml"), "{names:?}");
    let strange: Vec<_> =
        names.iter().filter(|name| !name.starts_with('.') && !allowed.contains(name.as_str())).collect();
    assert_eq!(strange, Vec::<&String>::new());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What git knows, so that a reader's own files do not fail the test; without git, what is there but for the build's.
fn names_at_the_top() -> BTreeSet<String> {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output();
    if let Some(output) = listed.ok().filter(|output| output.status.success()) {
        let paths = String::from_utf8(output.stdout).expect("UTF-8");
        return paths.lines().filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
    }
    let entries = fs::read_dir(root()).expect("readable");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "target").collect()
}

/// All Rust files of our crates, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut directories: Vec<PathBuf> = MAY_DEPEND_ON.iter().map(|(name, _)| root().join(name)).collect();
    let mut found = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = read(&path);
                found.push((path, text));
            }
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    /// The line of its `fn`, from 1.
    at: usize,
    /// Lines of its body without blank ones and comments, as clippy counts them.
    lines: usize,
    /// Whether an attribute allows the length and says why.
    has_reason: bool,
}

/// Functions with a body of more than one line, by the layout that rustfmt gives them: the body ends with a brace that is
/// indented as the `fn` is.
fn functions_in(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| starts_function(line));
    starts.filter_map(|(start, _)| function_at(&lines, start)).collect()
}

fn starts_function(line: &str) -> bool {
    let before = line.trim_start().split("fn ").next().unwrap_or_default();
    let word = |word: &str| {
        matches!(word, "pub" | "async" | "const" | "unsafe" | "extern" | "default")
            || word.starts_with("pub(")
            || word.starts_with('"')
    };
    line.trim_start().len() > before.len() && before.split_whitespace().all(word)
}

fn function_at(lines: &[&str], start: usize) -> Option<Function> {
    let (above, rest) = lines.split_at(start);
    let first = rest.first()?;
    let indent = first.len() - first.trim_start().len();
    let opening = rest.iter().position(|line| line.ends_with(['{', '}', ';']))?;
    if !rest.get(opening)?.ends_with('{') {
        return None;
    }
    let body = rest.get(opening + 1..)?;
    let end = body.iter().position(|line| line.trim_end() == format!("{}}}", " ".repeat(indent)))?;
    let counts = |line: &&&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    let lines = body.iter().take(end).filter(counts).count();
    let attached = above.iter().rev().take_while(|line| !line.trim().is_empty() && line.trim() != "}");
    let attributes: Vec<&str> = attached.copied().collect();
    let has_reason = attributes.iter().any(|line| line.contains("clippy::too_many_lines"))
        && attributes.iter().any(|line| line.contains("reason = \""));
    Some(Function { at: start + 1, lines, has_reason })
}

/// Each `allow` and `expect` attribute with the line on which it starts.
fn exceptions_in(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let starts = |line: &str| {
        let attribute = line.trim_start().trim_start_matches("#!").trim_start_matches('#');
        let attribute = attribute.strip_prefix('[').unwrap_or_default();
        attribute.starts_with("allow(") || attribute.starts_with("expect(")
    };
    let found = lines.iter().enumerate().filter(|(_, line)| starts(line));
    found
        .map(|(start, _)| {
            let rest = lines.iter().skip(start);
            let length = rest.clone().take_while(|line| !line.trim_end().ends_with(']')).count();
            (start + 1, rest.take(length + 1).map(|line| line.trim()).collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// A function of so many lines, after these.
fn sample(above: &str, lines: usize) -> String {
    let body = "        step();\n".repeat(lines);
    format!(
        "impl A {{\n{above}    pub(crate) async fn long<T>(\n        t: T,\n    ) -> u8 {{\n{body}\n        // why\n    }}\n}}\n"
    )
}

#[test]
fn the_counter_counts() {
    let found = |text: &str| functions_in(text).pop();
    let expected = |at, lines, has_reason| Some(Function { at, lines, has_reason });
    assert_eq!(found(&sample("", 71)), expected(2, 71, false));
    let allow = "    #[allow(clippy::too_many_lines)]\n";
    assert_eq!(found(&sample(allow, 71)), expected(3, 71, false));
    let reason = "    #[allow(clippy::too_many_lines, reason = \"a table\")]\n";
    assert_eq!(found(&sample(reason, 71)), expected(3, 71, true));
    assert_eq!(found("trait T {\n    fn short(&self) -> bool;\n    fn one(&self) {}\n}\n"), None);
    assert_eq!(found("// a fn in a comment {\nlet fn_count = 1;\n"), None);
}

#[test]
fn the_reader_of_attributes_reads() {
    let text = "#![allow(a)]\n#[expect(\n    b,\n    reason = \"c\"\n)]\nfn f() {}\n// #[allow(d)]\n#[derive(Debug)]\n";
    let expected = [(1, "#![allow(a)]".to_owned()), (2, "#[expect( b, reason = \"c\" )]".to_owned())];
    assert_eq!(exceptions_in(text), expected);
}
