//! Clipper's containers on a real Docker engine, and nodes in containers: killed, paused, cut off, and cleaned up.
//!
//! Where no engine answers every test says that it was skipped. Images are built by `examples/images/build` under a test
//! prefix, from the programs that cargo has built. Tests that compare what the engine holds before and after have it alone.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it saw"
)]

#[path = "../processes/client.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod client;
#[path = "../processes/cluster.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod cluster;
#[path = "../processes/load.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod load;
#[path = "../processes/output.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod output;
#[path = "../processes/ports.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod ports;
#[path = "../processes/program.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod program;

mod deployments;
mod docker;
mod endings;
mod faults;
mod full;
mod models;
mod node;
mod nodes;
mod proxy;
mod site;

#[path = "../../soak/held.rs"]
mod held;
#[path = "../../soak/records.rs"]
#[allow(dead_code, reason = "shared with a program that needs more of it")]
mod records;

use std::time::{Duration, Instant};

/// Why something that is shared with a program cannot be had; only its text is used.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long to wait for anything: far more than it takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// How long to wait before looking again for what nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
