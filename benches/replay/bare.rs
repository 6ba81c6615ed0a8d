//! The limit: what must be done at least, on bytes that are in memory already.
//!
//! The image of a log is a row of records, one for each write: `checksum u32 | bytes u32 | entries`, each entry
//! `bytes u32 | command`. The checksum is of the entries.

use benches::{Result, Shape, Workload};

use crate::WRITE_REQUESTS;
use crate::boat::decode;

/// The image of a log.
pub(crate) struct Image {
    bytes: Vec<u8>,
    requests: u64,
    command_bytes: u64,
}

impl Image {
    /// The image of so many writes.
    pub(crate) fn new(shape: Shape, writes: usize) -> Image {
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
        Image { bytes, requests: workload.requests(), command_bytes }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// The bytes of all encoded commands.
    pub(crate) fn command_bytes(&self) -> u64 {
        self.command_bytes
    }

    /// Hands every request to a function that does nothing.
    pub(crate) fn scan(&self) -> Result<()> {
        let (mut rest, mut requests) = (self.bytes.as_slice(), 0);
        while !rest.is_empty() {
            let checksum = number(&mut rest)?;
            let mut record = part(&mut rest)?;
            if crc32c::crc32c(record) != checksum {
                return Err("a checksum does not match".into());
            }
            while !record.is_empty() {
                requests += decode(part(&mut record)?)?;
            }
        }
        if requests == self.requests { Ok(()) } else { Err(format!("{requests} requests were found").into()) }
    }
}

fn number(rest: &mut &[u8]) -> Result<u32> {
    let (number, behind) = rest.split_first_chunk().ok_or("the image is cut")?;
    *rest = behind;
    Ok(u32::from_le_bytes(*number))
}

fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let bytes = number(rest)? as usize;
    let (part, behind) = rest.split_at_checked(bytes).ok_or("the image is cut")?;
    *rest = behind;
    Ok(part)
}
