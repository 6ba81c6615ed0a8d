//! `boat-recover`: what it does to a directory is boat-core's to test; here is how it is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn recovering_wants_to_be_meant() {
    let own = std::env::current_exe().unwrap();
    let program: PathBuf = own.parent().and_then(Path::parent).unwrap().join("examples/boat-recover");
    assert!(program.is_file(), "{} is not built: run `cargo test -p examples`", program.display());
    let directory = tempfile::tempdir().unwrap();
    let recover = |more: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--data-dir").arg(directory.path()).args(["--node-id", "0", "--address", "h:1"]);
        command.args(more).output().unwrap()
    };
    let refused = recover(&[]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--accept-loss"), "{refused:?}");
    let empty = recover(&["--accept-loss"]);
    assert!(String::from_utf8_lossy(&empty.stderr).contains("holds no cluster"), "{empty:?}");
}
