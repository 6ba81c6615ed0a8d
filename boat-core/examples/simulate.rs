//! Runs the simulator over a range of seeds, and says what it finds: `simulate FIRST COUNT [-v]`.

use std::process::ExitCode;

use boat_core::sim::{FaultCounts, Options, run};

/// How often a long run says how far it is, in seeds.
const SAY_EVERY: u64 = 1_000;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [first, count] = numbers.as_slice() else {
        say("usage: simulate FIRST COUNT [-v]");
        return ExitCode::from(64);
    };
    let (mut faults, mut steps, mut positions, mut served_ms, mut alike_ms) =
        (FaultCounts::default(), 0, 0, 0, 0);
    let mut bad = 0_u64;
    let verbose = std::env::args().any(|text| text == "-v");
    for seed in *first..first.saturating_add(*count) {
        if seed != *first && (seed - first).is_multiple_of(SAY_EVERY) {
            say(&format!("{} seeds so far, {bad} with a violation", seed - first));
        }
        match run(&Options { verbose, ..Options::drawn_from(seed) }) {
            Ok(report) => {
                faults.add(&report.faults);
                steps += report.steps;
                positions += report.position;
                served_ms = report.served_ms.max(served_ms);
                alike_ms = report.alike_ms.max(alike_ms);
            }
            Err(found) => {
                bad += 1;
                say(&found.to_string());
            }
        }
    }
    say(&format!("{count} seeds, {bad} with a violation; {steps} steps, {positions} positions"));
    say(&format!("healed: served within {served_ms} ms, alike within {alike_ms} ms; {faults}"));
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stdout, reason = "a program for people")]
fn say(text: &str) {
    println!("{text}");
}
