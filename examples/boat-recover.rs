//! Lets one node go on alone when the disks of a majority are lost: `boat-recover --help`, docs/operations.md.
#![expect(clippy::print_stdout, reason = "what came of it is what the program writes")]

use std::path::PathBuf;
use std::process::ExitCode;

use boat_core::{Error, NodeId, recover};
use clap::Parser;
use examples::{exit_code, or_exit, start_logging};

/// Makes the only member of a new cluster of a stopped node that is left when the disks of a majority are lost
#[derive(Debug, Parser)]
#[command(name = "boat-recover")]
struct Arguments {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The node's number
    #[arg(long, value_name = "ID")]
    node_id: NodeId,
    /// Where its peers reach it from now on
    #[arg(long, value_name = "HOST:PORT")]
    address: String,
    /// What only the lost disks held may be lost, answers that were given among it
    #[arg(long)]
    accept_loss: bool,
}

fn main() -> ExitCode {
    let arguments = or_exit(Arguments::try_parse());
    start_logging();
    exit_code(run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    if !arguments.accept_loss {
        return Err(Error::Config(
            "recovering gives up what only the lost disks held, answers that were given among it. If a majority's disks \
             are lost for good, and boat-log inspect shows no other node with a later last entry, say --accept-loss"
                .to_owned(),
        ));
    }
    let recovery = recover(&arguments.data_dir, arguments.node_id, &arguments.address)?;
    println!(
        "cluster {} goes on as {}, with node {} alone",
        recovery.former, recovery.cluster, arguments.node_id
    );
    println!(
        "kept: everything up to entry {} of term {}; known to be committed were those up to {}",
        recovery.last_index, recovery.last_term, recovery.known_commit
    );
    println!("removed: nodes {:?}; start each with an empty directory, and add it", recovery.removed);
    Ok(())
}
