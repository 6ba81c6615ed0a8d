//! Requests that crash models, and what becomes of them (design D6).
//!
//! A request that crashes the model once would crash it at every replay. So after a predictor has lost its state, the
//! requests that ran are *suspects*, and run one at a time. One that crashes the model [`CRASHES_MAX`] times is *held*: it is
//! not run again on this node, restarts included, until the log decides. The leader commits a quarantine once a majority of
//! the voters has crashed there and every member holds the request; a node that is past it makes the leader commit a retry
//! instead. [`Decisions`] is what the log says; [`Quarantine`] is what one node knows and has promised.
//!
//! Plain functions over plain state: the driver keeps [`Quarantine::encode`] on disk, the simulator in its disk in memory.

mod decisions;
mod file;

use std::collections::{BTreeMap, BTreeSet};

pub use self::decisions::Decisions;
pub(crate) use self::file::QuarantineFile;
use crate::Call;
use crate::codec::{Malformed, Reader};
use crate::transport::{HOLDS_MAX, Hold};

/// How often one request may crash a model before it is held.
pub const CRASHES_MAX: u32 = 3;
/// How many calls are handed to a predictor at once, at most.
pub const RUN_CALLS_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    round: u32,
    crashed: bool,
}

/// What to do with the calls that come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Hand so many of them, at least one, to the predictor.
    Calls(usize),
    /// The first one is quarantined: that is its outcome, and the predictor does not see it.
    Quarantined,
    /// The first one is held: wait for a decision.
    Held,
}

/// What one node knows of requests that crash models, and what it has promised about them.
#[derive(Debug, Default)]
pub struct Quarantine {
    decisions: Decisions,
    holds: BTreeMap<u64, Held>,
    /// How often each request crashed the model while it ran alone.
    crashes: BTreeMap<u64, u32>,
    /// The requests that ran when the state was lost.
    suspects: Option<(u64, u64)>,
    /// How many calls run at once behind the suspects; grows again.
    run_calls: usize,
    /// How many calls run at once at most: fewer after so many together took too long.
    run_calls_max: usize,
    running: Option<(u64, u64)>,
    /// The highest position whose call has ended since the process began.
    passed: u64,
    /// Up to this entry, requests may have been answered before the process began, or by an earlier incarnation.
    doubt_index: Option<u64>,
    /// The predictor has been past that entry.
    is_certain: bool,
    /// The position of the last call of the predictor's present life that has ended.
    at: u64,
    /// The quarantined positions that the predictor's present life has come by.
    skipped: BTreeSet<u64>,
}

impl Quarantine {
    /// Nothing is decided, held or suspected.
    pub fn new() -> Self {
        Quarantine { run_calls: RUN_CALLS_MAX, run_calls_max: RUN_CALLS_MAX, ..Quarantine::default() }
    }

    /// What the log has decided, as far as this node knows.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// The log has decided more. Promises that it voids are gone. To be kept durably before anything behind the decision is
    /// said to be committed.
    pub fn decided(&mut self, decisions: Decisions) {
        self.decisions = decisions;
        let decisions = &self.decisions;
        let is_open = |position: u64| !decisions.is_quarantined(position);
        self.holds.retain(|position, held| is_open(*position) && held.round == decisions.round(*position));
        let holds = &self.holds;
        self.crashes.retain(|position, count| *count < CRASHES_MAX || holds.contains_key(position));
    }

    /// The predictor is fresh: as if it had seen no request.
    pub fn fresh(&mut self) {
        self.running = None;
        self.at = 0;
        self.skipped.clear();
    }

    /// The predictor goes on from a snapshot as of this position, whose predictor passed over all that is quarantined up to
    /// there.
    pub fn restored(&mut self, position: u64) {
        self.fresh();
        self.at = position;
        self.passed = self.passed.max(position);
        self.skipped = self.decisions.quarantined(1, position).collect();
    }

    /// Up to this entry requests may have been answered already, by an earlier process or an earlier incarnation: the last that
    /// the log opened with (the commit that it opened with may be an old one), or the one that made this incarnation a member.
    pub fn doubt_up_to(&mut self, index: u64) {
        self.doubt_index.get_or_insert(index);
    }

    /// The predictor is past this entry.
    pub fn reached(&mut self, index: u64) {
        self.is_certain |= self.doubt_index.is_some_and(|doubt| index >= doubt);
    }

    /// Whether the predictor has run a request that is quarantined: it must begin anew.
    pub fn is_outdated(&self) -> bool {
        self.decisions.quarantined(1, self.at).any(|position| !self.skipped.contains(&position))
    }

