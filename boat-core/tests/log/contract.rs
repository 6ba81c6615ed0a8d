//! What holds for every file system.

use std::path::Path;
use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::{Files, MemoryFiles, RealFiles, SimFiles};
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogError, LogWrite, Recovered};
use bytes::Bytes;

use super::model::scan_all;

type Disk = Arc<dyn Files>;

/// Runs every case on the real file system and on those in memory.
macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod real { $(#[test] fn $case() {
            let directory = tempfile::tempdir().unwrap();
            super::$case(std::sync::Arc::new(super::RealFiles), &directory.path().join("log"));
        })+ }
        mod memory { $(#[test] fn $case() {
            super::$case(std::sync::Arc::new(super::MemoryFiles::new()), std::path::Path::new("log"));
        })+ }
        mod simulated { $(#[test] fn $case() {
            super::$case(std::sync::Arc::new(super::SimFiles::new()), std::path::Path::new("log"));
        })+ }
    };
}

contract!(
    a_new_log_is_empty,
    appends_come_back_in_order,
    a_suffix_is_replaced,
    a_wrong_write_is_refused_and_changes_nothing,
    a_write_longer_than_a_segment_has_one_of_its_own,
    reads_stop_at_their_limit,
    a_scan_hands_out_slices_of_few_blocks,
    readers_follow_the_writer,
    memberships_are_those_of_the_commit,
);

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 10,
        allocate_bytes: 4 << 10,
        index_stride_bytes: 1 << 10,
        ..LogConfig::default()
    }
}

fn open(disk: &Disk, directory: &Path) -> (Log, Recovered) {
    Log::open(Arc::clone(disk), directory, small(), genesis()).unwrap()
}

fn genesis() -> Membership {
    Membership { auto_leave: true, ..Membership::default() }
}

fn entry(index: u64, term: u64) -> LogEntry {
    let data = Bytes::from(format!("entry {index} of term {term} {}", "x".repeat(index as usize % 200)));
    LogEntry { index, term, kind: EntryKind::Normal, data }
}

fn entries(range: std::ops::Range<u64>, term: u64) -> LogWrite {
    LogWrite { entries: range.map(|index| entry(index, term)).collect(), ..LogWrite::default() }
}

fn committed(commit: u64) -> LogWrite {
    LogWrite { hard_state: Some(HardState { term: 1, vote: 1, commit }), ..LogWrite::default() }
}

fn a_new_log_is_empty(disk: Disk, directory: &Path) {
    for _ in 0..2 {
        let (log, recovered) = open(&disk, directory);
        assert_eq!(recovered.hard_state, HardState::default());
        assert_eq!((recovered.first_index, recovered.last_index, recovered.last_term), (1, 0, 0));
        assert_eq!((recovered.membership, recovered.membership_latest), (genesis(), None));
        assert!(
            recovered.tail.is_empty() && recovered.warnings.is_empty() && recovered.term_starts.is_empty()
        );
        assert_eq!(log.reader().entries(1, 1, 0).unwrap(), []);
        assert!(matches!(log.reader().entries(1, 2, 0), Err(LogError::OutOfRange { low: 1, high: 2, .. })));
    }
}

fn appends_come_back_in_order(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    for n in 0..100 {
        log.append(&entries(1 + 5 * n..6 + 5 * n, 1 + n / 40)).unwrap();
        if n % 3 == 0 {
            log.sync(n).unwrap();
        }
    }
    log.append(&committed(490)).unwrap();
    log.sync(100).unwrap();
    let all = scan_all(&log).unwrap();
    assert_eq!(all, (1..501).map(|index| entry(index, 1 + (index - 1) / 200)).collect::<Vec<_>>());
    drop(log);
    let (log, recovered) = open(&disk, directory);
    assert_eq!(scan_all(&log).unwrap(), all);
    assert_eq!(recovered.hard_state.commit, 490);
    assert_eq!(recovered.tail, all[490..]);
    assert_eq!(recovered.term_starts, [(1, 1), (201, 2), (401, 3)]);
    log.reader().verify().unwrap();
}

fn a_suffix_is_replaced(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    for n in 0..40 {
        log.append(&entries(1 + 5 * n..6 + 5 * n, 1)).unwrap();
    }
    log.sync(0).unwrap();
    let segments = disk.list(directory).unwrap().len();
    assert!(segments > 3, "{segments} files");
    // Into an earlier segment, within the present one, and again over what was just written.
    log.append(&entries(23..27, 2)).unwrap();
    log.append(&entries(25..31, 3)).unwrap();
    log.sync(0).unwrap();
    log.append(&entries(30..33, 4)).unwrap();
    log.sync(0).unwrap();
    let expected = [entries(1..23, 1), entries(23..25, 2), entries(25..30, 3), entries(30..33, 4)];
    let expected: Vec<LogEntry> = expected.into_iter().flat_map(|write| write.entries).collect();
    assert_eq!(scan_all(&log).unwrap(), expected);
    drop(log);
    let (log, recovered) = open(&disk, directory);
    assert_eq!(scan_all(&log).unwrap(), expected);
    assert_eq!(recovered.term_starts, [(1, 1), (23, 2), (25, 3), (30, 4)]);
    assert_eq!(log.reader().entries(22, 31, u64::MAX).unwrap(), expected[21..30]);
}

