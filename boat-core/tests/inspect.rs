//! Looking at directories that real nodes and logs left behind: nothing is changed, and the verdict is the one that a start
//! of the node would come to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::inspect::{InspectError, Progress, RequestRecord, StoppedDirectory, Verdict, Verification};
use boat_core::log::files::RealFiles;
use boat_core::log::{EntryKind, HardState, Log, LogConfig, LogEntry, LogError, LogWrite, Recovered};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Error, Json, Membership, Model, Node, NodeId, Origin, RequestKind};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl Model for Count {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, _: &Context, _: String) -> u64 {
        self.0 += 1;
        self.0
    }
}

type CountNode = Node<Json<String, u64>>;

async fn try_start(directory: &Path) -> Result<CountNode, Error> {
    // The smallest segments there can be, so that there are several.
    let limits = Limits {
        request_bytes_max: SMALL_BYTES,
        command_bytes_max: SMALL_BYTES,
        segment_bytes: 2 * SMALL_BYTES,
        ..Limits::default()
    };
    let members = "0=local:0".parse().unwrap();
    Node::builder(0)
        .config(NodeConfig::<NoBackend> { limits, ..NodeConfig::default() })
        .data_dir(directory)
        .members(members)
        .transport(LocalNetwork::new().transport())
        .start(Count::default())
        .await
}

const SMALL_BYTES: usize = 64 << 10;

async fn start(directory: &Path) -> CountNode {
    let node = try_start(directory).await.unwrap();
    tokio::time::timeout(PATIENCE, node.ready()).await.unwrap().unwrap();
    node
}

/// Runs a node for a while, and gives the position and the body of each request it answered.
async fn work(directory: &Path, requests: u64) -> BTreeMap<u64, String> {
    let node = start(directory).await;
    let mut asked = BTreeMap::new();
    for n in 0..requests {
        let request = format!("{n} {}", "x".repeat(n as usize % 9 * 1_000));
        let named = node.predict(request.clone()).key(format!("key {n}")).await.unwrap();
        asked.insert(named.position, request.clone());
        // A retry has no position of its own; a request without a key goes through a session.
        assert!(node.predict(request.clone()).key(format!("key {n}")).await.unwrap().replayed);
        let unnamed = node.predict(request.clone()).await.unwrap();
        asked.insert(unnamed.position, request);
    }
    node.shutdown().await.unwrap();
    asked
}

/// Every file below `directory`, with its bytes.
fn files_of(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_of(&path)),
            false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    found
}

fn put_back(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files_of(directory).keys().filter(|path| !files.contains_key(*path)) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        if fs::read(path).ok().as_ref() != Some(bytes) {
            fs::write(path, bytes).unwrap();
        }
    }
}

fn show(directory: &Path, from: u64, to: u64) -> Vec<RequestRecord> {
    let stopped = StoppedDirectory::open(directory).unwrap();
    stopped.requests(from..=to, |_| {}).unwrap().collect::<Result<_, _>>().unwrap()
}

