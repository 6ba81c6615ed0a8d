//! Bit rot, lost files and old copies: found and named, or provably in what was never synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boat_core::Membership;
use boat_core::log::files::{Files, SimFiles};
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogError, LogWrite};

use super::model::{Model, scan_all};
use super::workload::directory;

fn config() -> LogConfig {
    let small = LogConfig { segment_bytes: 4 << 10, allocate_bytes: 4 << 10, ..LogConfig::default() };
    LogConfig { index_stride_bytes: 600, ..small }
}

fn open(disk: &SimFiles) -> Result<(Log, Vec<LogEntry>, boat_core::log::Recovered), LogError> {
    let (log, recovered) = Log::open(Arc::new(disk.clone()), directory(), config(), Membership::default())?;
    log.reader().verify()?;
    let entries = scan_all(&log)?;
    Ok((log, entries, recovered))
}

fn write(first: u64, count: u64, term: u64, commit: u64) -> LogWrite {
    let data = |index: u64| vec![index as u8; 150 + index as usize % 7];
    let entry = |index| LogEntry { index, term, kind: EntryKind::Normal, data: data(index).into() };
    let membership = Membership { index: commit, auto_leave: true, ..Membership::default() };
    LogWrite {
        start: None,
        entries: (first..first + count).map(entry).collect(),
        hard_state: Some(HardState { term, vote: 1, commit }),
        membership: (commit % 5 == 1).then_some(membership),
    }
}

/// A log of several segments with an overwritten suffix; all of it synced but the last two writes.
fn small_log() -> (SimFiles, Vec<Model>) {
    let disk = SimFiles::new();
    let (mut log, _, _) = open(&disk).unwrap();
    let mut models = vec![Model::default()];
    let mut append = |log: &mut Log, write: &LogWrite| {
        log.append(write).unwrap();
        let mut next = models.last().unwrap().clone();
        next.apply(write);
        models.push(next);
    };
    for n in 0..20 {
        append(&mut log, &write(1 + 3 * n, 3, 1 + n / 8, 2 * n));
        log.sync(n * 100).unwrap();
    }
    append(&mut log, &write(52, 4, 4, 40));
    log.sync(5_000).unwrap();
    append(&mut log, &write(56, 1, 4, 41));
    append(&mut log, &write(57, 1, 4, 41));
    log.flush().unwrap();
    disk.kill();
    let last = models.split_off(models.len() - 3);
    (disk, last)
}

fn files_of(disk: &SimFiles) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = disk.list(directory()).unwrap();
    let paths = names.into_iter().map(|name| directory().join(name));
    paths.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

#[test]
fn a_flipped_bit_anywhere_is_named_or_was_never_synced() {
    let (disk, models) = small_log();
    let files = files_of(&disk);
    assert!(files.len() >= 4, "{:?}", files.keys());
    let (mut named, mut cut, mut harmless) = (0, 0, 0);
    for (path, bytes) in &files {
        for at in 0..bytes.len() {
            let disk = disk.copy();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            disk.set_contents(path, flipped);
            match open(&disk) {
                Ok((_, entries, recovered)) => {
                    let found = models.iter().rposition(|model| model.is(&recovered, &entries));
                    match found.unwrap_or_else(|| panic!("{} {at}: {recovered:?}", path.display())) {
                        2 => harmless += 1,
                        _ => {
                            cut += u32::from(recovered.warnings.iter().any(|warning| warning.contains("cut")))
                        }
                    }
                }
                Err(LogError::Corrupt { file, .. } | LogError::Version { file, .. }) => {
                    assert_eq!(file, *path, "byte {at}");
                    named += 1;
                }
                Err(error) => panic!("{} {at}: {error}", path.display()),
            }
        }
    }
    // Harmless: one slot of the watermark where the other says enough, and zeros behind the end.
    assert!(named > 10_000 && cut > 300 && harmless < 8192 + 4096, "{named} {cut} {harmless}");
}

#[test]
fn a_lost_synced_batch_is_named_with_its_place() {
    let (disk, _) = small_log();
    let files = files_of(&disk);
    let (path, bytes) = files.iter().rfind(|(path, _)| path.extension().is_some()).unwrap();
    let header_bytes = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let mut lost = bytes.clone();
    lost[header_bytes..header_bytes + 56].fill(0);
    disk.set_contents(path, lost);
    let Err(LogError::Corrupt { file, offset, .. }) = open(&disk) else { panic!("the loss was not seen") };
    assert_eq!((file, offset), (path.clone(), header_bytes as u64));
}

#[test]
fn a_log_that_lost_its_synced_tail_has_gone_back_in_time() {
    let (disk, _) = small_log();
    let files = files_of(&disk);
    let watermark = directory().join("watermark");
    // Every older state of the segments under the newest watermark.
    let (early, late) = (SimFiles::new(), disk.contents(&watermark).unwrap());
    let (mut log, _, _) = open(&early).unwrap();
    for n in 0..20 {
        log.append(&write(1 + 3 * n, 3, 1 + n / 8, 2 * n)).unwrap();
        log.sync(n * 100).unwrap();
        let old = early.copy();
        old.set_contents(&watermark, late.clone());
        assert!(matches!(open(&old), Err(LogError::Regressed { .. })), "after {n}");
    }
    // The same with files gone.
    for path in files.keys() {
        let disk = disk.copy();
        disk.remove(path).unwrap();
        let error = open(&disk).unwrap_err();
        let named = matches!(&error, LogError::Corrupt { file, .. } if file == path);
        assert!(named || matches!(error, LogError::Regressed { .. }), "{}: {error}", path.display());
    }
}

