//! What every part of a run needs: the time, the dice, the queue and the books.

use std::collections::BTreeSet;
use std::rc::Rc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::check::Violation;
use super::faults::{Fault, FaultCounts};
use super::model::{Models, Poison};
use super::options::Options;
use super::queue::{Event, Queue};
use super::trace::Trace;

/// The wall clock's reading when a run begins, in milliseconds since the Unix epoch.
const WALL_BASE_MS: u64 = 1_700_000_000_000;

/// How many requests of a run crash models, at most.
const POISONS_MAX: u32 = 5;

/// How a step may end early.
pub(super) type Checked<T = ()> = Result<T, Violation>;

/// What every part of a run needs.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: Options,
    /// What the nodes serve.
    pub(super) models: Rc<dyn Models>,
    pub(super) now_ms: u64,
    pub(super) trace: Trace,
    pub(super) faults: FaultCounts,
    /// Whether faults still happen.
    pub(super) faulty: bool,
    random: ChaCha8Rng,
    queue: Queue,
    lives: u64,
    poisons: u32,
    /// The requests that crash models at first, and went well since.
    pub(super) went_well: BTreeSet<u64>,
}

impl Context {
    pub(super) fn new(options: Options, models: Rc<dyn Models>, keeps_lines: bool) -> Self {
        Context {
            models,
            now_ms: 0,
            trace: Trace::new(keeps_lines, options.keeps_trace, options.verbose),
            faults: FaultCounts::default(),
            faulty: true,
            random: ChaCha8Rng::seed_from_u64(options.seed),
            queue: Queue::default(),
            lives: 0,
            poisons: 0,
            went_well: BTreeSet::new(),
            options,
        }
    }

    pub(super) fn after(&mut self, wait_ms: u64, event: Event) {
        self.queue.push(self.now_ms + wait_ms, event);
    }

    /// The next event; time goes on to it.
    pub(super) fn next(&mut self) -> Option<Event> {
        let (at_ms, event) = self.queue.pop()?;
        self.now_ms = at_ms;
        Some(event)
    }

    pub(super) fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    pub(super) fn word(&mut self) -> u64 {
        self.random.r#gen()
    }

    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.random.gen_range(0..=most)
    }

    /// True with this probability, and only while faults happen.
    pub(super) fn fault(&mut self, per_mille: u32) -> bool {
        self.faulty && self.chance(per_mille)
    }

    /// Whether a new request crashes models, and how. Few do: each costs every node some replays.
    pub(super) fn poison(&mut self) -> Option<Poison> {
        if self.poisons >= POISONS_MAX || !self.fault(self.options.poison_per_mille) {
            return None;
        }
        self.poisons += 1;
        // Where an operator takes out the one node on which it went well, that answer is revoked (design D6).
        let always = self.chance(500) || self.options.operate_per_mille > 0;
        Some(if always { Poison::Always } else { Poison::AtFirst })
    }

    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.gen_range(0..1000) < per_mille
    }

    pub(super) fn wall_ms(&self, offset_ms: i64) -> u64 {
        (WALL_BASE_MS + self.now_ms).saturating_add_signed(offset_ms)
    }

    pub(super) fn count(&mut self, fault: Fault) {
        self.faults.count(fault);
    }

    pub(super) fn note(&mut self, what: u64, detail: impl FnOnce() -> String) {
        self.trace.note(self.now_ms, what, detail);
    }
}
