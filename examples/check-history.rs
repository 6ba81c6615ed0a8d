//! Checks what clients and nodes of a cluster saw, one JSON record a line: `check-history --help` tells how.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use boat_core::history::{check, read};
use clap::Parser;
use examples::or_exit;

/// Checks whether a history keeps what Boat promises. Status 1 if it does not, 2 if it cannot be read.
///
/// docs/guarantees.md describes the records and the promises.
#[derive(Debug, Parser)]
#[command(name = "check-history")]
struct Arguments {
    /// The file of records; - for standard input
    file: PathBuf,
}

fn main() -> ExitCode {
    let arguments = or_exit(Arguments::try_parse());
    match judge(&arguments) {
        Ok((lines, status)) => {
            lines.iter().for_each(|line| say(line));
            ExitCode::from(status)
        }
        Err(error) => {
            say(&format!("{}: {error}", arguments.file.display()));
            ExitCode::from(2)
        }
    }
}

/// What is to be said, and the status.
fn judge(arguments: &Arguments) -> Result<(Vec<String>, u8), Box<dyn std::error::Error>> {
    let source: Box<dyn BufRead> = match arguments.file.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(&arguments.file)?)),
    };
    Ok(match check(&read(source)?) {
        Ok(summary) => (vec![format!("every promise was kept: {summary:?}")], 0),
        Err(violations) => (violations.iter().map(ToString::to_string).collect(), 1),
    })
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn say(text: &str) {
    println!("{text}");
}
