//! What happened: a hash always, so that two runs can be compared, and readable lines where they are asked for.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

/// How many lines are kept of a run that found something.
const LINES_MAX: usize = 120;

/// The trace of one run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    steps: u64,
    /// How many lines are kept: they cost more than the run itself.
    lines_max: usize,
    verbose: bool,
    lines: VecDeque<String>,
}

impl Trace {
    pub(super) fn new(keeps_lines: bool, keeps_all: bool, verbose: bool) -> Self {
        let lines_max = match (keeps_all, keeps_lines || verbose) {
            (true, _) => usize::MAX,
            (false, true) => LINES_MAX,
            (false, false) => 0,
        };
        Trace { lines_max, verbose, ..Trace::default() }
    }

    /// Takes something that happened into the hash.
    pub(super) fn mix(&mut self, now_ms: u64, what: u64) {
        self.steps += 1;
        let mut bytes = [0; 24];
        for (place, word) in bytes.chunks_exact_mut(8).zip([self.hash, now_ms, what]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.hash = xxh3_64(&bytes);
    }

    /// Notes that `what` happened; `detail` says it in words.
    pub(super) fn note(&mut self, now_ms: u64, what: u64, detail: impl FnOnce() -> String) {
        self.mix(now_ms, what);
        if self.lines_max > 0 {
            let line = format!("{now_ms:>6} ms  {}", detail());
            if self.verbose {
                #[expect(clippy::print_stderr, reason = "asked for, to follow a run")]
                {
                    eprintln!("{line}");
                }
            }
            if self.lines.len() >= self.lines_max {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
