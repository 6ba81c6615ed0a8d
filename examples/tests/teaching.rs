//! The small programs that teach: each runs to its end, and says what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of this package, as cargo built it beside this test.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is not built: run `cargo test -p examples`", path.display());
    path
}

#[test]
fn membership_grows_replaces_and_shrinks() {
    let run = Command::new(program("membership")).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("would lose the quorum") && said.ends_with("nothing was lost\n"), "{said}");
}

#[test]
fn recovering_wants_to_be_meant() {
    let directory = tempfile::tempdir().unwrap();
    let recover = |more: &[&str]| {
        let mut command = Command::new(program("boat-recover"));
        command.arg("--data-dir").arg(directory.path()).args(["--node-id", "0", "--address", "h:1"]);
        command.args(more).output().unwrap()
    };
    let refused = recover(&[]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--accept-loss"), "{refused:?}");
    let empty = recover(&["--accept-loss"]);
    assert!(String::from_utf8_lossy(&empty.stderr).contains("holds no cluster"), "{empty:?}");
}
