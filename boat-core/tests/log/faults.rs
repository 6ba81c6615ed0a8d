//! Every call of a workload fails once, in every way.

use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::{CallKind, Fault, Files, SimFiles};
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogError, LogWrite};

use super::workload::{Work, directory};

const STEPS: u32 = 40;
const FAULTS: [Fault; 5] = [Fault::Error, Fault::Short, Fault::Full, Fault::StopBefore, Fault::StopAfter];

/// Opens and works until the end, or until a call fails. What was opened is left in `log`.
fn run(work: &mut Work, log: &mut Option<Log>) -> Result<(), LogError> {
    let log = log.insert(work.open()?);
    (0..STEPS).try_for_each(|_| work.step(log))
}

/// How often each kind of call is made by the workload of `seed`.
fn calls(seed: u64) -> Vec<(CallKind, u64)> {
    let mut work = Work::new(seed);
    run(&mut work, &mut None).unwrap();
    CallKind::ALL.into_iter().map(|kind| (kind, work.disk.calls(kind))).collect()
}

/// Whether the failure of such a call must end the log: all but those that readers make.
fn must_poison(kind: CallKind) -> bool {
    !matches!(kind, CallKind::Read | CallKind::Open | CallKind::Len)
}

#[test]
fn every_call_fails_once_in_every_way() {
    let mut struck = 0;
    for seed in 0..12 {
        for (kind, count) in calls(seed) {
            for nth in 0..count {
                for fault in FAULTS {
                    struck += u32::from(fail_one(seed, kind, nth, fault));
                }
            }
        }
    }
    assert!(struck > 2_000, "only {struck} calls failed");
}

/// Runs the workload with one failing call; says whether an error came out of it.
fn fail_one(seed: u64, kind: CallKind, nth: u64, fault: Fault) -> bool {
    let name = format!("seed {seed}, {kind:?} {nth}, {fault:?}");
    let mut work = Work::new(seed);
    work.disk.fail(kind, nth, fault);
    let mut log = None;
    let result = run(&mut work, &mut log);
    assert!(work.disk.has_failed(), "{name} was never made");
    let failed = result.is_err();
    if let (Err(error), Some(log)) = (&result, &mut log) {
        if must_poison(kind) && !error.is_harmless() {
            assert!(matches!(log.sync(0), Err(LogError::Poisoned(_))), "{name}: {error}");
            assert!(matches!(log.append(&LogWrite::default()), Err(LogError::Poisoned(_))), "{name}");
        }
    } else if fault == Fault::Error && matches!(kind, CallKind::Write | CallKind::SyncData) {
        assert!(failed, "{name} went by unseen");
    }
    match (seed + nth) % 3 {
        0 => work.disk.kill(),
        _ => work.disk.crash(nth),
    }
    // What comes after must be as safe as what was before.
    let mut log = work.open().unwrap_or_else(|error| panic!("{name}: {error}"));
    for _ in 0..5 {
        work.step(&mut log).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    drop(log);
    work.disk.crash(nth);
    work.open().unwrap_or_else(|error| panic!("{name}, afterwards: {error}"));
    failed
}

#[test]
fn a_full_disk_stops_appends_and_goes_by() {
    let (mut segments, mut steps) = (0, 0);
    for bytes_max in (30 << 10..60 << 10).step_by(500) {
        match fill_up(bytes_max) {
            true => segments += 1,
            false => steps += 1,
        }
    }
    assert!(segments > 5 && steps > 5, "both ways of growing must meet the full disk: {segments} {steps}");
}

fn numbered(index: u64) -> LogEntry {
    LogEntry { index, term: 1, kind: EntryKind::Normal, data: vec![7; 1000].into() }
}

/// Fills a disk of `bytes_max`, then makes room. Says whether it was a new segment that found no space.
fn fill_up(bytes_max: u64) -> bool {
    let disk = SimFiles::new();
    let config = LogConfig { segment_bytes: 16 << 10, allocate_bytes: 4 << 10, ..LogConfig::default() };
    let open =
        || Log::open(Arc::new(disk.clone()), directory(), config.clone(), Membership::default()).unwrap();
    let write = |index| LogWrite { entries: vec![numbered(index)], ..LogWrite::default() };
    let names = || disk.list(directory()).unwrap();
    let (mut log, _) = open();
    disk.set_bytes_max(Some(bytes_max));
    let mut index = 1;
    let file = loop {
        let (free, before) = (disk.free_bytes(directory()).unwrap(), names());
        match log.append(&write(index)) {
            Ok(()) => index += 1,
            Err(LogError::Full { file, .. }) => {
                // Nothing is left of the attempt.
                assert_eq!((disk.free_bytes(directory()).unwrap(), names()), (free, before), "{bytes_max}");
                break file;
            }
            Err(error) => panic!("{error}"),
        }
        log.sync(index).unwrap();
        assert!(index < 100);
    };
    let new_segment = !names().iter().any(|name| file.ends_with(name));
    assert!(matches!(log.append(&write(index)), Err(LogError::Full { .. })));
    // What is there stays, and what was allocated takes writes.
    log.append(&LogWrite {
        hard_state: Some(HardState { term: 1, vote: 2, commit: 1 }),
        ..LogWrite::default()
    })
    .ok();
    log.sync(1_000_000).unwrap();
    assert_eq!(log.reader().last_index(), index - 1);
    disk.set_bytes_max(None);
    log.append(&write(index)).unwrap();
    log.sync(1_000_001).unwrap();
    disk.crash(bytes_max);
    let (log, recovered) = open();
    assert_eq!(recovered.last_index, index);
    assert_eq!(super::model::scan_all(&log).unwrap(), (1..=index).map(numbered).collect::<Vec<_>>());
    new_segment
}
