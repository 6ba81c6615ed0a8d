//! Models: a sound one, and the careless ones.

use std::collections::{BTreeMap, HashMap};

use boat_core::{Context, Model};
use serde::{Deserialize, Serialize};

/// Counts words and learns from them; uses time and random numbers, both from the log.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sound {
    seen: u64,
    by_remainder: BTreeMap<u64, f64>,
    latest_ms: u64,
}

impl Model for Sound {
    type Request = u64;
    type Response = (u64, f64, u64);

    fn predict(&mut self, context: &Context, number: u64) -> (u64, f64, u64) {
        use rand::RngCore;
        self.seen += 1;
        self.latest_ms = context.time_ms();
        let weight = self.by_remainder.entry(number % 7).or_default();
        *weight = *weight * 0.9 + number as f64;
        (self.seen, *weight, self.latest_ms ^ context.rng().next_u64())
    }
}

/// Reads the wall clock in place of the log's time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct WallClock {
    seen: u64,
}

impl Model for WallClock {
    type Request = u64;
    type Response = u128;

    fn predict(&mut self, _: &Context, number: u64) -> u128 {
        self.seen += number;
        #[expect(clippy::disallowed_methods, reason = "the mistake that is to be found")]
        let now = std::time::SystemTime::now();
        now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() + u128::from(self.seen)
    }
}

/// Answers with whatever entry its hash map shows first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct HashOrder {
    seen: HashMap<u64, u64>,
}

impl Model for HashOrder {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, number: u64) -> u64 {
        *self.seen.entry(number).or_default() += 1;
        self.seen.keys().next().copied().unwrap_or(0)
    }
}

/// Forgets its sum in a snapshot.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Forgetful {
    seen: u64,
    #[serde(skip)]
    sum: u64,
}

impl Model for Forgetful {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, number: u64) -> u64 {
        self.seen += 1;
        self.sum += number;
        self.sum / self.seen
    }
}

/// Panics at one request in a few.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fragile {
    sum: u64,
}

impl Model for Fragile {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, number: u64) -> u64 {
        assert!(!number.is_multiple_of(23), "{number} is not to be had");
        self.sum += number;
        self.sum
    }
}

impl Forgetful {
    /// One that does not begin at nothing.
    pub(crate) fn counting(seen: u64) -> Self {
        Forgetful { seen, sum: 0 }
    }
}
