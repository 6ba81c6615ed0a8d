//! Runs the simulator over many seeds, and says what it finds: `simulate --help` tells how.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use boat_core::sim::{FaultCounts, Options, run};
use clap::Parser;

/// How often a long run says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Runs whole clusters under faults, one for each seed; ends with status 1 if a promise was broken, or a fault never happened.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
struct Flags {
    /// How many seeds to run
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many to run at the same time [default: one for each core]
    #[arg(long)]
    threads: Option<usize>,
    /// Tell everything that happens, to follow a single seed
    #[arg(long, short)]
    verbose: bool,
}

/// What all seeds came to.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    bad: u64,
    steps: u64,
    positions: u64,
    served_ms: u64,
    alike_ms: u64,
    faults: FaultCounts,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if flags.verbose { 1 } else { flags.threads.unwrap_or(cores).max(1) };
    let (next, totals) = (AtomicU64::new(0), Mutex::new((Totals::default(), now())));
    let began = now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run_seeds(&flags, began, &next, &totals));
        }
    });
    let Ok((totals, _)) = totals.into_inner() else { return ExitCode::FAILURE };
    say(&totals.faults.table());
    let Totals { seeds, bad, steps, positions, served_ms, alike_ms, .. } = totals;
    say(&format!("{seeds} seeds, {bad} with a violation; {steps} steps, {positions} positions"));
    say(&format!(
        "healed: a request was served within {served_ms} ms, all nodes were alike within {alike_ms} ms"
    ));
    let missing = totals.faults.missing();
    if !missing.is_empty() {
        say(&format!("never happened: {missing:?}"));
    }
    if bad == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes one seed after the other until none is left.
fn run_seeds(flags: &Flags, began: Instant, next: &AtomicU64, totals: &Mutex<(Totals, Instant)>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= flags.seeds {
            return;
        }
        let seed = flags.from.saturating_add(number);
        let ran = run(&Options { verbose: flags.verbose, ..Options::drawn_from(seed) });
        let Ok(mut guard) = totals.lock() else { return };
        let (totals, said) = &mut *guard;
        totals.seeds += 1;
        match ran {
            Ok(report) => {
                totals.faults.add(&report.faults);
                totals.steps += report.steps;
                totals.positions += report.position;
                totals.served_ms = totals.served_ms.max(report.served_ms);
                totals.alike_ms = totals.alike_ms.max(report.alike_ms);
            }
            Err(found) => {
                totals.bad += 1;
                say(&found.to_string());
            }
        }
        if said.elapsed() >= SAY_EVERY {
            *said = now();
            let rate = totals.seeds as f64 / began.elapsed().as_secs_f64();
            let (done, all, bad) = (totals.seeds, flags.seeds, totals.bad);
            say(&format!("{done} of {all} seeds, {bad} with a violation, {rate:.1} seeds/s"));
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a program for people, which tells how far it is")]
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn say(text: &str) {
    println!("{text}");
}
