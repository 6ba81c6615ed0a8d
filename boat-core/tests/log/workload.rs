//! Random work on a log, the same for the same seed, followed by the model.

use std::path::Path;
use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::SimFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogError, LogStart, LogWrite};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::{Model, scan_all};

pub(crate) fn directory() -> &'static Path {
    Path::new("node/log")
}

/// Small enough that every workload seals segments.
pub(crate) fn config(random: &mut ChaCha8Rng) -> LogConfig {
    LogConfig {
        segment_bytes: [4 << 10, 8 << 10, 20 << 10][random.gen_range(0..3)],
        allocate_bytes: [4 << 10, 16 << 10][random.gen_range(0..2)],
        buffer_bytes_max: [0, 1 << 10, 1 << 20][random.gen_range(0..3)],
        index_stride_bytes: [1, 512, 4 << 10][random.gen_range(0..3)],
        watermark_sync_ms: 1_000,
    }
}

/// A log at work, and every state that it may be found in after a crash.
pub(crate) struct Work {
    pub(crate) random: ChaCha8Rng,
    pub(crate) disk: SimFiles,
    pub(crate) now_ms: u64,
    pub(crate) history: Vec<Model>,
    /// How many writes were appended when the last sync that returned was called.
    pub(crate) synced: usize,
    /// A write that failed half way, so that it may be there or not.
    pub(crate) doubtful: Option<Model>,
}

impl Work {
    pub(crate) fn new(seed: u64) -> Work {
        Work {
            random: ChaCha8Rng::seed_from_u64(seed),
            disk: SimFiles::new(),
            now_ms: 0,
            history: vec![Model::default()],
            synced: 0,
            doubtful: None,
        }
    }

    pub(crate) fn model(&self) -> &Model {
        self.history.last().unwrap()
    }

    /// Opens the log, which must be in a state that it may be in, and goes on from there.
    pub(crate) fn open(&mut self) -> Result<Log, LogError> {
        let config = config(&mut self.random);
        let (log, recovered) =
            Log::open(Arc::new(self.disk.clone()), directory(), config, Membership::default())?;
        log.reader().verify()?;
        let entries = scan_all(&log)?;
        let possible = self.history[self.synced..].iter().chain(&self.doubtful);
        let Some(found) = possible.rev().find(|model| model.is(&recovered, &entries)).cloned() else {
            let last = self.history.last();
            panic!(
                "found {recovered:#?}\nwith {entries:?},\nsynced {:#?}\nlast {last:#?}",
                self.history[self.synced]
            );
        };
        self.history = vec![found];
        self.synced = 0;
        self.doubtful = None;
        Ok(log)
    }

    /// Does one random thing.
    pub(crate) fn step(&mut self, log: &mut Log) -> Result<(), LogError> {
        self.now_ms += self.random.gen_range(0..400);
        match self.random.gen_range(0..20) {
            0..12 => self.append(log),
            12..16 => {
                let appended = self.history.len() - 1;
                log.sync(self.now_ms)?;
                self.synced = appended;
                Ok(())
            }
            16 => log.flush(),
            17 => log.allocate_ahead().map(|_| ()),
            18 => log.sync_watermark(self.now_ms),
            _ => self.read(log),
        }
    }

    /// Appends a random write; the same one again if the disk was full.
    fn append(&mut self, log: &mut Log) -> Result<(), LogError> {
        let write = if self.random.gen_bool(0.1) { self.start() } else { self.write() };
        let mut after = self.model().clone();
        after.apply(&write);
        for _ in 0..3 {
            match log.append(&write) {
                Ok(()) => {
                    self.history.push(after);
                    return Ok(());
                }
                Err(error) if error.is_harmless() => {}
                Err(error) => {
                    self.doubtful = Some(after);
                    return Err(error);
                }
            }
        }
        panic!("the disk stays full")
    }

