//! Running a seed, and what is said of it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::check::Violation;
use super::faults::FaultCounts;
use super::model::{HashChains, Models};
use super::options::Options;
use super::world::World;

/// What a run without a violation was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash of everything that happened: equal for two runs that went the same way.
    pub trace_hash: u64,
    /// How many events the trace has.
    pub steps: u64,
    /// The last position: how many requests were applied.
    pub position: u64,
    /// The virtual milliseconds from the end of the faults to the first answer.
    pub served_ms: u64,
    /// The virtual milliseconds from the end of the faults until all nodes were alike.
    pub alike_ms: u64,
    /// Which faults happened, and how often.
    pub faults: FaultCounts,
    /// All that happened, if [`Options::keeps_trace`] asked for it.
    pub trace: Vec<String>,
}

/// A violation: what must never be, was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The seed that shows it.
    pub seed: u64,
    /// Which invariant does not hold.
    pub invariant: String,
    /// In which way.
    pub what: String,
    /// What happened before, the last event last.
    pub trace: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}: {}", self.seed, self.invariant, self.what)?;
        write!(
            f,
            "see it again: BOAT_SEED={} cargo test -p boat-core --features sim --test sim replay_seed -- --nocapture",
            self.seed
        )
    }
}

impl std::error::Error for Found {}

/// Runs a whole cluster through its faults and its healing.
///
/// # Errors
/// [`Found`] at the first violation of an invariant, a panic included. The run is then repeated to tell what happened.
pub fn run(options: &Options) -> Result<Report, Box<Found>> {
    run_models(options, &(Rc::new(HashChains) as Rc<dyn Models>))
}

/// The same with nodes that serve these models.
pub(crate) fn run_models(options: &Options, models: &Rc<dyn Models>) -> Result<Report, Box<Found>> {
    attempt(options, models, false).map_err(|first| {
        let again = attempt(options, models, true);
        Box::new(again.err().unwrap_or(first))
    })
}

fn attempt(options: &Options, models: &Rc<dyn Models>, keeps_lines: bool) -> Result<Report, Found> {
    let seed = options.seed;
    let found = |violation: Violation, trace| {
        let Violation { invariant, what } = violation;
        Found { seed, invariant: invariant.to_owned(), what, trace }
    };
    let world = World::new(options.clone(), models.clone(), keeps_lines);
    let mut world = world.map_err(|violation| found(violation, Vec::new()))?;
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let World { context, checker, healing, .. } = world;
    let (hash, steps) = (context.trace.hash(), context.trace.steps());
    match ran {
        Ok(Ok(())) => Ok(Report {
            seed,
            trace_hash: hash,
            steps,
            position: checker.position(),
            served_ms: healing.as_ref().and_then(|healing| healing.served_ms).unwrap_or(0),
            alike_ms: healing.as_ref().and_then(|healing| healing.alike_ms).unwrap_or(0),
            faults: context.faults,
            trace: if options.keeps_trace { context.trace.into_lines() } else { Vec::new() },
        }),
        Ok(Err(violation)) => Err(found(violation, context.trace.into_lines())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = text.unwrap_or_else(|| "a panic without words".to_owned());
            Err(found(Violation { invariant: "no panic", what }, context.trace.into_lines()))
        }
    }
}
