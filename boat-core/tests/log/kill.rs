//! A real process on a real disk, killed while it writes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::RealFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogWrite, Recovered};

use super::model::scan_all;

const DIRECTORY: &str = "BOAT_TEST_LOG_DIRECTORY";
/// The child ends by itself here, should nobody kill it.
const WRITES_MAX: u64 = 100_000;
const KILLS: u64 = 6;

fn open(directory: &Path) -> (Log, Recovered) {
    let config = LogConfig { segment_bytes: 64 << 10, allocate_bytes: 16 << 10, ..LogConfig::default() };
    Log::open(Arc::new(RealFiles), directory, config, Membership::default()).unwrap()
}

fn entry(index: u64) -> LogEntry {
    LogEntry {
        index,
        term: 1,
        kind: EntryKind::Normal,
        data: vec![index as u8; (index % 900) as usize].into(),
    }
}

/// Not a test: what the other one starts. Says the last index after each sync.
#[test]
#[ignore = "the process that is killed; started by `a_killed_process_loses_nothing_it_synced`"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let (mut log, recovered) = open(Path::new(&directory));
    let mut next = recovered.last_index + 1;
    for now_ms in 0..WRITES_MAX {
        let entries: Vec<LogEntry> = (next..next + 1 + now_ms % 4).map(entry).collect();
        next += entries.len() as u64;
        let hard_state = Some(HardState { term: 1, vote: 1, commit: next - 2 });
        log.append(&LogWrite { entries, hard_state, ..LogWrite::default() }).unwrap();
        if now_ms % 3 == 0 {
            log.sync(now_ms).unwrap();
            // Past the test harness, which keeps what tests print. A closed pipe means that nobody listens any more.
            if writeln!(std::io::stdout(), "synced {}", next - 1).is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_synced() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::child", "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut synced = lines.filter_map(|line| line.unwrap().strip_prefix("synced ")?.parse::<u64>().ok());
        let enough = synced.nth(20 + 37 * round as usize);
        child.kill().unwrap();
        child.wait().unwrap();
        last = synced.last().or(enough).unwrap();
        let (log, recovered) = open(directory.path());
        assert!(recovered.last_index >= last, "synced {last}, found {}", recovered.last_index);
        let found = scan_all(&log).unwrap();
        assert_eq!(found, (1..=recovered.last_index).map(entry).collect::<Vec<_>>());
        log.reader().verify().unwrap();
    }
    assert!(last > 500, "{last}");
}
