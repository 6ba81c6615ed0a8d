//! A disk in memory that takes its time to sync, and knows whose time that was.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boat_core::log::files::{File, Files, MemoryFiles};

/// The names of the threads that waited for syncs.
pub(crate) type Waited = Arc<Mutex<BTreeSet<String>>>;

#[derive(Debug)]
pub(crate) struct SlowFiles {
    files: MemoryFiles,
    sync_ms: Arc<AtomicU64>,
    waited: Waited,
}

#[derive(Debug)]
struct SlowFile {
    file: Box<dyn File>,
    sync_ms: Arc<AtomicU64>,
    waited: Waited,
}

impl SlowFiles {
    pub(crate) fn new(sync_ms: Arc<AtomicU64>, waited: Waited) -> SlowFiles {
        SlowFiles { files: MemoryFiles::new(), sync_ms, waited }
    }

    fn slow(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(SlowFile { file, sync_ms: self.sync_ms.clone(), waited: self.waited.clone() })
    }
}

impl Files for SlowFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.files.create(path).map(|file| self.slow(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.files.open(path).map(|file| self.slow(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.files.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.files.create_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.files.sync_directory(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.files.free_bytes(directory)
    }
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, count: u64) -> io::Result<()> {
        self.file.allocate(offset, count)
    }

    fn sync_data(&self) -> io::Result<()> {
        let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
        self.waited.lock().unwrap().insert(thread);
        std::thread::sleep(Duration::from_millis(self.sync_ms.load(Ordering::SeqCst)));
        self.file.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
