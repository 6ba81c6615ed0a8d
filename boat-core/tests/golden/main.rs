//! Golden scenarios: what replicas say and do, step by step, in files that people read.
//!
//! Each `.txt` file beside this one is a scenario. Lines that begin with `#` say what it is about, lines that begin with `>`
//! are its steps, and the others are what happened, which `UPDATE_EXPECT=1 cargo test -p boat-core --test golden` writes. To
//! add a scenario, write its steps into a new file and let the rest be written. A line of the trace begins with the tick of
//! the scenario's clock, and stands once for each step, however often it happened. Heartbeats, acknowledgements and reports
//! are left out. The steps are listed in `script.rs`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod addresses;
mod asking;
mod carry_out;
mod cluster;
mod describe;
mod disk;
mod isolated;
mod links;
mod model;
mod node;
mod script;
mod seeker;
mod trace;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

/// The scenarios' number, so that none is lost unseen.
const SCENARIOS: usize = 74;

fn scenarios() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let paths = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut scenarios: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    scenarios.sort();
    scenarios
}

#[test]
fn every_scenario_goes_as_it_is_written_down() {
    let scenarios = scenarios();
    let goes_otherwise = |path: &&PathBuf| {
        println!("{}", path.display());
        let text = fs::read_to_string(path).unwrap();
        catch_unwind(|| expect_file![path].assert_eq(&script::run(&text))).is_err()
    };
    // All of them, so that one run shows everything that has changed.
    let changed: Vec<&PathBuf> = scenarios.iter().filter(goes_otherwise).collect();
    assert_eq!(changed, Vec::<&PathBuf>::new());
    assert_eq!(scenarios.len(), SCENARIOS);
}

#[test]
fn a_scenario_goes_the_same_way_twice() {
    for path in scenarios() {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(script::run(&text), script::run(&text), "{}", path.display());
    }
}
