//! What the disk allows: three nodes sync at the same time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{NODES, Result, Sample};

/// What is written before each sync.
const BLOCK_BYTES: usize = 4 << 10;
/// The length of the files, which were filled with zeros as a log's segments are; then writing begins anew.
const FILE_BYTES: usize = 8 << 20;

/// The time that half of the syncs took at most, in milliseconds, while three files are written and synced for so long.
///
/// # Errors
/// What the file system says.
pub fn sync_p50_ms(directory: &Path, duration: Duration) -> Result<f64> {
    let mut files = Vec::new();
    for node in 0..NODES {
        let path = directory.join(format!("sync-{node}"));
        let file = File::options().create(true).truncate(true).write(true).open(path)?;
        file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        file.sync_all()?;
        files.push(file);
    }
    let end = Instant::now() + duration;
    let mut latencies_us = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = files.iter().map(|file| scope.spawn(|| sync_until(file, end))).collect();
        for thread in threads {
            let synced = thread.join().map_err(|_| "a thread panicked")?;
            latencies_us.append(&mut synced?);
        }
        Result::Ok(())
    })?;
    Ok(Sample::new(latencies_us, duration).p50_ms)
}

fn sync_until(file: &File, end: Instant) -> std::io::Result<Vec<u32>> {
    let block = vec![b'b'; BLOCK_BYTES];
    let mut latencies_us = Vec::new();
    for n in 0.. {
        let started = Instant::now();
        if started >= end {
            break;
        }
        let offset = n * BLOCK_BYTES % FILE_BYTES;
        file.write_all_at(&block, offset as u64)?;
        file.sync_data()?;
        latencies_us.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(latencies_us)
}