fn verify(directory: &Path) -> Verification {
    StoppedDirectory::open(directory).unwrap().verify(|_| {}).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_requests_are_shown_by_position_and_nothing_is_changed() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let asked = work(directory, 40).await;
    let before = files_of(directory);

    let all = show(directory, 1, u64::MAX);
    let positions: Vec<u64> = all.iter().map(|record| record.position).collect();
    let last = *asked.keys().next_back().unwrap();
    assert_eq!(positions, (1..=last).collect::<Vec<_>>());
    for record in &all {
        match record.kind {
            RequestKind::Predict => {
                let body: String = serde_json::from_slice(&record.body).unwrap();
                assert_eq!(Some(&body), asked.get(&record.position), "{}", record.position);
            }
            kind => assert_eq!((kind, asked.get(&record.position)), (RequestKind::OpenSession, None)),
        }
    }
    assert_eq!(all.iter().filter(|record| matches!(record.origin, Origin::Key(_))).count(), 40);
    assert!(all.windows(2).all(|pair| pair[0].index <= pair[1].index && pair[0].time_ms <= pair[1].time_ms));
    assert_eq!(show(directory, 7, 9), all[6..9]);
    assert_eq!(show(directory, last, u64::MAX), all[last as usize - 1..]);
    assert_eq!(show(directory, last + 1, u64::MAX), []);

    let mut told = Vec::new();
    let stopped = StoppedDirectory::open(directory).unwrap();
    let found =
        stopped.inspect(true, |Progress { bytes, bytes_total }| told.push((bytes, bytes_total))).unwrap();
    assert!(
        told.is_sorted() && told.iter().all(|(bytes, total)| bytes <= total) && !told.is_empty(),
        "{told:?}"
    );
    let identity = found.identity.clone().unwrap();
    assert_eq!((identity.node, identity.boots), (NodeId(0), 1));
    let genesis = found.genesis.clone().unwrap();
    assert_eq!((genesis.raft_id.node(), genesis.members.len()), (NodeId(0), 1));
    let log = found.log.clone().unwrap();
    assert_eq!((log.last_position, log.hard_state.vote), (Some(last), Some(genesis.raft_id)));
    assert_eq!((log.first_index, log.hard_state.commit), (1, log.last_index));
    assert_eq!(log.watermark.last_index, log.last_index);
    assert_eq!(log.membership.as_ref().unwrap().members, genesis.members);
    let (active, sealed) = log.segments.split_last().unwrap();
    assert!(sealed.len() >= 2 && sealed.iter().all(|segment| segment.sealed) && !active.sealed);
    // Segment by segment, without gaps.
    for pair in log.segments.windows(2) {
        assert_eq!(pair[0].last_index.map(|last| last + 1), pair[1].first_index);
        assert_eq!(pair[0].last_position.map(|last| last + 1), pair[1].first_position);
    }
    assert_eq!((log.segments[0].first_position, active.last_position), (Some(1), Some(last)));
    assert_eq!(found.problems, [""; 0]);
    let text = found.to_string();
    assert!(text.contains(&format!("positions   1 to {last}")) && text.contains("started 1 times"), "{text}");
    let quick = stopped.inspect(false, |_| panic!("nothing is to be read")).unwrap();
    assert_eq!((quick.log.unwrap().last_position, quick.identity), (None, found.identity));

    let verification = stopped.verify(|_| {}).unwrap();
    assert_eq!(verification.verdict, Verdict::Sound);
    assert_eq!((verification.segments, verification.entries), (log.segments.len() as u64, log.last_index));
    drop(stopped);
    assert_eq!(files_of(directory), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_either_looked_at_or_run_in() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("node");
    let no_directory = StoppedDirectory::open(&directory).unwrap_err();
    assert!(matches!(no_directory, InspectError::NoDirectory(_)) && no_directory.exit_status() == 64);
    assert!(!directory.exists());
    let node = start(&directory).await;
    let in_use = StoppedDirectory::open(&directory).unwrap_err();
    assert!(matches!(in_use, InspectError::InUse(_)) && in_use.exit_status() == 75, "{in_use}");
    node.shutdown().await.unwrap();
    drop(node);
    let lookers = [StoppedDirectory::open(&directory).unwrap(), StoppedDirectory::open(&directory).unwrap()];
    let refused = try_start(&directory).await;
    assert!(matches!(refused, Err(Error::DirectoryInUse(_))));
    drop(lookers);
    start(&directory).await.shutdown().await.unwrap();
    let identity = StoppedDirectory::open(&directory).unwrap().inspect(true, |_| {}).unwrap().identity;
    assert_eq!(identity.unwrap().boots, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_beside_the_log_are_named() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    work(directory, 1).await;
    let sound = files_of(directory);
    for name in ["identity", "genesis"] {
        let path = directory.join(name);
        for at in 0..sound[&path].len() {
            let mut bytes = sound[&path].clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            let Verdict::Corrupt { file, .. } = verify(directory).verdict else { panic!("{name} {at}") };
            assert_eq!(file, path);
        }
        let found = StoppedDirectory::open(directory).unwrap().inspect(true, |_| {}).unwrap();
        assert!(found.problems.iter().any(|problem| problem.contains(name)), "{:?}", found.problems);
        assert!(found.log.is_some() && (found.identity.is_none() || found.genesis.is_none()));
        put_back(directory, &sound);
    }
    fs::remove_file(directory.join("genesis")).unwrap();
    let stopped = StoppedDirectory::open(directory).unwrap();
    assert!(matches!(stopped.requests(1..=9, |_| {}), Err(InspectError::NoPositions(_))));
    assert_eq!(stopped.inspect(true, |_| {}).unwrap().log.unwrap().last_position, None);
}

/// Several small segments with an overwritten suffix, and two writes at the end that were not synced.
fn small_log(directory: &Path) {
    let (mut log, _) = open(directory).unwrap();
    let write = |first: u64, count: u64, term: u64, commit: u64| LogWrite {
        start: None,
        entries: (first..first + count)
            .map(|index| LogEntry {
                index,
                term,
                kind: EntryKind::Normal,
                data: vec![index as u8; 150].into(),
            })
            .collect(),
        hard_state: Some(HardState { term, vote: 1, commit }),
        membership: (commit % 5 == 1).then(|| Membership {
            index: commit,
            auto_leave: true,
            ..Membership::default()
        }),
    };
    for n in 0..20 {
        log.append(&write(1 + 3 * n, 3, 1 + n / 8, 2 * n)).unwrap();
        log.sync(n * 100).unwrap();
    }
    log.append(&write(52, 4, 4, 40)).unwrap();
    log.sync(5_000).unwrap();
    log.append(&write(56, 1, 4, 41)).unwrap();
    log.append(&write(57, 1, 4, 41)).unwrap();
    log.flush().unwrap();
}

fn open(directory: &Path) -> Result<(Log, Recovered), LogError> {
    let config = LogConfig { segment_bytes: 4 << 10, allocate_bytes: 4 << 10, ..LogConfig::default() };
    let config = LogConfig { index_stride_bytes: 600, ..config };
    let (log, recovered) =
        Log::open(Arc::new(RealFiles), &directory.join("log"), config, Membership::default())?;
    log.reader().verify()?;
    Ok((log, recovered))
}

/// The verdict of a look, after which a log is opened there: both must say the same.
fn verdict_of_both(directory: &Path, what: &str) -> Verdict {
    let before = files_of(directory);
    let Verification { verdict, .. } = verify(directory);
    assert_eq!(files_of(directory), before, "{what}");
    match (&verdict, open(directory)) {
        (Verdict::Sound, Ok((_, recovered))) => assert_eq!(recovered.warnings, [""; 0], "{what}"),
        (Verdict::TornTail { offset, bytes, .. }, Ok((_, recovered))) => {
            let said = recovered.warnings.concat();
            assert!(said.contains(&format!("cut {bytes} bytes at byte {offset} ")), "{what}: {said}");
        }
        (Verdict::Corrupt { file, offset, .. }, Err(LogError::Corrupt { file: found, offset: at, .. })) => {
            // Opening looks at the last segment first, so it may find another part of the same damage.
            assert_eq!(*file, found, "{what}");
            assert!(*offset <= at || file.ends_with("watermark"), "{what}: {offset} {at}");
        }
        (Verdict::Corrupt { file, .. }, Err(LogError::Version { file: found, .. })) => {
            assert_eq!(*file, found)
        }
        (Verdict::Corrupt { why, .. }, Err(LogError::Regressed { .. })) => {
            assert!(why.contains("went back in time"), "{what}: {why}");
        }
        (verdict, opened) => {
            panic!("{what}: {verdict:?}, but opening said {:?}", opened.map(|(_, said)| said))
        }
    }
    verdict
}

#[test]
fn a_flipped_bit_gets_the_verdict_that_a_start_would_come_to() {
    // A prime, so that all kinds of fields are met.
    const STEP: usize = 61;
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    small_log(directory);
    let sound = files_of(directory);
    assert_eq!(verdict_of_both(directory, "sound"), Verdict::Sound);
    let (mut corrupt, mut torn, mut harmless) = (0, 0, 0);
    for (number, (path, bytes)) in sound.iter().enumerate() {
        for at in (number..bytes.len()).step_by(STEP) {
            put_back(directory, &sound);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(path, flipped).unwrap();
            match verdict_of_both(directory, &format!("{} {at}", path.display())) {
                Verdict::Sound => harmless += 1,
                Verdict::TornTail { .. } => torn += 1,
                Verdict::Corrupt { file, .. } => {
                    assert_eq!(file, *path);
                    corrupt += 1;
                }
            }
        }
    }
    // Harmless: a damaged slot of the watermark beside a whole one that says enough.
    assert!(corrupt > 150 && torn > 5 && harmless > 50, "{corrupt} {torn} {harmless}");
}

#[test]
fn what_was_lost_is_told_from_what_was_torn() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    small_log(directory);
    let sound = files_of(directory);
    let segments: Vec<&PathBuf> = sound.keys().filter(|path| path.extension().is_some()).collect();
    assert!(segments.len() >= 4, "{segments:?}");
    // Each segment gone.
    for path in &segments {
        fs::remove_file(path).unwrap();
        let Verdict::Corrupt { file, why, .. } = verdict_of_both(directory, "removed") else {
            panic!("removed")
        };
        assert!(file == **path || why.contains("went back in time"), "{}: {why}", path.display());
        put_back(directory, &sound);
    }
    // The last one cut anywhere: what it lacks had been synced, or had not.
    let last = segments.last().unwrap();
    let bytes = &sound[*last];
    let (mut torn, mut lost) = (0, 0);
    for end in (0..bytes.len()).step_by(97) {
        fs::write(last, &bytes[..end]).unwrap();
        match verdict_of_both(directory, &format!("cut at {end}")) {
            Verdict::TornTail { offset, .. } => {
                assert!(offset <= end as u64);
                torn += 1;
            }
            Verdict::Corrupt { .. } => lost += 1,
            Verdict::Sound => {}
        }
        put_back(directory, &sound);
    }
    assert!(torn > 0 && lost > 10, "{torn} {lost}");
    // Garbage behind the end was never synced.
    let mut garbage = bytes.clone();
    let end = (garbage.iter().rposition(|byte| *byte != 0).unwrap() + 1).next_multiple_of(8);
    garbage[end..end + 100].fill(0xa5);
    fs::write(last, &garbage).unwrap();
    let found = StoppedDirectory::open(directory).unwrap().inspect(true, |_| {}).unwrap();
    let torn_tail = found.log.unwrap().torn_tail.unwrap();
    assert_eq!((torn_tail.offset, torn_tail.bytes, found.problems.len()), (end as u64, 100, 0));
    let expected = Verdict::TornTail {
        file: torn_tail.file,
        offset: torn_tail.offset,
        bytes: torn_tail.bytes,
        why: torn_tail.why,
    };
    assert_eq!(verdict_of_both(directory, "garbage"), expected);
    // The next start has cut it.
    assert_eq!(verify(directory).verdict, Verdict::Sound);
}
