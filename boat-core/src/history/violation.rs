//! What is said of a history in which something does not fit.

use std::fmt;

/// A promise that a history shows to be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one: its name in `docs/guarantees.md`, as in "S4".
    pub promise: &'static str,
    /// In which way.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is broken: {}", self.promise, self.what)
    }
}

/// How many violations are told: the first ones say enough, and one cause may show at every position.
const VIOLATIONS_MAX: usize = 100;

/// Violations as they are found.
#[derive(Debug, Default)]
pub(super) struct Violations(Vec<Violation>);

impl Violations {
    /// Notes a violation of `promise` unless `holds`.
    pub(super) fn require(&mut self, holds: bool, promise: &'static str, what: impl FnOnce() -> String) {
        if !holds && self.0.len() < VIOLATIONS_MAX {
            self.0.push(Violation { promise, what: what() });
        }
    }

    pub(super) fn into_result<T>(self, sound: T) -> Result<T, Vec<Violation>> {
        if self.0.is_empty() { Ok(sound) } else { Err(self.0) }
    }
}
