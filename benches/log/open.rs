//! Opening a log, whatever its length.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use benches::{Figure, Goal, Result, Shape, Size, Workload, resident_bytes};
use boat_core::Membership;
use boat_core::log::files::RealFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogWrite};

const ROUNDS: usize = 5;
const SHAPE: Shape = Shape { body_bytes: 32, entry_requests: 64, keyed_percent: 0 };
/// How many bytes of the last segment are written at least: of 64 MiB.
const LAST_SEGMENT_BYTES_MIN: u64 = 62 << 20;
/// How often the last segment is looked at while it fills up.
const LOOK_EVERY_WRITES: u64 = 64;
/// The first argument of the process that opens a log; the second is its directory.
const CHILD: &str = "--open";
/// The longest that opening may take at any length, in milliseconds.
const OPEN_MS_MAX: f64 = 50.0;
/// How much longer than with the shortest log.
const GROWTH_MAX: f64 = 1.5;
/// The most memory that opening may take.
const RESIDENT_MIB_MAX: f64 = 8.0;

/// The directory, where this process was started to open one.
pub(crate) fn asked_to_open() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == CHILD).then(|| arguments.next().map(PathBuf::from)).flatten()
}

/// Opens the log, and prints the milliseconds that it took, the bytes that the process grew by, and its last index.
pub(crate) fn child(directory: &Path) -> Result<()> {
    let before = resident_bytes();
    let started = Instant::now();
    let (_log, recovered) =
        Log::open(Arc::new(RealFiles), directory, LogConfig::default(), Membership::default())?;
    let took = started.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    println!("{} {grown} {}", took.as_secs_f64() * 1e3, recovered.last_index);
    Ok(())
}

/// Measures all lengths and gives the goals.
pub(crate) fn measure(size: Size) -> Result<Vec<Goal>> {
    println!("\nopening a log of 32 B requests, 64 to an entry; each time in a process of its own");
    println!("{:>12} {:>10} {:>22} {:>22}", "requests", "GiB", "ms", "MiB resident");
    let lengths: &[u64] =
        size.pick(&[64_000][..], &[1_000_000, 10_000_000][..], &[1_000_000, 10_000_000, 100_000_000][..]);
    let mut figures = Vec::new();
    for requests in lengths {
        figures.push(measure_length(*requests, size)?);
    }
    let (Some((shortest, _)), Some((longest, resident))) = (figures.first(), figures.last()) else {
        return Err("no length was measured".into());
    };
    Ok(vec![
        Goal::at_most("open_ms", longest.median(), OPEN_MS_MAX),
        Goal::at_most("open_growth", longest.median() / shortest.median(), GROWTH_MAX),
        Goal::at_most("open_resident_mib", resident.median(), RESIDENT_MIB_MAX),
    ])
}

/// The milliseconds and the MiB that opening a log takes.
fn measure_length(requests: u64, size: Size) -> Result<(Figure, Figure)> {
    let directory = benches::directory(env!("CARGO_TARGET_TMPDIR"))?;
    let (requests, last_index, bytes) = write(directory.path(), requests, size)?;
    let (mut times, mut memories) = (Vec::new(), Vec::new());
    for round in 0..=size.pick(1, ROUNDS, ROUNDS) {
        let (milliseconds, grown) = open_in_child(directory.path(), last_index)?;
        if round > 0 {
            times.push(milliseconds);
            memories.push(grown / f64::from(1 << 20));
        }
    }
    let (times, memories) = (Figure::new(times), Figure::new(memories));
    let gib = bytes as f64 / f64::from(1 << 30);
    println!("{requests:>12} {gib:>10.2} {:>22} {:>22}", times.to_string(), memories.to_string());
    Ok((times, memories))
}

/// Writes a log of that many requests, and a few more to fill its last segment. Gives the requests, the last index, and the
/// bytes on the disk.
fn write(directory: &Path, requests: u64, size: Size) -> Result<(u64, u64, u64)> {
    let files = Arc::new(RealFiles);
    let (mut log, _) = Log::open(files, directory, LogConfig::default(), Membership::default())?;
    let (mut workload, mut index) = (Workload::new(SHAPE), 0);
    let last_segment_bytes = size.pick(0, LAST_SEGMENT_BYTES_MIN, LAST_SEGMENT_BYTES_MIN);
    loop {
        index += 1;
        let hard_state = Some(HardState { term: 1, vote: 1, commit: index - 1 });
        let data = workload.command().into();
        let entries = vec![LogEntry { index, term: 1, kind: EntryKind::Normal, data }];
        log.append(&LogWrite { entries, hard_state, ..LogWrite::default() })?;
        if workload.requests() >= requests && index % LOOK_EVERY_WRITES == 0 {
            log.flush()?;
            let (bytes, last) = on_disk(directory)?;
            if last >= last_segment_bytes {
                log.sync(0)?;
                return Ok((workload.requests(), index, bytes));
            }
        }
    }
}

/// The bytes of all segments, and of the last one, which is filled with zeros at most one step ahead.
fn on_disk(directory: &Path) -> Result<(u64, u64)> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "segment") {
            segments.push((entry.file_name(), entry.metadata()?.len()));
        }
    }
    let last = segments.iter().max().map_or(0, |(_, bytes)| *bytes);
    Ok((segments.iter().map(|(_, bytes)| bytes).sum(), last))
}

fn open_in_child(directory: &Path, last_index: u64) -> Result<(f64, f64)> {
    let arguments = [OsString::from(CHILD), directory.into()];
    let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
    let text = String::from_utf8(output.stdout)?;
    let fields: Vec<f64> = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    match fields.as_slice() {
        [milliseconds, grown, index] if *index == last_index as f64 => Ok((*milliseconds, *grown)),
        _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}
