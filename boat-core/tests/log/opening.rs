//! What opening costs.

use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::{CallKind, Files, SimFiles};
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogWrite};

use super::workload::directory;

/// Fills a number of segments, and counts the calls that opening them makes: (files opened, reads).
fn calls_to_open(segments: usize) -> (u64, u64) {
    let disk = SimFiles::new();
    let config = LogConfig { segment_bytes: 8 << 10, allocate_bytes: 4 << 10, ..LogConfig::default() };
    let open =
        || Log::open(Arc::new(disk.clone()), directory(), config.clone(), Membership::default()).unwrap();
    let (mut log, _) = open();
    let mut index = 0;
    while disk.list(directory()).unwrap().len() <= segments {
        index += 1;
        let entry = LogEntry { index, term: 1, kind: EntryKind::Normal, data: vec![1; 500].into() };
        let hard_state = Some(HardState { term: 1, vote: 1, commit: index });
        log.append(&LogWrite { entries: vec![entry], hard_state, ..LogWrite::default() }).unwrap();
    }
    log.sync(0).unwrap();
    drop(log);
    let before = (disk.calls(CallKind::Open), disk.calls(CallKind::Read));
    let (_, recovered) = open();
    assert_eq!((recovered.last_index, recovered.tail.len()), (index, 0));
    (disk.calls(CallKind::Open) - before.0, disk.calls(CallKind::Read) - before.1)
}

#[test]
fn opening_reads_the_last_segment_however_many_there_are() {
    assert_eq!(calls_to_open(100), calls_to_open(3));
}
