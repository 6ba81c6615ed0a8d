//! Reading ahead on another core.
//!
//! Copying a block out of the page cache costs as much as everything else that a scan does with it. A thread that only
//! reads takes this off the scan; checksums and all that touches reference counts stays where it was.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::{Bytes, BytesMut};

use super::files::File;

/// How many blocks are on their way at a time. More only take memory.
const BLOCKS_MAX: usize = 3;
/// How many blocks without a reader are kept for the next ones.
const SPARE_MAX: usize = 2;

/// Reads a range of a file, block by block, before they are asked for. Takes `2 * block_bytes` of memory for each of at
/// most [`BLOCKS_MAX`] blocks on their way, [`SPARE_MAX`] spare ones, and those that the caller keeps.
#[derive(Debug)]
pub(super) struct Ahead {
    orders: SyncSender<Order>,
    replies: Receiver<Reply>,
    /// The bytes of each block on its way, in order.
    ordered: VecDeque<usize>,
    block_bytes: usize,
    spare: Vec<BytesMut>,
    range: Option<Range>,
}

/// The part of a file that is read.
#[derive(Debug)]
struct Range {
    file: Arc<dyn File>,
    /// Where the block begins that [`Ahead::next`] gives next.
    at: u64,
    /// From where on the next order goes.
    ordered: u64,
    end: u64,
}

#[derive(Debug)]
struct Order {
    file: Arc<dyn File>,
    offset: u64,
    count: usize,
    buffer: BytesMut,
}

#[derive(Debug)]
struct Reply {
    buffer: BytesMut,
    read: io::Result<usize>,
}

impl Ahead {
    /// Starts the thread, which ends by itself once this is dropped: nobody waits for a disk that hangs.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn start(block_bytes: usize) -> io::Result<Ahead> {
        let (orders, to_read) = sync_channel(BLOCKS_MAX);
        let (done, replies) = sync_channel(BLOCKS_MAX);
        let name = "boat-read-ahead".to_owned();
        #[expect(clippy::disallowed_methods, reason = "reads only: what it reads does not depend on when")]
        std::thread::Builder::new().name(name).spawn(move || read(&to_read, &done, block_bytes))?;
        let (ordered, spare) = (VecDeque::with_capacity(BLOCKS_MAX), Vec::with_capacity(SPARE_MAX));
        Ok(Ahead { orders, replies, ordered, block_bytes, spare, range: None })
    }

    /// Whether the next block is the one at `offset` of `file`.
    pub(super) fn is_at(&self, file: &Arc<dyn File>, offset: u64) -> bool {
        self.range.as_ref().is_some_and(|range| range.at == offset && Arc::ptr_eq(&range.file, file))
    }

    /// Goes on in `file` with the bytes of `range`. What was ordered before is dropped.
    pub(super) fn begin(&mut self, file: &Arc<dyn File>, (from, to): (u64, u64)) {
        while self.ordered.pop_front().is_some() {
            if let Ok(reply) = self.replies.recv() {
                self.keep(reply.buffer);
            }
        }
        self.range = Some(Range { file: Arc::clone(file), at: from, ordered: from, end: to });
        self.order();
    }

    /// Takes back a block that was given out, if nobody holds a part of it.
    pub(super) fn give_back(&mut self, block: Bytes) {
        if let Ok(buffer) = block.try_into_mut() {
            self.keep(buffer);
        }
    }

    /// The next bytes of the range, behind a copy of `tail`: a block, and where in it the tail begins. `None` if the range
    /// is at its end, or the tail longer than there is room for.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::UnexpectedEof`] if the file is shorter than the range.
    pub(super) fn next(&mut self, tail: &[u8]) -> io::Result<Option<(Bytes, usize)>> {
        let Some(at) = self.block_bytes.checked_sub(tail.len()) else { return Ok(None) };
        let Some(wanted) = self.ordered.pop_front() else { return Ok(None) };
        let Reply { mut buffer, read } = self.replies.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
        if read? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(range) = &mut self.range {
            range.at += wanted as u64;
        }
        self.order();
        buffer.truncate(self.block_bytes + wanted);
        if let Some(room) = buffer.get_mut(at..self.block_bytes) {
            room.copy_from_slice(tail);
        }
        Ok(Some((buffer.freeze(), at)))
    }

    /// Orders as many blocks as may be on their way.
    fn order(&mut self) {
        let Some(range) = &mut self.range else { return };
        while self.ordered.len() < BLOCKS_MAX && range.ordered < range.end {
            let left = usize::try_from(range.end - range.ordered).unwrap_or(usize::MAX);
            let count = left.min(self.block_bytes);
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.resize(2 * self.block_bytes, 0);
            let order = Order { file: Arc::clone(&range.file), offset: range.ordered, count, buffer };
            if self.orders.send(order).is_err() {
                // The thread is gone, which `next` finds out.
                return;
            }
            self.ordered.push_back(count);
            range.ordered += count as u64;
        }
    }

    fn keep(&mut self, buffer: BytesMut) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }
}

/// The thread: reads each order behind the room for a tail.
fn read(orders: &Receiver<Order>, replies: &SyncSender<Reply>, room: usize) {
    for Order { file, offset, count, mut buffer } in orders {
        let place = buffer.get_mut(room..room + count).unwrap_or_default();
        let read = file.read_at(place, offset);
        if replies.send(Reply { buffer, read }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::files::{Files, SimFiles};
    use super::*;

    #[test]
    fn blocks_come_in_order_behind_their_tails_until_the_file_ends() {
        let (files, directory) = (SimFiles::new(), Path::new("/directory"));
        files.create_directory(directory).unwrap();
        let file: Arc<dyn File> = files.create(&directory.join("file")).unwrap().into();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_at(&bytes, 0).unwrap();
        let mut ahead = Ahead::start(1_000).unwrap();
        ahead.begin(&file, (500, 9_000));
        assert!(ahead.is_at(&file, 500));
        let (mut found, mut kept) = (Vec::new(), Vec::new());
        while let Some((block, at)) = ahead.next(&found[found.len().saturating_sub(900)..]).unwrap() {
            assert_eq!(block[at..1_000], found[found.len().saturating_sub(900)..]);
            found.extend_from_slice(&block[1_000..]);
            // Some blocks are read into again, and some are kept by whoever has a part of them.
            if found.len() % 3 == 0 { kept.push(block) } else { ahead.give_back(block) }
        }
        assert_eq!(found, bytes[500..9_000]);
        assert!(kept.iter().all(|block| bytes.windows(5).any(|part| part == &block[1_000..1_005])));
        ahead.begin(&file, (0, 20_000));
        assert!(ahead.next(&[0; 1_001]).unwrap().is_none(), "the tail is too long");
        let failed = std::iter::from_fn(|| ahead.next(&[]).map(|next| next.map(drop)).transpose());
        let failed: Vec<_> = failed.take(11).map(|next| next.map_err(|error| error.kind())).collect();
        assert_eq!(failed.iter().filter(|next| next.is_ok()).count(), 10);
        assert_eq!(failed.last(), Some(&Err(io::ErrorKind::UnexpectedEof)));
    }
}
