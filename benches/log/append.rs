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

/// Short and many: a disk's other users come and go.
const ROUNDS: usize = 15;
/// How many requests are synced together, and how many times in a round.
const BATCHES: [(usize, usize); 3] = [(1, 300), (64, 200), (1_024, 60)];

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
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let mut log = Appends::new(&directory.path().join("log"), batch)?;
    let mut growing = Bare::new(&directory.path().join("growing"), log.batch_bytes(), syncs, false)?;
    let mut zeroed = Bare::new(&directory.path().join("zeroed"), log.batch_bytes(), syncs, true)?;
    let mut contenders = [
        Contender { name: "log", run: Box::new(|| log.run(syncs)) },
        Contender { name: "bare, growing file", run: Box::new(|| growing.run()) },
        Contender { name: "bare, zero-filled before", run: Box::new(|| zeroed.run()) },
    ];
    let rounds = if size == Size::Test { 1 } else { ROUNDS };
    let seconds = race(&mut contenders, rounds)?;
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
        LogWrite { entries: entries.collect(), hard_state, membership: None }
    }

    /// What one batch takes in the file, of whose layout `docs/log-format.md` tells.
    fn batch_bytes(&self) -> usize {
        let entry = 16 + self.workload.clone().command().len();
        (56 + 24 + self.batch * entry).next_multiple_of(8)
    }

    /// Appends and syncs so many batches, which were made before.
    fn run(&mut self, syncs: usize) -> Result<Duration> {
        let writes: Vec<LogWrite> = (0..syncs).map(|_| self.write()).collect();
        let started = Instant::now();
        for write in &writes {
            self.log.append(write)?;
            self.log.sync(self.started.elapsed().as_millis() as u64)?;
        }
        Ok(started.elapsed())
    }
}

/// A file that the same bytes are written to.
struct Bare {
    file: File,
    batch: Vec<u8>,
    syncs: usize,
    offset: u64,
    zeroed: bool,
}

impl Bare {
    fn new(path: &Path, batch_bytes: usize, syncs: usize, zeroed: bool) -> Result<Bare> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Bare { file, batch: vec![b'b'; batch_bytes], syncs, offset: 0, zeroed })
    }

    fn run(&mut self) -> Result<Duration> {
        if self.zeroed {
            self.file.write_all_at(&vec![0; self.batch.len() * self.syncs], self.offset)?;
            self.file.sync_all()?;
        }
        let started = Instant::now();
        for _ in 0..self.syncs {
            self.file.write_all_at(&self.batch, self.offset)?;
            self.file.sync_data()?;
            self.offset += self.batch.len() as u64;
        }
        Ok(started.elapsed())
    }
}