    fn write(&mut self) -> LogWrite {
        let model = self.history.last().unwrap().clone();
        let random = &mut self.random;
        let mut state = model.hard_state;
        if random.gen_bool(0.1) {
            state = HardState { term: state.term + 1, vote: random.gen_range(0..3), ..state };
        }
        let last = model.last_index();
        let first = match random.gen_bool(0.15) {
            true => random.gen_range(state.commit + 1..=last + 1),
            false => last + 1,
        };
        let count = random.gen_range(0..6);
        let term = state.term.max(1);
        let entries: Vec<LogEntry> = (first..first + count).map(|index| entry(random, index, term)).collect();
        let end = entries.last().map_or(last, |entry| entry.index);
        state.term = term;
        if random.gen_bool(0.3) {
            state.commit = random.gen_range(state.commit..=end);
        }
        let newest = model.memberships.iter().map(|known| known.index).max().unwrap_or(0);
        let changes = random.gen_bool(0.1) && state.commit > newest;
        let membership =
            changes.then(|| Membership { index: state.commit, auto_leave: true, ..Membership::default() });
        let hard_state = (changes || state != model.hard_state).then_some(state);
        LogWrite { start: None, entries, hard_state, membership }
    }

    /// Cuts the log somewhere in what is committed, or has a snapshot take its place.
    fn start(&mut self) -> LogWrite {
        let model = self.history.last().unwrap().clone();
        let (random, state) = (&mut self.random, model.hard_state);
        if random.gen_bool(0.7) {
            let index = random.gen_range(model.start.index..=state.commit);
            let start = Some(LogStart { index, term: model.term(index) }).filter(|start| start.index > 0);
            return LogWrite { start, ..LogWrite::default() };
        }
        let index = random.gen_range(state.commit.max(1)..=model.last_index() + 5);
        let term = state.term.max(1) + 1;
        let (term, commit) = match index <= model.last_index() && random.gen_bool(0.3) {
            true => (model.term(index).max(1), index),
            false if index == state.commit => return LogWrite::default(),
            false => (term, index),
        };
        let start = Some(LogStart { index, term });
        let hard_state = Some(HardState { term: state.term.max(term), commit, vote: state.vote });
        let goes_on = index <= model.last_index() && model.term(index) == term;
        let membership =
            (!goes_on).then(|| Membership { index: index / 2, auto_leave: true, ..Membership::default() });
        let entries = match random.gen_bool(0.3) && !goes_on {
            true => (index + 1..index + 3).map(|index| entry(random, index, state.term.max(term))).collect(),
            false => Vec::new(),
        };
        LogWrite { start, entries, hard_state, membership }
    }

    fn read(&mut self, log: &Log) -> Result<(), LogError> {
        let reader = log.reader();
        if reader.last_index() < reader.first_index() {
            return Ok(());
        }
        let low = self.random.gen_range(reader.first_index()..=reader.last_index());
        let high = self.random.gen_range(low..=reader.last_index()) + 1;
        let bytes_max = self.random.gen_range(0..2_000);
        let found = reader.entries(low, high, bytes_max)?;
        let expected = self.history.iter().rev().find(|model| {
            // The reader sees what was written, which lags behind what was appended.
            let from = low.checked_sub(model.start.index + 1).map(|from| from as usize);
            from.is_some_and(|from| model.entries.get(from..from + found.len()) == Some(&found))
        });
        assert!(expected.is_some() && !found.is_empty(), "{low}..{high}: {found:?}");
        let bytes: usize = found.iter().map(|entry| entry.data.len()).sum();
        assert!(found.len() == 1 || bytes as u64 <= bytes_max);
        Ok(())
    }
}

fn entry(random: &mut ChaCha8Rng, index: u64, term: u64) -> LogEntry {
    let bytes_max = if random.gen_bool(0.05) { 6_000 } else { 200 };
    let mut data = vec![0; random.gen_range(0..bytes_max)];
    random.fill(&mut data[..]);
    let kind = if random.gen_bool(0.1) { EntryKind::MembershipChange } else { EntryKind::Normal };
    LogEntry { index, term, kind, data: data.into() }
}
