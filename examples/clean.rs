//! Removes what a cluster with --backend docker has left on this machine: containers, networks and files that carry its name,
//! and nothing else. `clean --help` tells how.

use std::process::ExitCode;

use boat_clipper::docker::{CleanOptions, DockerConfig, clean};
use boat_core::NodeId;
use clap::Parser;
use examples::{DockerFlags, or_exit, start_logging};

/// Removes what a cluster with --backend docker has left on this machine.
#[derive(Debug, Parser)]
#[command(name = "clean")]
struct Arguments {
    /// Only what belongs to this node [default: to any]
    #[arg(long, value_name = "NUMBER")]
    node: Option<NodeId>,
    /// Remove nothing, only tell
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    docker: DockerFlags,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "what is removed is this program's output")]
async fn main() -> ExitCode {
    start_logging();
    let arguments = or_exit(Arguments::try_parse());
    let mut config = DockerConfig::default();
    arguments.docker.apply(&mut config);
    let options = CleanOptions { node: arguments.node, dry_run: arguments.dry_run };
    match clean(&config, options).await {
        Ok(removed) => {
            let verb = if options.dry_run { "would remove" } else { "removed" };
            removed.iter().for_each(|what| println!("{verb} {what}"));
            if removed.is_empty() {
                println!("nothing of cluster {} is here", config.cluster);
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            log::error!("{error}");
            ExitCode::from(if error.is_usage() { 64 } else { 70 })
        }
    }
}
