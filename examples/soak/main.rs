//! Runs three nodes, breaks them in every way for a while, and checks that every promise was kept: `soak --help` tells how.
//!
//! The nodes are processes of their own, and every link between two of them goes through a proxy in this one. What clients asked
//! and were told, and what the nodes hold in the end, is a history: [`boat_core::history`] judges it.

mod client;
mod cluster;
mod ending;
mod held;
mod nemesis;
mod node;
mod proxy;
mod records;
mod tmpfs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boat_clipper::ModelKind;
use boat_core::supervisor::TemporaryDirectory;
use clap::Parser;
use examples::{NodeArguments, exit_code, or_exit, start_logging};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use self::cluster::Cluster;
use self::nemesis::Nemeses;
use self::records::Records;

/// The first argument that makes this program one node instead of what breaks it.
const NODE: &str = "node";
/// How often a long run says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Breaks three nodes for a while, and checks that every promise was kept. Status 1 if one was not.
#[derive(Debug, Parser)]
#[command(name = "soak")]
struct Arguments {
    /// How long to break them
    #[arg(long, default_value_t = 1.0, value_name = "MINUTES")]
    minutes: f64,
    /// What the faults are drawn from [default: at random]
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients ask at the same time
    #[arg(long, default_value_t = 4)]
    clients: u16,
    /// Which model: echo, which clients also read, or hash-chain, whose every answer depends on all requests so far
    #[arg(long, default_value_t = ModelKind::Echo)]
    model: ModelKind,
    /// Write what clients and nodes saw into this file, one JSON record a line
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
}

/// What ends a run early: in words.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    start_logging();
    if std::env::args().nth(1).as_deref() == Some(NODE) {
        return exit_code(NodeArguments::read(std::env::args().skip(1)).run().await);
    }
    tmpfs::with_own_mounts();
    match run(or_exit(Arguments::try_parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("FAILED: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let seed = arguments.seed.unwrap_or_else(|| rand::rngs::OsRng.next_u64() % 1_000_000);
    let data = TemporaryDirectory::create("soak")?;
    say(&format!("seed {seed}, {} minutes, data in {}", arguments.minutes, data.path().display()));
    let records = Arc::new(Records::default());
    let mut cluster = Cluster::start(data.path(), arguments.minutes, arguments.model).await?;
    let broken = break_it(&arguments, seed, &mut cluster, &records).await;
    let judged = match broken {
        Ok(()) => ending::judge(cluster, &records).await,
        Err(failure) => Err(failure),
    };
    if let Some(path) = &arguments.history {
        records.write(path)?;
    }
    match judged {
        Ok(verdict) => {
            say(&verdict);
            Ok(())
        }
        Err(failure) => {
            let kept = data.path().with_extension("failed");
            std::fs::rename(data.path(), &kept)?;
            let Arguments { minutes, model, .. } = arguments;
            let again = format!("soak --seed {seed} --minutes {minutes} --model {model}");
            Err(format!("{failure}\nseen with: {again}\ndata and logs are kept in {}", kept.display()).into())
        }
    }
}

/// Lets clients ask while nemeses strike, until the time is over and each has struck; then everything is healed, and each client has an answer.
async fn break_it(
    arguments: &Arguments,
    seed: u64,
    cluster: &mut Cluster,
    records: &Arc<Records>,
) -> Result<(), Failure> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let clients = client::start((arguments.clients, arguments.model), cluster, records, random.next_u64());
    let mut nemeses = Nemeses::new(random);
    let until = Instant::now() + Duration::from_secs_f64(arguments.minutes.max(0.0) * 60.0);
    let mut said = Instant::now();
    while Instant::now() < until || !nemeses.missing().is_empty() {
        nemeses.strike(cluster).await?;
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let left = until.saturating_duration_since(said).as_secs();
            say(&format!("{left:>5} s left; {}; {nemeses}", records.counts()));
        }
    }
    cluster.heal()?;
    clients.stop().await?;
    say(&format!("faults: {nemeses}"));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a program for people, which tells how far it is")]
fn say(text: &str) {
    println!("{text}");
}
