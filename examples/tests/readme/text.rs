//! Reading Markdown, as far as the documents use it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// A document's text.
pub(crate) fn read(document: &str) -> String {
    let path = root().join(document);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks in this language.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split("```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    let block = |part: &&&str| part.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned);
    fenced.filter_map(|part| block(&part)).collect()
}

/// Everything between single backticks outside of blocks, each with its document.
pub(crate) fn code_spans<'a>(text: &str, document: &'a str) -> Vec<(&'a str, String)> {
    let outside: Vec<&str> = text.split("```").step_by(2).collect();
    let spans = outside.iter().flat_map(|part| part.split('`').skip(1).step_by(2));
    spans.map(|span| (document, span.to_owned())).collect()
}

/// The targets of all links.
pub(crate) fn links(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// What links may name within a document: its headings, written as GitHub writes them, and its named places.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let headings = headings.map(|line| {
        let line = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        line.chars().filter(|char| char.is_alphanumeric() || matches!(char, '-' | '_')).collect()
    });
    let named = text.split("id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    headings.chain(named.map(|(name, _)| name.to_owned())).collect()
}

/// One command of a transcript, and what is shown of its output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) shown: Vec<String>,
}

/// A transcript's commands: lines that begin with `$ `, each with what stands below it.
pub(crate) fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines().filter(|line| !line.is_empty()) {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(step)) => step.shown.push(line.to_owned()),
            (None, None) => panic!("`{line}` belongs to no command"),
        }
    }
    steps
}

/// Whether the shown lines stand in the output in this order; `...` stands for anything.
pub(crate) fn shows(output: &str, shown: &[String]) -> bool {
    let mut lines = output.lines();
    shown.iter().all(|line| lines.any(|actual| matches(actual, line)))
}

fn matches(actual: &str, pattern: &str) -> bool {
    let Some((first, others)) = pattern.split_once("...") else { return actual == pattern };
    let (middle, last) = others.rsplit_once("...").unwrap_or(("", others));
    let inner = actual.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    let mut parts = middle.split("...");
    inner.is_some_and(|inner| {
        let found = parts.try_fold(inner, |rest, part| rest.split_once(part).map(|(_, behind)| behind));
        found.is_some()
    })
}

#[test]
fn outputs_are_compared_line_by_line() {
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let output = "HTTP/1.1 200 OK\nboat-position: 1\n\n{\"a\":1,\"b\":2}";
    assert!(shows(output, &shown(&["HTTP/1.1 200 OK", "{\"a\":...,\"b\":2}"])));
    assert!(shows(output, &shown(&["HTTP/1.1 ...", "boat-position: 1"])));
    assert!(!shows(output, &shown(&["boat-position: 1", "HTTP/1.1 200 OK"])));
    assert!(!shows(output, &shown(&["boat-position: 12"])));
    assert!(!shows(output, &shown(&["boat-position:"])));
    assert!(!shows(output, &shown(&["{\"a\":...,\"b\":3}"])));
    let nested = "{\"a\":{\"b\":1},\"c\":2,\"d\":{}}";
    assert!(shows(nested, &shown(&["{...,\"c\":2,...}"])));
    assert!(!shows(nested, &shown(&["{...,\"c\":3,...}"])));
}

#[test]
fn markdown_is_taken_apart() {
    let text = "# A b, C\n[x](y.md#z) `--flag`\n```sh\none\n```\n```console\n$ a b\nc\n\n$ d\n```\n<a id=\"q\"></a>\n";
    assert_eq!(blocks(text, "sh"), ["one\n"]);
    let steps = steps(&blocks(text, "console")[0]);
    assert_eq!((steps[0].command.as_str(), steps[0].shown.as_slice()), ("a b", &["c".to_owned()][..]));
    assert_eq!(steps[1].command, "d");
    assert_eq!(links(text), ["y.md#z"]);
    assert_eq!(code_spans(text, "d"), [("d", "--flag".to_owned())]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-c".to_owned(), "q".to_owned()]));
}
