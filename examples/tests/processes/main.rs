//! The programs beside these tests as real processes: started, asked over HTTP, killed, and looked at again.
//!
//! What the tests start they end in `Drop`, so that a failing test leaves nothing behind either. Cargo builds the programs
//! for a test run without a filter by target; after `--test processes` alone they may be old. Only on Linux: what is left of a
//! process is looked up in `/proc`, and clients have a loopback address of their own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

mod bad_input;
mod client;
mod cluster;
mod endings;
mod kills;
mod load;
mod output;
mod ports;
mod program;
mod programs;
mod routes;
mod soak;

#[path = "../../soak/records.rs"]
#[allow(dead_code, reason = "shared with a program that needs more of it")]
mod records;

use std::time::{Duration, Instant};

/// Why something that is shared with a program cannot be had; only its text is used.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait for anything: far more than it takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long to wait before looking again for what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks until there is something to be found.
#[track_caller]
fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let asked = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(asked.elapsed() < WAIT_MAX, "not within {WAIT_MAX:?}: {what}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
