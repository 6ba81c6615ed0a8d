use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::apply::{Applier, Batch, SessionLimits};
use crate::log::files::{CallKind, Fault, SimFiles};
use crate::log::{EntryKind, HardState, LogEntry, LogError, Recovered};
use crate::quarantine::Decisions;
use crate::{
    CallOutcome, ClusterId, Command, FrozenState, Membership, Origin, Request, RequestKind, StateKind,
};

fn directory() -> &'static Path {
    Path::new("node/snapshots")
}

/// An applier that has applied `index` entries with one keyed request each.
fn applier(index: u64) -> Applier {
    let mut applier = Applier::new(SessionLimits::default());
    for index in 1..=index {
        let origin = Origin::Key(format!("key {index}").into());
        let request = Request { kind: RequestKind::Predict, origin, body: index.to_string().into() };
        let data = Command { stamp_ms: index, seed: 1, requests: vec![request] }.encode().into();
        let mut batch = Batch::default();
        let entry = LogEntry { index, term: 3, kind: EntryKind::Normal, data };
        applier.admit(&mut batch, &entry).unwrap();
        applier.complete(&mut batch, vec![CallOutcome::Output("out".into())], |_, _, _| {});
    }
    applier
}

fn frozen(index: u64, state_bytes: usize) -> Frozen {
    let applier = applier(index);
    let about = About {
        cluster: ClusterId(7),
        index,
        term: applier.term(),
        position: applier.position(),
        digest: applier.digest(),
        taken_ms: 5,
        state_kind: StateKind::Snapshot,
        membership: Membership { index: 1, ..Membership::default() },
        decisions: Decisions::default(),
    };
    let state: Vec<u8> = (0..state_bytes).map(|n| (n % 251) as u8).collect();
    Frozen { about, applier, predictor: FrozenState::from_bytes(state) }
}

fn open(disk: &SimFiles, covered: (u64, u64)) -> Result<(SnapshotStore, Vec<String>), LogError> {
    SnapshotStore::open(Arc::new(disk.clone()), directory(), covered)
}

fn indexes(store: &SnapshotStore) -> Vec<u64> {
    store.kept().iter().map(|kept| kept.name.index).collect()
}

/// Reads a snapshot as a start does: the applier's position and the predictor's state.
fn read(store: &SnapshotStore, index: u64) -> Result<(u64, Vec<u8>), LogError> {
    let (applier, bytes) = store.reader(index)?.states(SessionLimits::default())?;
    Ok((applier.position(), bytes))
}