    /// Says how many of `calls` to run, and takes them for running until [`Quarantine::ended`] or [`Quarantine::lost`].
    pub fn begin(&mut self, calls: &[Call]) -> Run {
        let Some(first) = calls.first().map(|call| call.position) else { return Run::Calls(0) };
        if self.decisions.is_quarantined(first) {
            self.skipped.insert(first);
            self.at = first;
            self.passed = self.passed.max(first);
            return Run::Quarantined;
        }
        if self.holds.contains_key(&first) {
            return Run::Held;
        }
        let calls_max = match self.suspects {
            Some((suspect, last)) if (suspect..=last).contains(&first) => 1,
            Some((suspect, _)) if first < suspect => self.run_calls_max,
            _ => self.run_calls,
        };
        let suspect = self.suspects.map(|(suspect, _)| suspect).filter(|suspect| first < *suspect);
        let calls = calls.iter().take(calls_max.clamp(1, self.run_calls_max.max(1)));
        let runs = calls.take_while(|call| {
            let position = call.position;
            let is_free = !self.decisions.is_quarantined(position) && !self.holds.contains_key(&position);
            is_free && suspect.is_none_or(|suspect| position < suspect)
        });
        let (count, last) = runs.fold((0, first), |(count, _), call| (count + 1, call.position));
        self.running = Some((first, last));
        Run::Calls(count)
    }

    /// So many of the calls that ran have ended with outcomes; the others did not happen.
    pub fn ended(&mut self, calls: &[Call]) {
        self.running = None;
        let Some(last) = calls.last().map(|call| call.position) else { return };
        self.at = last;
        self.passed = self.passed.max(last);
        self.crashes.retain(|position, _| *position > last);
        match self.suspects {
            Some((_, end)) if last >= end => self.suspects = None,
            Some(_) => {}
            None => self.run_calls = (2 * self.run_calls).min(self.run_calls_max),
        }
    }

    /// The predictor has lost its state while these calls ran; `timed_out` when it took too long. True: there is a new hold,
    /// to be kept durably before it is told.
    pub fn lost(&mut self, ran: &[Call], timed_out: bool) -> bool {
        self.running = None;
        let (Some(first), Some(last)) = (ran.first(), ran.last()) else { return false };
        self.suspect(first.position, last.position, timed_out)
    }

    /// Like [`Quarantine::lost`], for a predictor that does not say which calls ended: all that ran have taken too long.
    pub fn hung(&mut self) -> bool {
        self.running.take().is_some_and(|(first, last)| self.suspect(first, last, true))
    }

    fn suspect(&mut self, first: u64, last: u64, timed_out: bool) -> bool {
        self.suspects = Some(match self.suspects {
            Some((start, end)) => (start.min(first), end.max(last)),
            None => (first, last),
        });
        self.run_calls = 1;
        if first < last {
            if timed_out {
                let ran = usize::try_from(last - first).unwrap_or(usize::MAX).saturating_add(1);
                self.run_calls_max = (ran.min(self.run_calls_max) / 4).max(1);
            }
            return false;
        }
        let count = self.crashes.entry(first).or_default();
        *count = count.saturating_add(1);
        let holds = *count >= CRASHES_MAX && self.holds.len() < HOLDS_MAX;
        if holds {
            let round = self.decisions.round(first);
            self.holds.insert(first, Held { round, crashed: true });
        }
        holds
    }

    /// The leader asks to hold a request. True: it is promised now, to be kept durably before it is told. A request that is
    /// running, or that this node is past or may have been past before, is not promised: it is found out by running it.
    pub fn hold(&mut self, position: u64, round: u32) -> bool {
        let runs = self.running.is_some_and(|(first, last)| (first..=last).contains(&position));
        let is_open = round == self.decisions.round(position) && !self.decisions.is_quarantined(position);
        let has_room = self.holds.len() < HOLDS_MAX && !self.holds.contains_key(&position);
        let promises = self.is_certain && !runs && is_open && has_room && position > self.passed;
        if promises {
            self.holds.insert(position, Held { round, crashed: false });
        }
        promises
    }

    /// What is held.
    pub fn holds(&self) -> Vec<Hold> {
        let hold = |(position, held): (&u64, &Held)| Hold {
            position: *position,
            round: held.round,
            crashed: held.crashed,
        };
        self.holds.iter().map(hold).collect()
    }

    /// The highest position whose call has ended since the process began.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// What must be durable: decisions, and behind them `| count u32 | count x (position u64 | round u32 | crashed u8) |`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.decisions.encode(&mut out);
        out.extend_from_slice(&(self.holds.len() as u32).to_le_bytes());
        for (position, Held { round, crashed }) in &self.holds {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&round.to_le_bytes());
            out.push(u8::from(*crashed));
        }
        out
    }

    /// Reads what [`Quarantine::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Quarantine, Malformed> {
        let mut reader = Reader::new(bytes, "quarantine");
        let decisions = Decisions::read(&mut reader)?;
        let mut holds = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let position = reader.u64()?;
            let held = Held { round: reader.u32()?, crashed: reader.u8()? != 0 };
            holds.insert(position, held);
        }
        reader.finish()?;
        if holds.len() > HOLDS_MAX {
            return Err(Malformed("quarantine"));
        }
        Ok(Quarantine { decisions, holds, ..Quarantine::new() })
    }
}

#[cfg(test)]
mod tests;
