//! What the benches share: how large a run is, how it is measured and told, and the requests that it is about.
//!
//! A bench prints figures for people, and ends with a line for each of its goals that a script can read:
//! `goal NAME MEASURED >= TARGET met|missed`. `cargo bench -- --test` runs the smallest sizes, which mean nothing, and
//! prints no goals; `BOAT_BENCH=full` runs the full ones.
#![expect(clippy::print_stdout, reason = "a bench prints what it measures")]

use std::path::Path;

mod callers;
mod client;
mod cluster;
mod disk;
mod load;
mod machine;
mod measure;
mod ports;
mod process;
mod size;
mod workload;

pub use callers::{Caller, call};
pub use client::{Head, Http, Reply, request};
pub use cluster::{Cluster, NODES, run_if_node};
pub use disk::sync_p50_ms;
pub use load::{COUNTER, Load, Sample, Wait, count_up, counter_place, exchange, next_number};
pub use machine::{machine, resident_bytes};
pub use measure::{Contender, Figure, Goal, race};
pub use ports::Ports;
pub use process::{Process, wait_for};
pub use size::Size;
pub use workload::{Shape, Workload};

/// As the programs of `examples` have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What goes wrong in a bench ends it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A directory for a bench's files, on the disk that holds the build, removed when it is dropped.
///
/// # Errors
/// What the file system says.
pub fn directory(near: &str) -> Result<tempfile::TempDir> {
    std::fs::create_dir_all(near)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(near)?)
}

/// Makes the kernel forget what it holds of the files in `directory` and below. Read again, all of them are cached alike;
/// as they were written, they need not be.
///
/// # Errors
/// What the file system says.
pub fn forget_cached(directory: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            forget_cached(&path)?;
        } else {
            let file = std::fs::File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
