//! A leader whose disk takes long: leadership goes to a well node (design D8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use boat_core::log::files::{File, Files, MemoryFiles};
use boat_core::transport::local::LocalNetwork;
use boat_core::{Context, Json, MemberList, Model, Node, NodeId};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(40);
/// How long a slow disk takes for a sync: more than what counts as hanging.
const SLOW: Duration = Duration::from_millis(300);

/// A disk that is slow when it is told to be.
#[derive(Debug, Clone)]
struct SlowFiles {
    inner: Arc<MemoryFiles>,
    slow: Arc<AtomicBool>,
}

#[derive(Debug)]
struct SlowFile {
    inner: Box<dyn File>,
    slow: Arc<AtomicBool>,
}

impl SlowFiles {
    fn file(&self, inner: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        Ok(Box::new(SlowFile { inner: inner?, slow: self.slow.clone() }))
    }
}

impl Files for SlowFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(self.inner.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(self.inner.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.inner.create_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.inner.sync_directory(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.inner.free_bytes(directory)
    }
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, count: u64) -> io::Result<()> {
        self.inner.allocate(offset, count)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.slow.load(Ordering::Relaxed) {
            #[expect(clippy::disallowed_methods, reason = "that is what a slow disk does")]
            std::thread::sleep(SLOW);
        }
        self.inner.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.inner.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl Model for Count {
    type Request = u64;
    type Response = u64;

    fn predict(&mut self, _: &Context, number: u64) -> u64 {
        self.0 += number;
        self.0
    }
}

type CountNode = Node<Json<u64, u64>>;

async fn until(node: &CountNode, what: &str, holds: impl Fn(&CountNode) -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds(node) {
        assert!(tokio::time::Instant::now() < deadline, "not {what}: {:?}", node.status());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_slow_hands_over_and_nothing_is_lost() {
    let (network, directory) = (LocalNetwork::new(), tempfile::tempdir().unwrap());
    let members = MemberList::new((0..3).map(|node| (NodeId(node), format!("local:{node}")))).unwrap();
    let (mut nodes, mut disks) = (Vec::new(), Vec::new());
    for node in 0..3_u16 {
        let files = SlowFiles { inner: Arc::new(MemoryFiles::new()), slow: Arc::default() };
        disks.push(files.slow.clone());
        let builder = Node::builder(node).data_dir(directory.path().join(node.to_string()));
        let builder = builder.members(members.clone()).transport(network.transport());
        nodes.push(builder.files(Arc::new(files)).start(Count::default()).await.unwrap());
    }
    for node in &nodes {
        until(node, "ready", |node| node.is_ready()).await;
    }
    nodes.first().unwrap().predict(1).within(PATIENCE).await.unwrap();
    let leader = nodes.first().unwrap().status().leader.unwrap();
    let slow = disks.get(usize::from(leader.0)).unwrap();
    slow.store(true, Ordering::Relaxed);
    let other = nodes.iter().find(|node| node.id() != leader).unwrap();
    for expected in 2..=10 {
        assert_eq!(other.predict(1).within(PATIENCE).await.unwrap().output, expected);
    }
    until(other, "led by another", |node| node.status().leader.is_some_and(|now| now != leader)).await;
    slow.store(false, Ordering::Relaxed);
    let last = other.predict(1).within(PATIENCE).await.unwrap();
    assert_eq!(last.output, 11);
    for node in &nodes {
        until(node, "at the position", |node| node.status().position == last.position).await;
        node.shutdown().await.unwrap();
    }
}
