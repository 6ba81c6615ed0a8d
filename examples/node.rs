//! Runs one Boat node: `node --help` tells how.

use std::process::ExitCode;

use examples::{NodeArguments, exit_code, start_logging};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = NodeArguments::read(std::env::args());
    start_logging();
    exit_code(arguments.run().await)
}
