//! One minute of `soak`: real nodes that are broken in every way, and a check of everything that was seen.

use super::program::Program;

#[test]
fn every_promise_is_kept_for_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let temporary = directory.path().to_str().unwrap();
    let seed = (std::process::id() % 1_000_000).to_string();
    let arguments = ["--minutes", "1", "--seed", &seed].map(str::to_owned);
    let quiet = [("TMPDIR", temporary), ("RUST_LOG", "warn,soak=info")];
    let mut soak = Program::start("soak", &arguments, &quiet);
    let verdict = soak.output.expect_within(SOAK_MAX, "every promise was kept: ");
    assert!(soak.expect_end().success());
    let answered = verdict.split("answered: ").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
    assert!(answered.is_some_and(|count: usize| count > 500), "{verdict}");
    assert!(!verdict.contains("reads: 0,"), "{verdict}");
    // What is seen with --nocapture, and what was left out.
    soak.output.lines().iter().filter(|line| line.contains("SKIPPED") || line.contains("kept")).for_each(
        |line| {
            eprintln!("{line}");
        },
    );
}

/// How long the minute may take with its start and its end.
const SOAK_MAX: std::time::Duration = std::time::Duration::from_secs(240);
