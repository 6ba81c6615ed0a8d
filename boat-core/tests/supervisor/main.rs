//! The supervisor with real processes: this test binary starts itself again, as a supervisor and as its children.
#![cfg(all(feature = "supervisor", target_os = "linux"))]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "these tests wait for real processes, with bounds")]

mod process;
mod role;

use std::time::{Duration, Instant};

use process::{Supervised, pid_in, send};
use rustix::process::Signal;

/// Longer than any test waits for a timeout inside the supervisor.
const NEVER: &str = "3600000";

#[test]
fn a_killed_child_is_started_again_after_growing_delays() {
    let mut supervised = Supervised::start("a=clean", &[]);
    let mut before = None;
    for delay_ms in [20, 40, 80] {
        supervised.expect("a is ready");
        let pid = supervised.pid_of("a");
        assert_ne!(before.replace(pid), Some(pid));
        send(pid, Signal::KILL);
        supervised.expect(&format!("a (process {pid}) ended"));
        supervised.expect(&format!("a starts again in {delay_ms} ms"));
    }
    supervised.expect("a is ready");
    send(supervised.pid, Signal::INT);
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn what_a_dead_child_had_started_is_killed() {
    let mut supervised = Supervised::start("a=mother", &[]);
    let daughter = pid_in(&supervised.expect("a's daughter is process"));
    supervised.expect("a is ready");
    send(supervised.pid_of("a"), Signal::KILL);
    supervised.expect("a starts again");
    process::expect_gone(daughter);
    supervised.expect("a is ready");
    send(supervised.pid, Signal::INT);
    // The daughters hold the output too: this sees the second one's end.
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn what_must_happen_before_a_restart_is_tried_until_it_succeeds() {
    let mut supervised = Supervised::start("a=clean", &[("TEST_HOOK_FAILURES", "2")]);
    supervised.expect("a is ready");
    send(supervised.pid_of("a"), Signal::KILL);
    supervised.expect("a cannot be started again yet: still held");
    supervised.expect("a cannot be started again yet: still held");
    supervised.expect("cleaned up");
    supervised.expect("a is ready");
    send(supervised.pid, Signal::TERM);
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn a_child_with_wrong_flags_ends_the_whole() {
    let mut supervised = Supervised::start("a=clean,b=usage", &[]);
    let mut told = supervised.expect_all(&["b ended with status 64"]);
    told.extend(supervised.lines());
    assert_eq!(told.iter().filter(|line| line.starts_with("b started")).count(), 1, "{told:#?}");
    assert_eq!(supervised.end(), Some(64));
}

#[test]
fn ctrl_c_ends_all_in_order_within_five_seconds() {
    let mut supervised = Supervised::start("a=clean,b=clean,c=clean", &[]);
    supervised.expect_all(&["a is ready", "b is ready", "c is ready"]);
    let asked = Instant::now();
    // A terminal signals the whole foreground group; only the supervisor is in it.
    rustix::process::kill_process_group(process::pid(supervised.pid), Signal::INT).expect("signalled");
    supervised.expect_all(&["a got SIGTERM", "b got SIGTERM", "c got SIGTERM"]);
    let rest = supervised.lines();
    assert!(!rest.iter().any(|line| line.contains("got ctrl-C") || line.contains("is killed")), "{rest:#?}");
    assert_eq!(supervised.end(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[test]
fn sigterm_ends_a_stopped_child_cleanly() {
    let mut supervised = Supervised::start("a=clean", &[("TEST_SHUTDOWN_MS", NEVER)]);
    supervised.expect("a is ready");
    process::stop(supervised.pid_of("a"));
    send(supervised.pid, Signal::TERM);
    supervised.expect("a got SIGTERM");
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn a_deaf_child_is_killed_after_the_timeout() {
    let mut supervised = Supervised::start("a=deaf,b=clean", &[("TEST_SHUTDOWN_MS", "50")]);
    supervised.expect_all(&["a is ready", "b is ready"]);
    let deaf = supervised.pid_of("a");
    send(supervised.pid, Signal::TERM);
    supervised.expect_all(&["a got SIGTERM", &format!("a (process {deaf}) is killed")]);
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    let mut supervised = Supervised::start("a=deaf,b=deaf", &[("TEST_SHUTDOWN_MS", NEVER)]);
    supervised.expect_all(&["a is ready", "b is ready"]);
    send(supervised.pid, Signal::INT);
    supervised.expect_all(&["a got SIGTERM", "b got SIGTERM"]);
    send(supervised.pid, Signal::INT);
    supervised.expect("killing what is left: ctrl-C");
    supervised.expect_all(&["a (process", "b (process"]);
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn a_stop_does_not_wait_for_a_delay_or_a_hook() {
    let mut supervised =
        Supervised::start("a=clean,b=clean", &[("TEST_BACKOFF_MS", NEVER), ("TEST_SHUTDOWN_MS", NEVER)]);
    supervised.expect_all(&["a is ready", "b is ready"]);
    send(supervised.pid_of("a"), Signal::KILL);
    supervised.expect("a starts again in");
    send(supervised.pid, Signal::INT);
    assert_eq!(supervised.end(), Some(0));

    let mut supervised = Supervised::start("a=clean", &[("TEST_HOOK_FAILURES", "hangs")]);
    supervised.expect("a is ready");
    send(supervised.pid_of("a"), Signal::KILL);
    supervised.expect("cleaning up for ever");
    send(supervised.pid, Signal::INT);
    assert_eq!(supervised.end(), Some(0));
}

#[test]
fn nothing_survives_a_supervisor_that_is_killed() {
    let mut supervised = Supervised::start("a=clean,b=deaf,c=busy,d=clean", &[]);
    supervised.expect_all(&["a is ready", "b is ready", "c is ready", "d is ready"]);
    process::stop(supervised.pid_of("d"));
    send(supervised.pid, Signal::KILL);
    // Every process holds the output: it ends when the last of them has.
    assert_eq!(supervised.end(), None);
}

#[test]
fn the_pipe_alone_ends_children_too() {
    let mut supervised = Supervised::start("a=clean,b=busy", &[("TEST_FORGET_DEATH_SIGNAL", "1")]);
    supervised.expect_all(&["a is ready", "b is ready"]);
    send(supervised.pid, Signal::KILL);
    assert_eq!(supervised.end(), None);
}

#[test]
fn the_temporary_directory_goes_at_the_end_or_at_the_next_start() {
    let parent = tempfile::tempdir().expect("a directory");
    let parent = parent.path();
    let directories = || -> Vec<_> {
        let entries = std::fs::read_dir(parent).expect("readable");
        entries.map(|entry| entry.expect("readable").path()).collect()
    };
    let env = [("TEST_DIRECTORY", parent.to_str().expect("UTF-8"))];

    let mut killed = Supervised::start("a=clean", &env);
    killed.expect("a is ready");
    send(killed.pid, Signal::KILL);
    assert_eq!(killed.end(), None);
    let left = directories();
    assert_eq!(left.len(), 1, "{left:?}");

    let mut next = Supervised::start("a=clean", &env);
    next.expect("a is ready");
    let made = directories();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_ne!(made, left);
    send(next.pid, Signal::INT);
    assert_eq!(next.end(), Some(0));
    assert_eq!(directories(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_program_that_is_not_there_ends_the_whole() {
    let mut supervised = Supervised::start("a=clean,b=missing", &[]);
    supervised.expect("cannot start b: No such file or directory");
    assert_eq!(supervised.end(), Some(70));
}

#[test]
fn only_a_supervised_process_may_watch_its_parent() {
    let output = role::command("watch")
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("standard input is not a supervisor's pipe"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}