#[test]
fn what_was_frozen_is_read_back_and_two_generations_are_kept() {
    let disk = SimFiles::new();
    let (store, _) = open(&disk, (0, 0)).unwrap();
    for (index, bytes) in [(3, 0), (5, 700_000), (9, 262_144), (12, 1)] {
        let kept = store.write(frozen(index, bytes)).unwrap();
        assert_eq!(store.reader(index).unwrap().verify().unwrap(), kept.name);
        let (position, state) = read(&store, index).unwrap();
        assert_eq!((position, state.len()), (index, bytes));
        assert!(state.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
    }
    assert_eq!(indexes(&store), [12, 9]);
    assert_eq!(list(&disk, directory()).unwrap(), [12, 9]);
    disk.crash(1);
    let (store, warnings) = open(&disk, (9, 20)).unwrap();
    assert_eq!((indexes(&store), warnings), (vec![12, 9], vec![]));
    // An older one than what came meanwhile counts for nothing.
    store.write(frozen(11, 8)).unwrap();
    assert_eq!(indexes(&store), [12, 9]);
}

#[test]
fn a_snapshot_that_is_newer_than_the_commit_on_the_disk_proves_what_was_committed() {
    let disk = SimFiles::new();
    let (store, _) = open(&disk, (0, 0)).unwrap();
    let membership = Membership { index: 1, ..Membership::default() };
    let recovered = |last_index, term| Recovered {
        hard_state: HardState { term, vote: 0, commit: 4 },
        membership: membership.clone(),
        membership_latest: None,
        first_index: 3,
        last_index,
        last_term: term,
        term_starts: vec![(1, term)],
        tail: Vec::new(),
        warnings: Vec::new(),
    };
    for index in [2, 6, 8] {
        store.write(frozen(index, 100)).unwrap();
    }
    let raised = |mut recovered: Recovered| {
        raise_commit(&disk, directory(), &mut recovered, &Decisions::default()).unwrap();
        recovered.hard_state.commit
    };
    assert_eq!(raised(recovered(9, 3)), 8);
    assert_eq!(raised(recovered(7, 3)), 6, "the log does not hold the newest's entry");
    assert_eq!(raised(recovered(9, 2)), 4, "the log holds others");
    let other = Membership { index: 5, ..Membership::default() };
    assert_eq!(raised(Recovered { membership: other, ..recovered(9, 3) }), 4);
    assert_eq!(indexes(&open(&disk, (2, 8)).unwrap().0), [8, 6]);
}

#[test]
fn a_damaged_newest_gives_way_to_the_one_before_and_none_is_an_error_where_the_log_is_cut() {
    let disk = SimFiles::new();
    let (store, _) = open(&disk, (0, 0)).unwrap();
    store.write(frozen(4, 3_000)).unwrap();
    store.write(frozen(8, 3_000)).unwrap();
    let path = path(directory(), 8);
    let sound = disk.contents(&path).unwrap();
    for bit in (0..sound.len() * 8).step_by(61) {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        disk.set_contents(&path, bytes);
        let (store, warnings) = open(&disk, (4, 8)).unwrap();
        assert_eq!((indexes(&store), warnings.len()), (vec![4], 1), "bit {bit}");
        let error = open(&disk, (5, 8)).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
    for cut in (0..sound.len()).step_by(17) {
        disk.set_contents(&path, sound[..cut].to_vec());
        assert_eq!(indexes(&open(&disk, (0, 8)).unwrap().0), [4], "cut at {cut}");
    }
    disk.set_contents(&path, sound);
    // What is not known to be committed was never taken for good.
    assert_eq!(indexes(&open(&disk, (0, 7)).unwrap().0), [4]);
    assert!(disk.contents(&path).is_none());
}

#[test]
fn every_call_of_a_snapshot_fails_once_in_every_way() {
    let mut struck = 0;
    for kind in CallKind::ALL {
        for nth in 0..12 {
            for fault in [Fault::Error, Fault::Short, Fault::Full, Fault::StopBefore, Fault::StopAfter] {
                let disk = SimFiles::new();
                let (store, _) = open(&disk, (0, 0)).unwrap();
                store.write(frozen(3, 100)).unwrap();
                store.write(frozen(6, 100)).unwrap();
                disk.fail(kind, nth, fault);
                let written = store.write(frozen(9, 900_000));
                if !disk.has_failed() {
                    continue;
                }
                struck += 1;
                let name = format!("{kind:?} {nth} {fault:?}");
                if let Err(error) = &written
                    && error.is_harmless()
                {
                    assert_eq!(indexes(&store), [6, 3], "{name}");
                    store.write(frozen(9, 900_000)).unwrap();
                }
                disk.crash(nth);
                let (store, warnings) = open(&disk, (3, 9)).unwrap();
                assert_eq!(warnings, Vec::<String>::new(), "{name}");
                let kept = indexes(&store);
                assert!(kept == [9, 6] || kept == [6, 3], "{name}: {kept:?}");
                for index in kept {
                    read(&store, index).unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                if written.is_ok_and(|kept| kept.name.index == 9) && fault != Fault::StopAfter {
                    assert_eq!(indexes(&store), [9, 6], "{name}");
                }
            }
        }
    }
    assert!(struck > 40, "only {struck} calls failed");
}

#[test]
fn a_snapshot_arrives_in_pieces_across_restarts_and_counts_once_it_is_installed() {
    let (source, disk) = (SimFiles::new(), SimFiles::new());
    let (from, _) = open(&source, (0, 0)).unwrap();
    let name = from.write(frozen(9, 5_000)).unwrap().name;
    let bytes = source.contents(&path(directory(), 9)).unwrap();
    let (mut store, _) = open(&disk, (0, 0)).unwrap();
    store.write(frozen(2, 10)).unwrap();
    let mut incoming = Incoming::begin(&store, name).unwrap();
    for (n, piece) in bytes.chunks(700).enumerate() {
        let offset = incoming.bytes();
        assert_eq!(offset, 700 * n as u64);
        incoming.put(offset + 1, piece).unwrap();
        incoming.put(offset, piece).unwrap();
        incoming.put(offset, piece).unwrap();
        if n == 3 {
            drop(incoming);
            disk.kill();
            store = open(&disk, (0, 5)).unwrap().0;
            incoming = Incoming::begin(&store, name).unwrap();
        }
    }
    let about = incoming.finish(&store).unwrap();
    assert_eq!((about.index, indexes(&store)), (9, vec![2]));
    // A snapshot of the node's own in between does not drop it.
    store.write(frozen(4, 10)).unwrap();
    assert_eq!(store.installed(8).unwrap(), None);
    assert_eq!(store.installed(9).unwrap().map(|kept| kept.name), Some(name));
    assert_eq!(list(&disk, directory()).unwrap(), [9]);
    assert_eq!(read(&store, 9).unwrap().0, 9);
}

#[test]
fn a_snapshot_that_is_another_one_is_dropped() {
    let disk = SimFiles::new();
    let (store, _) = open(&disk, (0, 0)).unwrap();
    let name = store.write(frozen(9, 500)).unwrap().name;
    let bytes = disk.contents(&path(directory(), 9)).unwrap();
    let mut damaged = bytes.clone();
    damaged[300] ^= 1;
    let older = store.write(frozen(10, 500)).map(|_| disk.contents(&path(directory(), 10)).unwrap()).unwrap();
    for wrong in [&damaged[..], &older[..], &[7; 40][..]] {
        let name = SnapshotName { bytes: wrong.len() as u64, ..name };
        let mut incoming = Incoming::begin(&store, name).unwrap();
        incoming.put(0, wrong).unwrap();
        let error = incoming.finish(&store).unwrap_err();
        assert!(error.is_damage(), "{error}");
        assert_eq!(Incoming::begin(&store, name).unwrap().bytes(), 0);
    }
}

/// Takes a snapshot of another node, from wherever an earlier attempt ended.
fn receive(store: &SnapshotStore, name: SnapshotName, bytes: &[u8]) -> Result<(), LogError> {
    let mut incoming = Incoming::begin(store, name)?;
    while incoming.bytes() < name.bytes {
        let at = incoming.bytes() as usize;
        incoming.put(at as u64, &bytes[at..bytes.len().min(at + 700)])?;
    }
    incoming.finish(store).map(|_| ())
}

#[test]
fn every_call_of_a_snapshot_that_arrives_fails_once_in_every_way() {
    let source = SimFiles::new();
    let name = open(&source, (0, 0)).unwrap().0.write(frozen(9, 5_000)).unwrap().name;
    let bytes = source.contents(&path(directory(), 9)).unwrap();
    let faults = [Fault::Error, Fault::Short, Fault::Full, Fault::StopBefore, Fault::StopAfter];
    let cases = CallKind::ALL.into_iter().flat_map(|kind| (0..12).map(move |nth| (kind, nth)));
    let cases = cases.flat_map(|case| faults.map(|fault| (case, fault)));
    let mut struck = 0;
    for (((kind, nth), fault), power) in cases.flat_map(|case| [(case, true), (case, false)]) {
        let disk = SimFiles::new();
        let (store, _) = open(&disk, (0, 0)).unwrap();
        store.write(frozen(3, 100)).unwrap();
        store.write(frozen(6, 100)).unwrap();
        disk.fail(kind, nth, fault);
        let received = receive(&store, name, &bytes);
        // Here the log is made to begin behind it, in a write of its own.
        let installed = received.as_ref().ok().map(|()| store.installed(9));
        if !disk.has_failed() {
            continue;
        }
        struck += 1;
        let case = format!("{kind:?} {nth} {fault:?}, power lost: {power}");
        if let Err(error) = &received
            && error.is_harmless()
        {
            assert_eq!(indexes(&store), [6, 3], "{case}");
            receive(&store, name, &bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
        if power {
            disk.crash(nth)
        } else {
            disk.kill()
        }
        let covered = if installed.is_some() { (9, 9) } else { (3, 6) };
        let (store, warnings) = open(&disk, covered).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(warnings, Vec::<String>::new(), "{case}");
        assert_eq!(indexes(&store), if installed.is_some() { vec![9] } else { vec![6, 3] }, "{case}");
        if installed.is_none() {
            // What was there before the crash may be torn: that is found in the end, and all of it taken once more.
            let received = receive(&store, name, &bytes);
            assert!(received.as_ref().err().is_none_or(LogError::is_damage), "{case}: {received:?}");
            received.or_else(|_| receive(&store, name, &bytes)).unwrap();
            store.installed(9).unwrap();
        }
        disk.crash(nth);
        let (store, _) = open(&disk, (9, 9)).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(read(&store, 9).unwrap_or_else(|error| panic!("{case}: {error}")).0, 9);
    }
    assert!(struck > 60, "only {struck} calls failed");
}
