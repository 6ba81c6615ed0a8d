//! Crashes that tear what was not synced, at random places of random work.

use rand::Rng;

use super::workload::Work;

/// Lives of one log. Each ends by a crash or a kill.
const LIVES: u32 = 6;

#[test]
fn what_was_synced_is_there_and_nothing_else_ever_is() {
    let (mut cut, mut kept) = (0, 0);
    for seed in 0..400 {
        let mut work = Work::new(seed);
        for _ in 0..LIVES {
            let mut log = work.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            for _ in 0..work.random.gen_range(0..40) {
                work.step(&mut log).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
            let appended = work.history.len() - 1;
            match work.random.gen_bool(0.8) {
                true => work.disk.crash(work.random.r#gen()),
                false => work.disk.kill(),
            }
            let synced = work.synced;
            let before = work.history.clone();
            drop(log);
            drop(work.open().unwrap_or_else(|error| panic!("seed {seed}: {error}")));
            cut += u32::from(synced < appended && *work.model() != before[appended]);
            kept += u32::from(synced < appended && *work.model() != before[synced]);
        }
    }
    assert!(cut > 100 && kept > 100, "crashes must lose and keep unsynced writes: {cut} {kept}");
}

#[test]
fn a_crash_while_opening_loses_nothing() {
    use boat_core::log::files::{CallKind, Fault};
    for seed in 0..150 {
        let mut work = Work::new(seed);
        let mut log = work.open().unwrap();
        for _ in 0..30 {
            work.step(&mut log).unwrap();
        }
        drop(log);
        work.disk.crash(seed);
        for kind in [
            CallKind::Write,
            CallKind::Allocate,
            CallKind::SyncData,
            CallKind::SyncDirectory,
            CallKind::Rename,
        ] {
            for fault in [Fault::StopBefore, Fault::Short, Fault::StopAfter] {
                work.disk.fail(kind, work.random.gen_range(0..2), fault);
                let _ = work.open();
                work.disk.crash(work.random.r#gen());
            }
        }
        work.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
