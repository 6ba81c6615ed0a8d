//! The limit: what must be done at least, by one thread, to hand every request to somebody.
//!
//! The image of a log is a row of records, one for each write: `checksum u32 | bytes u32 | entries`, each entry
//! `bytes u32 | command`. The checksum is of the entries.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use benches::{Result, Shape, Workload};
use bytes::{Bytes, BytesMut};

use crate::WRITE_REQUESTS;
use crate::decode::{Decode, look};

/// How much of the file is read at once: stays in a core's cache.
const BLOCK_BYTES: usize = 256 << 10;
const RECORD_HEAD_BYTES: usize = 8;

/// The image of a log, in a file and in memory.
pub(crate) struct Image {
    file: File,
    bytes: Vec<u8>,
    requests: u64,
    command_bytes: u64,
}

impl Image {
    /// The image of so many writes.
    pub(crate) fn write(path: &Path, shape: Shape, writes: usize) -> Result<Image> {
        let mut workload = Workload::new(shape);
        let (mut bytes, mut command_bytes) = (Vec::new(), 0);
        for _ in 0..writes {
            let mut record = Vec::new();
            for _ in 0..WRITE_REQUESTS / shape.entry_requests {
                let command = workload.command();
                command_bytes += command.len() as u64;
                record.extend_from_slice(&(command.len() as u32).to_le_bytes());
                record.extend_from_slice(&command);
            }
            bytes.extend_from_slice(&crc32c::crc32c(&record).to_le_bytes());
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&record);
        }
        std::fs::write(path, &bytes)?;
        let file = File::open(path)?;
        Ok(Image { file, bytes, requests: workload.requests(), command_bytes })
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// The bytes of all encoded commands.
    pub(crate) fn command_bytes(&self) -> u64 {
        self.command_bytes
    }

    /// Decodes every request, read from the page cache.
    pub(crate) fn scan(&self, decode: Decode) -> Result<()> {
        let (mut offset, mut requests, mut block) = (0, 0, BytesMut::zeroed(BLOCK_BYTES));
        while offset < self.bytes.len() {
            let wanted = BLOCK_BYTES.min(self.bytes.len() - offset);
            self.file.read_exact_at(block.get_mut(..wanted).ok_or("a short block")?, offset as u64)?;
            let whole = block.freeze();
            let mut rest = whole.get(..wanted).unwrap_or_default();
            while let Some(mut record) = next_record(&mut rest)? {
                while !record.is_empty() {
                    requests += decode(&whole, part(&mut record)?)?;
                }
            }
            offset += wanted - rest.len();
            block = whole.try_into_mut().map_err(|_: Bytes| "somebody keeps a request")?;
        }
        self.check(requests)
    }

    /// Looks at every request where it stands, in memory.
    pub(crate) fn scan_memory(&self) -> Result<()> {
        let (mut rest, mut requests) = (self.bytes.as_slice(), 0);
        while let Some(mut record) = next_record(&mut rest)? {
            while !record.is_empty() {
                requests += look(&Bytes::new(), part(&mut record)?)?;
            }
        }
        self.check(requests)
    }

    fn check(&self, requests: u64) -> Result<()> {
        if requests == self.requests { Ok(()) } else { Err(format!("{requests} requests were found").into()) }
    }
}

/// The entries of the next record, its checksum verified, if all of it is there.
fn next_record<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    let mut behind = *rest;
    if behind.len() < RECORD_HEAD_BYTES {
        return Ok(None);
    }
    let checksum = number(&mut behind)?;
    let Ok(record) = part(&mut behind) else { return Ok(None) };
    if crc32c::crc32c(record) != checksum {
        return Err("a checksum does not match".into());
    }
    *rest = behind;
    Ok(Some(record))
}

fn number(rest: &mut &[u8]) -> std::result::Result<u32, &'static str> {
    let (number, behind) = rest.split_first_chunk().ok_or("the image is cut")?;
    *rest = behind;
    Ok(u32::from_le_bytes(*number))
}

fn part<'a>(rest: &mut &'a [u8]) -> std::result::Result<&'a [u8], &'static str> {
    let bytes = number(rest)? as usize;
    let (part, behind) = rest.split_at_checked(bytes).ok_or("the image is cut")?;
    *rest = behind;
    Ok(part)
}
