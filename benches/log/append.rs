//! Append with sync, beside bare system calls.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::{Contender, Goal, Result, Shape, Size, Workload, race};
use boat_core::Membership;
use boat_core::log::files::RealFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogWrite};

const ROUNDS: usize = 5;
/// How many requests are synced together, and how many times in a round. The contenders take turns at each sync: a disk's
/// other users come and go, and make it ten times slower while they are there.
const BATCHES: [(usize, usize); 3] = [(1, 800), (64, 600), (1_024, 300)];

/// Measures each batch size and gives its goal.
pub(crate) fn measure(size: Size) -> Result<Vec<Goal>> {
    println!("\nappend of 128 B requests, each batch synced; {ROUNDS} rounds in turns");
    println!("{:>7} {:28} {:>26} {:>30}", "batch", "", "syncs/s", "requests/s");
    let mut goals = Vec::new();
    for (batch, syncs) in BATCHES {
        goals.push(measure_batch(size, batch, size.pick(20, syncs, 4 * syncs))?);
    }
    Ok(goals)
}

fn measure_batch(size: Size, batch: usize, syncs: usize) -> Result<Goal> {
    let rounds = if size == Size::Test { 1 } else { ROUNDS };
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let mut log = Appends::new(&directory.path().join("log"), batch)?;
    let mut growing = Bare::new(&directory.path().join("growing"), log.batch_bytes(), 0)?;
    let mut zeroed = Bare::new(&directory.path().join("zeroed"), log.batch_bytes(), (rounds + 1) * syncs)?;
    let mut contenders = [
        Contender { name: "log", run: Box::new(|| log.turn()) },
        Contender { name: "bare, growing file", run: Box::new(|| growing.turn()) },
        Contender { name: "bare, zero-filled before", run: Box::new(|| zeroed.turn()) },
    ];
    let seconds = race(&mut contenders, rounds, syncs)?;
    for (contender, seconds) in contenders.iter().zip(&seconds) {
        let rate = seconds.map(|seconds| syncs as f64 / seconds);
        let requests = rate.map(|rate| rate * batch as f64);
        println!(
            "{batch:>7} {:28} {:>26} {:>30}",
            contender.name,
            format!("{rate:.0}"),
            format!("{requests:.0}")
        );
    }
    let [log, growing, _zeroed] = seconds.as_slice() else { return Err("three were measured".into()) };
    Ok(Goal::at_least(format!("append_by_{batch}_of_bare"), growing.median() / log.median(), 0.9))
}

/// A log that is appended to.
struct Appends {
    log: Log,
    workload: Workload,
    batch: usize,
    index: u64,
    started: Instant,
}

impl Appends {
    fn new(directory: &Path, batch: usize) -> Result<Appends> {
        let (log, _) =
            Log::open(Arc::new(RealFiles), directory, LogConfig::default(), Membership::default())?;
        let mut workload = Workload::new(Shape { body_bytes: 128, entry_requests: 1, keyed_percent: 0 });
        // The first command, which opens the sessions, has another length.
        workload.command();
        Ok(Appends { log, workload, batch, index: 0, started: Instant::now() })
    }

    fn write(&mut self) -> LogWrite {
        let hard_state = Some(HardState { term: 1, vote: 1, commit: self.index });
        let entries = (0..self.batch).map(|_| {
            self.index += 1;
            let data = self.workload.command().into();
            LogEntry { index: self.index, term: 1, kind: EntryKind::Normal, data }
        });
        LogWrite { entries: entries.collect(), hard_state, ..LogWrite::default() }
    }

    /// What one batch takes in the file, of whose layout `docs/log-format.md` tells.
    fn batch_bytes(&self) -> usize {
        let entry = 16 + self.workload.clone().command().len();
        (56 + 24 + self.batch * entry).next_multiple_of(8)
    }

    /// Appends and syncs a batch. Making it does not count.
    fn turn(&mut self) -> Result<Duration> {
        let write = self.write();
        let started = Instant::now();
        self.log.append(&write)?;
        self.log.sync(self.started.elapsed().as_millis() as u64)?;
        Ok(started.elapsed())
    }
}

/// A file that the same bytes are written to.
struct Bare {
    file: File,
    batch: Vec<u8>,
    offset: u64,
}

impl Bare {
    /// A file that grows, or is filled with zeros for all that will be written.
    fn new(path: &Path, batch_bytes: usize, zeroed_batches: usize) -> Result<Bare> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let zeros = vec![0; batch_bytes];
        for n in 0..zeroed_batches {
            file.write_all_at(&zeros, (n * batch_bytes) as u64)?;
        }
        file.sync_all()?;
        Ok(Bare { file, batch: vec![b'b'; batch_bytes], offset: 0 })
    }

    /// Writes and syncs the batch.
    fn turn(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.file.write_all_at(&self.batch, self.offset)?;
        self.file.sync_data()?;
        self.offset += self.batch.len() as u64;
        Ok(started.elapsed())
    }
}
