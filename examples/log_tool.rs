//! What `boat-log` does, over [`boat_core::inspect`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boat_core::inspect::{InspectError, Progress, StoppedDirectory};
use clap::{Parser, Subcommand};
use serde::Serialize;

/// Wrong usage, after BSD's `sysexits.h`.
const USAGE_STATUS: u8 = 64;
/// The output could not be written.
const OUTPUT_STATUS: u8 = 74;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Looks at the data directory of a node that does not run. Nothing in it is changed.
#[derive(Debug, Parser)]
#[command(name = "boat-log", after_help = EXIT_STATUSES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

const EXIT_STATUSES: &str = "\
DIR is what the node has as --data-dir: it holds `identity` and `log`. \
While this program reads, the node cannot start.

Exit status:
  0   all is well (verify: sound)
  1   verify: torn tail, never synced before a crash; the next start cuts it off
  2   corrupt: something that had been synced is damaged or gone
  64  wrong usage, or DIR is no data directory
  70  positions cannot be known
  74  the file system failed
  75  in use: a node runs in DIR";

#[derive(Debug, Subcommand)]
enum Task {
    /// Say what DIR holds: whose it is, segments, entries, positions, hard state, watermark, membership
    Inspect {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Write one JSON object instead of text
        #[arg(long)]
        json: bool,
        /// Leave positions out: finding them takes reading the whole log
        #[arg(long)]
        no_positions: bool,
    },
    /// Write committed requests as JSON lines, by rising position
    #[command(after_help = SHOW_FIELDS)]
    Show {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The first position to show
        #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        from: u64,
        /// The last position to show [default: the last there is]
        #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
        to: Option<u64>,
    },
    /// Check every checksum, the order of batches and segments, and that indexes have no gap
    #[command(after_help = EXIT_STATUSES)]
    Verify {
        /// The data directory
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Write one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

const SHOW_FIELDS: &str = "\
Each line has: position, index and term (of the entry that carried the request), kind, origin (session, sequence and \
lowest_unanswered; or http_key with scope; or key; or key_base64), time_ms (log time, since the Unix epoch), and the body: \
as body if it is JSON, as body_text if it is other text, else as body_base64.

Positions are given by applying, so the log is read from its start. Retries and refused requests have none.";

impl Arguments {
    /// What to do.
    ///
    /// # Errors
    /// What the parser cannot see by itself.
    fn checked(self) -> Result<Task, clap::Error> {
        match self.task {
            Task::Show { from, to: Some(to), .. } if from > to => {
                let why = format!("--from {from} lies behind --to {to}\n");
                Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, why))
            }
            task => Ok(task),
        }
    }
}

/// Does what the arguments `line`, the program's name first, say: results go to `out`, and errors and, every
/// `progress_every`, how far long work is, to `err`. Gives the exit status.
pub fn boat_log(
    line: impl IntoIterator<Item = String>,
    progress_every: Duration,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let task = match Arguments::try_parse_from(line).and_then(Arguments::checked) {
        Ok(task) => task,
        Err(help) if !help.use_stderr() => return written(write!(out, "{}", help.render())),
        Err(wrong) => {
            // Where standard error is closed there is nobody to tell.
            let _ = write!(err, "{}", wrong.render());
            return USAGE_STATUS;
        }
    };
    let mut ticker = Ticker::new(err, progress_every);
    let ended = match task {
        Task::Inspect { directory, json, no_positions } => {
            inspect(&directory, json, !no_positions, out, &mut ticker)
        }
        Task::Show { directory, from, to } => {
            show(&directory, from, to.unwrap_or(u64::MAX), out, &mut ticker)
        }
        Task::Verify { directory, json } => verify(&directory, json, out, &mut ticker),
    };
    match ended {
        Ok(status) => status,
        Err(Failure::Reading(error)) => {
            ticker.say(&format!("boat-log: {error}"));
            error.exit_status()
        }
        Err(Failure::Writing(error)) => written(Err(error)),
    }
}

/// Why a task ended early.
enum Failure {
    Reading(InspectError),
    Writing(io::Error),
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Self {
        Failure::Reading(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Writing(error)
    }
}

/// A reader that has seen enough (`| head`) is no failure.
fn written(result: io::Result<()>) -> u8 {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => OUTPUT_STATUS,
        _ => 0,
    }
}

fn inspect(
    directory: &Path,
    json: bool,
    with_positions: bool,
    out: &mut dyn Write,
    ticker: &mut Ticker<'_>,
) -> Result<u8, Failure> {
    let stopped = StoppedDirectory::open(directory)?;
    let found = stopped.inspect(with_positions, |progress| ticker.tell(progress))?;
    print(&found, json, out)?;
    Ok(if found.problems.is_empty() { 0 } else { 2 })
}

fn show(
    directory: &Path,
    from: u64,
    to: u64,
    out: &mut dyn Write,
    ticker: &mut Ticker<'_>,
) -> Result<u8, Failure> {
    let stopped = StoppedDirectory::open(directory)?;
    let mut requests = stopped.requests(from..=to, |progress| ticker.tell(progress))?;
    for request in requests.by_ref() {
        serde_json::to_writer(&mut *out, &request?).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    let last = requests.position();
    drop(requests);
    if last < to && to < u64::MAX || last < from {
        ticker.say(&format!("boat-log: the last position is {last}"));
    }
    out.flush()?;
    Ok(0)
}

fn verify(directory: &Path, json: bool, out: &mut dyn Write, ticker: &mut Ticker<'_>) -> Result<u8, Failure> {
    let stopped = StoppedDirectory::open(directory)?;
    let found = stopped.verify(|progress| ticker.tell(progress))?;
    print(&found, json, out)?;
    Ok(found.verdict.exit_status())
}

fn print<T: Serialize + std::fmt::Display>(found: &T, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, found)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{found}")?;
    }
    out.flush()
}

/// Says now and then how far long work is.
struct Ticker<'a> {
    err: &'a mut dyn Write,
    every: Duration,
    began: Instant,
    told: Instant,
}

impl<'a> Ticker<'a> {
    fn new(err: &'a mut dyn Write, every: Duration) -> Self {
        let began = Instant::now();
        Ticker { err, every, began, told: began }
    }

    fn tell(&mut self, Progress { bytes, bytes_total }: Progress) {
        if self.told.elapsed() < self.every {
            return;
        }
        self.told = Instant::now();
        let (read, total) = (bytes as f64 / MEBIBYTE, bytes_total.max(bytes) as f64 / MEBIBYTE);
        let rate = read / self.began.elapsed().as_secs_f64().max(f64::EPSILON);
        let percent = 100.0 * read / total.max(f64::EPSILON);
        self.say(&format!("read {read:.1} of {total:.1} MiB ({percent:.0} %), {rate:.1} MiB/s"));
    }

    fn say(&mut self, text: &str) {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(self.err, "{text}");
    }
}