/// The last segment: its path, its bytes, and where its batches begin and end.
fn last_segment(disk: &SimFiles) -> (PathBuf, Vec<u8>, Vec<(usize, usize)>) {
    let files = files_of(disk);
    let (path, bytes) = files.into_iter().rfind(|(path, _)| path.extension().is_some()).unwrap();
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut batches) = (number(16), Vec::new());
    while at + 56 < bytes.len() && number(at) != 0 {
        let end = at + 56 + number(at + 4);
        batches.push((at, end));
        at = end;
    }
    (path, bytes, batches)
}

#[test]
fn a_later_batch_vouches_where_the_watermark_is_too_old() {
    let disk = SimFiles::new();
    let (mut log, _, _) = open(&disk).unwrap();
    let watermark = directory().join("watermark");
    let old = disk.contents(&watermark).unwrap();
    for n in 0..4 {
        log.append(&write(1 + n, 1, 1, n)).unwrap();
        log.sync(0).unwrap();
    }
    drop(log);
    disk.kill();
    disk.set_contents(&watermark, old);
    let (path, bytes, batches) = last_segment(&disk);
    for (nth, (begins, ends)) in batches.iter().enumerate() {
        for at in *begins..*ends {
            let disk = disk.copy();
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            disk.set_contents(&path, flipped);
            match open(&disk) {
                Err(LogError::Corrupt { file, offset, .. }) => {
                    assert_eq!((file, offset), (path.clone(), *begins as u64))
                }
                // Nothing stands behind the last one, so nothing vouches for it.
                Ok((_, entries, _)) => assert_eq!((nth, entries.len()), (3, 3)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn a_batch_of_another_history_is_not_taken() {
    let history = |term| {
        let disk = SimFiles::new();
        let (mut log, _, _) = open(&disk).unwrap();
        for n in 1..4 {
            log.append(&write(n, 1, if n == 2 { term } else { 3 - u64::from(n == 1) * 2 }, 0)).unwrap();
            log.sync(0).unwrap();
        }
        disk
    };
    let (disk, other) = (history(1), history(2));
    let (path, mut bytes, batches) = last_segment(&disk);
    let (begins, ends) = batches[1];
    bytes[begins..ends].copy_from_slice(&last_segment(&other).1[begins..ends]);
    disk.set_contents(&path, bytes);
    let Err(LogError::Corrupt { offset, why, .. }) = open(&disk) else { panic!("a stale batch was taken") };
    assert_eq!((offset, why), (ends as u64, "a batch does not follow the one before it"));
}

#[test]
fn a_forgotten_vote_is_seen() {
    let vote = |term, vote| LogWrite {
        hard_state: Some(HardState { term, vote, commit: 0 }),
        ..LogWrite::default()
    };
    for seed in 0..20 {
        let disk = SimFiles::new();
        let (mut log, _, _) = open(&disk).unwrap();
        log.append(&vote(3, 0)).unwrap();
        log.sync(0).unwrap();
        let before = files_of(&disk);
        log.append(&vote(3, 2)).unwrap();
        log.sync(1).unwrap();
        for (path, bytes) in before.into_iter().filter(|(path, _)| path.extension().is_some()) {
            disk.set_contents(&path, bytes);
        }
        // The vote was synced into the watermark, too, so it survives a crash.
        disk.crash(seed);
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, LogError::Regressed { watermark, .. } if watermark.vote == 2), "{error}");
    }
}

#[test]
fn garbage_behind_the_end_is_cut_once_and_the_log_goes_on() {
    let (disk, models) = small_log();
    let files = files_of(&disk);
    let (path, bytes) = files.iter().rfind(|(path, _)| path.extension().is_some()).unwrap();
    let mut garbage = bytes.clone();
    let end = garbage.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    garbage.resize(garbage.len() + 300, 0);
    garbage[end.next_multiple_of(8)..].fill(0xee);
    disk.set_contents(path, garbage);
    let (mut log, entries, recovered) = open(&disk).unwrap();
    assert!(models[2].is(&recovered, &entries));
    assert!(
        matches!(&recovered.warnings[..], [one] if one.contains("never synced")),
        "{:?}",
        recovered.warnings
    );
    log.append(&write(58, 1, 4, 41)).unwrap();
    log.sync(0).unwrap();
    drop(log);
    disk.crash(1);
    let (_, entries, recovered) = open(&disk).unwrap();
    assert_eq!((entries.len(), recovered.warnings.len()), (58, 0));
}

#[test]
fn an_unknown_version_is_said_to_be_one() {
    let (disk, _) = small_log();
    let files = files_of(&disk);
    let (path, bytes) = files.iter().rfind(|(path, _)| path.extension().is_some()).unwrap();
    let mut newer = bytes.clone();
    newer[8] = 2;
    disk.set_contents(path, newer);
    let Err(error @ LogError::Version { found: 2, known: 1, .. }) = open(&disk) else { panic!("not seen") };
    assert!(error.to_string().contains(&*path.display().to_string()));
    assert_eq!(path.parent(), Some(Path::new("node/log")));
}