fn a_wrong_write_is_refused_and_changes_nothing(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    log.append(&entries(1..5, 2)).unwrap();
    log.append(&committed(2)).unwrap();
    let mut gap = entries(5..8, 2);
    gap.entries.remove(1);
    let beyond = Membership { index: 5, ..Membership::default() };
    let wrong = [
        (entries(6..7, 2), "gap"),
        (gap, "contiguous"),
        (entries(5..6, 1), "terms"),
        (entries(2..3, 2), "committed"),
        (entries(0..1, 2), "committed"),
        (committed(5), "beyond"),
        (LogWrite { membership: Some(beyond), ..LogWrite::default() }, "beyond"),
    ];
    for (write, why) in wrong {
        let error = log.append(&write).unwrap_err();
        assert!(matches!(error, LogError::Refused(_)) && error.to_string().contains(why), "{why}: {error}");
    }
    log.append(&LogWrite::default()).unwrap();
    log.append(&entries(5..6, 2)).unwrap();
    log.sync(0).unwrap();
    drop(log);
    let (_, recovered) = open(&disk, directory);
    assert_eq!((recovered.last_index, recovered.hard_state.commit), (5, 2));
}

fn a_write_longer_than_a_segment_has_one_of_its_own(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    let long = LogEntry { data: vec![7; 100_000].into(), ..entry(2, 1) };
    let write = LogWrite { entries: vec![long.clone()], ..LogWrite::default() };
    for write in [entries(1..2, 1), write, entries(3..4, 1)] {
        log.append(&write).unwrap();
        log.sync(0).unwrap();
    }
    drop(log);
    let (log, _) = open(&disk, directory);
    assert_eq!(scan_all(&log).unwrap(), [entry(1, 1), long, entry(3, 1)]);
}

fn reads_stop_at_their_limit(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    (0..60).for_each(|n| log.append(&entries(1 + 5 * n..6 + 5 * n, 1)).unwrap());
    log.flush().unwrap();
    let reader = log.reader();
    for low in [1, 2, 77, 300] {
        assert_eq!(reader.entries(low, 301, 0).unwrap(), [entry(low, 1)]);
        assert_eq!(reader.entries(low, low, 0).unwrap(), []);
        let two = (entry(low, 1).data.len() + entry(low + 1, 1).data.len()) as u64;
        let expected: Vec<LogEntry> = (low..(low + 2).min(301)).map(|index| entry(index, 1)).collect();
        assert_eq!(reader.entries(low, 301, two).unwrap(), expected);
    }
    for (low, high) in [(0, 1), (1, 302), (5, 4)] {
        assert!(matches!(reader.entries(low, high, 9), Err(LogError::OutOfRange { last_index: 300, .. })));
        assert!(reader.scan(low, high).is_err());
    }
}

fn a_scan_hands_out_slices_of_few_blocks(disk: Disk, directory: &Path) {
    let config = LogConfig { segment_bytes: 4 << 20, ..small() };
    let (mut log, _) = Log::open(disk, directory, config, genesis()).unwrap();
    (0..2_000).for_each(|n| log.append(&entries(1 + 5 * n..6 + 5 * n, 1)).unwrap());
    log.sync(0).unwrap();
    let mut scan = log.reader().scan(3, 10_001).unwrap();
    let (mut block, mut blocks, mut next) = (Vec::new(), 0, 3);
    while scan.next_block(&mut block).unwrap() {
        // Slices of one block lie in memory as they do in the file: a copy of each would not.
        let starts = block.iter().map(|entry| entry.data.as_ptr() as usize);
        assert!(
            starts.clone().is_sorted() && starts.clone().max().unwrap() - starts.min().unwrap() < 256 << 10
        );
        for found in &block {
            assert_eq!(*found, entry(next, 1));
            next += 1;
        }
        blocks += 1;
        assert_eq!(scan.next_index(), next);
    }
    assert_eq!(next, 10_001);
    assert!((5..12).contains(&blocks), "{blocks} blocks");
}

fn readers_follow_the_writer(disk: Disk, directory: &Path) {
    const LAST: u64 = 3_000;
    let (mut log, _) = open(&disk, directory);
    let reader = log.reader();
    std::thread::scope(|scope| {
        let follow = scope.spawn(move || {
            let mut next = 1;
            // Bounded by the writer, which ends whatever happens here.
            while next <= LAST {
                let found = reader.entries(next, reader.last_index() + 1, 1 << 20).unwrap();
                for found in found {
                    assert_eq!(found, entry(next, 1));
                    next += 1;
                }
                std::thread::yield_now();
            }
        });
        for index in 1..=LAST {
            log.append(&entries(index..index + 1, 1)).unwrap();
            if index % 7 == 0 {
                log.flush().unwrap();
            }
        }
        log.flush().unwrap();
        follow.join().unwrap();
    });
}

fn memberships_are_those_of_the_commit(disk: Disk, directory: &Path) {
    let (mut log, _) = open(&disk, directory);
    let at = |index| Membership { index, ..Membership::default() };
    let change = |index| LogWrite { membership: Some(at(index)), ..LogWrite::default() };
    log.append(&entries(1..10, 1)).unwrap();
    log.append(&change(4)).unwrap();
    log.sync(0).unwrap();
    drop(log);
    let (mut log, recovered) = open(&disk, directory);
    assert_eq!((recovered.membership, recovered.membership_latest), (genesis(), Some(at(4))));
    log.append(&LogWrite { membership: Some(at(9)), ..committed(6) }).unwrap();
    log.sync(0).unwrap();
    drop(log);
    let (mut log, recovered) = open(&disk, directory);
    assert_eq!((recovered.membership, recovered.membership_latest), (at(4), Some(at(9))));
    // Segments come and go; the membership stands in their headers.
    (0..60).for_each(|n| log.append(&entries(9 + 5 * n..14 + 5 * n, 2)).unwrap());
    log.sync(0).unwrap();
    drop(log);
    let (_, recovered) = open(&disk, directory);
    assert_eq!((recovered.membership, recovered.membership_latest), (at(4), None));
}
