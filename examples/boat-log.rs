//! Looks at the data directory of a node that does not run: `boat-log --help` tells how.

use std::io::{BufWriter, stderr, stdout};
use std::process::ExitCode;
use std::time::Duration;

use examples::boat_log;

/// How often long work says how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let mut out = BufWriter::new(stdout().lock());
    ExitCode::from(boat_log(std::env::args(), PROGRESS_EVERY, &mut out, &mut stderr()))
}
