//! A cluster for a user's own model, in one thread, on virtual time, under faults.

use std::fmt;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::served::UserModels;
use crate::Model;
use crate::sim::{FaultCounts, Found, Models, Options, run_models};

/// How many seeds are run unless something else is asked for.
const SEEDS: u64 = 10;
/// What to look at: one seed, told in full.
const SEED_VARIABLE: &str = "BOAT_SEED";

/// Clusters that serve a model of yours while nodes are killed, cut off, paused and wiped, disks tear and fill, messages are
/// lost and repeated, clocks jump and members come and go.
///
/// One seed is one cluster: it decides how many nodes there are, what fails when, and what clients ask. Each node runs the real
/// consensus, log, snapshots and applier on a simulated disk and network, so a run takes milliseconds and always goes the same way.
/// After every step it is checked that
/// - all nodes apply the same requests in the same order, each once, with the same outcomes;
/// - no answer that was given is lost, and none was made up;
/// - outcomes and states are those of a model that ran through: whatever was restarted, rebuilt or taken from a snapshot;
///
/// and at the end, when the faults are over, that the cluster heals: it serves, and all nodes are alike. A model that panics
/// does so on its nodes, too: its request is quarantined, as it would be.
///
/// ```
/// use boat_core::testing::Simulation;
/// use boat_core::{Context, Model};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct RunningMean { seen: u64, sum: f64 }
///
/// impl Model for RunningMean {
///     type Request = f64;
///     type Response = f64;
///     fn predict(&mut self, _: &Context, x: f64) -> f64 {
///         self.seen += 1;
///         self.sum += x;
///         self.sum / self.seen as f64
///     }
/// }
///
/// let summary = Simulation::new(RunningMean::default, |number| number as f64).seeds(0..3).run()?;
/// assert!(summary.positions > 0);
/// # Ok::<(), Box<boat_core::testing::Failure>>(())
/// ```
pub struct Simulation {
    models: Rc<dyn Models>,
    seeds: Range<u64>,
    nodes: Option<u16>,
    faults_ms: Option<u64>,
    adjust: Box<dyn Fn(&mut Options)>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// What the runs were like, if none found anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// How many clusters were run.
    pub seeds: u64,
    /// How many requests all of them applied.
    pub positions: u64,
    /// Which faults happened, and how often.
    pub faults: FaultCounts,
}

/// What a run found, with the way to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which seed, which invariant, in which way, and what happened before.
    pub found: Found,
    /// What to run in order to see it again.
    pub command: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { seed, invariant, what, trace } = &self.found;
        for line in trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {seed}: {invariant}: {what}\nsee it again: {}", self.command)
    }
}

impl std::error::Error for Failure {}

impl Simulation {
    /// Clusters whose nodes each serve what `model` makes, asked what `request` makes of numbers below a million.
    pub fn new<M: Model>(
        model: impl Fn() -> M + 'static,
        request: impl Fn(u64) -> M::Request + 'static,
    ) -> Self {
        let models = UserModels { model: Box::new(model), request: Box::new(request) };
        Simulation {
            models: Rc::new(models),
            seeds: 0..SEEDS,
            nodes: None,
            faults_ms: None,
            adjust: Box::new(|_| {}),
        }
    }

    /// Which seeds to run. Default: the first ten.
    #[must_use]
    pub fn seeds(self, seeds: Range<u64>) -> Self {
        Simulation { seeds, ..self }
    }

    /// How many nodes each cluster has, from 1 to 7. Default: what the seed says.
    #[must_use]
    pub fn nodes(self, nodes: u16) -> Self {
        Simulation { nodes: Some(nodes.clamp(1, 7)), ..self }
    }

    /// How long faults go on, in virtual time. Default: what the seed says, 5 to 40 seconds.
    #[must_use]
    pub fn faults_for(self, duration: Duration) -> Self {
        let faults_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Simulation { faults_ms: Some(faults_ms), ..self }
    }

    /// Changes what a seed says, after everything else: how likely each fault is, how many clients there are, and so on.
    #[must_use]
    pub fn with(self, adjust: impl Fn(&mut Options) + 'static) -> Self {
        Simulation { adjust: Box::new(adjust), ..self }
    }

    /// Runs all seeds, or the one in the environment variable `BOAT_SEED`, which then tells everything that happens.
    ///
    /// # Errors
    /// The first [`Failure`].
    pub fn run(&self) -> Result<Summary, Box<Failure>> {
        let asked = std::env::var(SEED_VARIABLE).ok().and_then(|seed| seed.parse::<u64>().ok());
        let seeds = asked.map_or(self.seeds.clone(), |seed| seed..seed.saturating_add(1));
        let mut summary = Summary { seeds: 0, positions: 0, faults: FaultCounts::default() };
        for seed in seeds {
            let mut options = self.options(seed);
            options.verbose |= asked.is_some();
            let report = run_models(&options, &self.models)
                .map_err(|found| Box::new(Failure { command: command(seed), found: *found }))?;
            summary.seeds += 1;
            summary.positions += report.position;
            summary.faults.add(&report.faults);
        }
        Ok(summary)
    }

    fn options(&self, seed: u64) -> Options {
        let mut options = Options::drawn_from(seed);
        // Requests and states are the user's alone.
        (options.poison_per_mille, options.diverge_per_mille) = (0, 0);
        if let Some(nodes) = self.nodes {
            (options.nodes, options.founders) = (nodes, nodes);
        }
        options.faulty_ms = self.faults_ms.unwrap_or(options.faulty_ms);
        (self.adjust)(&mut options);
        options
    }
}

/// How to see a seed again. A test's thread bears the test's name.
fn command(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").map(|name| format!(" {name}"));
    format!("{SEED_VARIABLE}={seed} cargo test{} -- --nocapture", test.unwrap_or_default())
}
