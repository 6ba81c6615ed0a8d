//! The peer: raft-engine, which keeps the logs of TiKV.

use std::path::Path;

use benches::{Result, Shape, Workload};
use raft::eraftpb::Entry;
use raft_engine::{Config, Engine, LogBatch, MessageExt};

use crate::WRITE_REQUESTS;
use crate::decode::Decode;

const REGION: u64 = 1;
/// How many entries are fetched at once, and how many bytes of them: about a block of Boat's scan.
const FETCH_ENTRIES: u64 = 1_024;
const FETCH_BYTES: usize = 256 << 10;

#[derive(Clone)]
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// A raft-engine that was written and opened again.
pub(crate) struct Peer {
    engine: Engine,
    requests: u64,
    last_index: u64,
}

impl Peer {
    /// Writes so many writes.
    pub(crate) fn write(directory: &Path, shape: Shape, writes: usize) -> Result<Peer> {
        let config = Config {
            dir: directory.to_string_lossy().into_owned(),
            // Boat's log is not compressed either.
            batch_compression_threshold: raft_engine::ReadableSize::kb(0),
            ..Config::default()
        };
        let engine = Engine::open(config)?;
        let mut workload = Workload::new(shape);
        let mut index = 0;
        for write in 0..writes {
            let entries = (0..WRITE_REQUESTS / shape.entry_requests).map(|_| {
                index += 1;
                let data = workload.command().into();
                Entry { index, term: 1, data, ..Entry::default() }
            });
            let mut batch = LogBatch::with_capacity(1);
            batch.add_entries::<Entries>(REGION, &entries.collect::<Vec<_>>())?;
            engine.write(&mut batch, write + 1 == writes)?;
        }
        Ok(Peer { engine, requests: workload.requests(), last_index: index })
    }

    /// Decodes every request.
    pub(crate) fn fetch(&self, decode: Decode) -> Result<()> {
        let (mut next, mut requests, mut entries) = (1, 0, Vec::new());
        while next <= self.last_index {
            let end = (next + FETCH_ENTRIES).min(self.last_index + 1);
            entries.clear();
            self.engine.fetch_entries_to::<Entries>(REGION, next, end, Some(FETCH_BYTES), &mut entries)?;
            next += entries.len() as u64;
            for entry in &entries {
                requests += decode(&entry.data, &entry.data)?;
            }
        }
        if requests == self.requests { Ok(()) } else { Err(format!("{requests} requests were found").into()) }
    }
}
