//! What a node does when its disk fails, or is full (design D10, promise S10).

use std::sync::Arc;
use std::time::Duration;

use boat_core::config::{Limits, NoBackend, NodeConfig};
use boat_core::log::files::{CallKind, Fault, SimFiles};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Alarm, Context, Error, Json, Model, Node, PredictError};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(20);
/// Promise S10: a node whose disk failed is gone within a second.
const FAIL_STOP: Duration = Duration::from_secs(1);

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

async fn start(files: &SimFiles, lock: &std::path::Path, free_bytes_min: u64) -> Node<Json<String, u64>> {
    let limits = Limits { free_bytes_min, ..Limits::default() };
    let node = Node::builder(0)
        .config(NodeConfig::<NoBackend> { limits, ..NodeConfig::default() })
        .data_dir(lock)
        .members("0=local:0".parse().unwrap())
        .transport(LocalNetwork::new().transport())
        .files(Arc::new(files.clone()))
        .start(Count::default())
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, node.ready()).await.unwrap().unwrap();
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_or_write_a_node_answers_nobody_and_stops() {
    for kind in [CallKind::SyncData, CallKind::Write] {
        let (files, directory) = (SimFiles::new(), tempfile::tempdir().unwrap());
        let node = start(&files, directory.path(), 0).await;
        let acknowledged = node.predict("a".into()).await.unwrap();
        files.fail(kind, 0, Fault::Error);
        let refused = node.predict("b".into()).key("b").await;
        assert!(matches!(refused, Err(PredictError::Unknown { .. })), "{kind:?}: {refused:?}");
        let ended = tokio::time::timeout(FAIL_STOP, node.stopped()).await.expect("stops within a second");
        let Err(error @ Error::Storage(_)) = ended else { panic!("{kind:?}: {ended:?}") };
        assert_eq!(error.exit_status(), 74);
        assert_eq!(node.predict("c".into()).await, Err(PredictError::Stopped));
        drop(node);
        // What the failed disk kept is what was synced: the acknowledged answer, and at most what was unknown.
        files.crash(7);
        let node = start(&files, directory.path(), 0).await;
        assert!(node.status().position >= acknowledged.position);
        let next = node.predict("d".into()).await.unwrap();
        assert!(next.output == 2 || next.output == 3, "{}", next.output);
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_holds_answers_back_until_there_is_space_again() {
    let (files, directory) = (SimFiles::new(), tempfile::tempdir().unwrap());
    let node = start(&files, directory.path(), 0).await;
    node.predict("a".into()).await.unwrap();
    files.set_bytes_max(Some(0));
    let long = "x".repeat(512 << 10);
    let mut held_back = None;
    for n in 0..16 {
        let key = format!("long {n}");
        let asked = node.predict(long.clone()).key(key.clone()).within(Duration::from_millis(300)).await;
        if matches!(asked, Err(PredictError::Unknown { .. })) {
            held_back = Some((key, n));
            break;
        }
    }
    let (key, earlier) = held_back.expect("the disk is full in the end");
    files.set_bytes_max(None);
    let answer = node.predict(long).key(key).within(PATIENCE).await.unwrap();
    assert_eq!(answer.output, earlier + 2);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_its_reserve_a_node_accepts_nothing_and_goes_on_by_itself() {
    const RESERVE: u64 = 1 << 20;
    let (files, directory) = (SimFiles::new(), tempfile::tempdir().unwrap());
    let node = start(&files, directory.path(), RESERVE).await;
    let before = node.predict("a".into()).await.unwrap();
    for full in [true, false, true, false] {
        files.set_bytes_max(full.then_some(0));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while node.status().alarms.contains(&Alarm::DiskFull) != full {
            assert!(tokio::time::Instant::now() < deadline, "{full}: {:?}", node.status());
            tokio::task::yield_now().await;
        }
        let asked = node.predict("b".into()).await;
        match full {
            true => assert_eq!(asked, Err(PredictError::DiskFull)),
            false => assert!(asked.unwrap().position > before.position),
        }
    }
    assert_eq!(node.predict("c".into()).await.unwrap().output, 4);
    node.shutdown().await.unwrap();
}
