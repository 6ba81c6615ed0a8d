//! The two ends of a segment. All integers are little-endian.
//!
//! ```text
//! header   0  magic "BOATSEG\0"
//!          8  version u32 = 1
//!         12  checksum u32       crc32c of everything behind it in the header
//!         16  header_bytes u32   a multiple of 8; the first batch begins there
//!         20  previous u32       checksum of the segment before's footer; 0 in the first
//!         24  segment u64        the segment's id, counted from 1
//!         32  next_index u64     the index behind the last entry when the segment was made
//!         40  sections           hard state, memberships, term starts and spans as of then
//!
//! footer   a batch of kind 2: sections (hard state, memberships, term starts, this segment's spans, points),
//!          then footer_offset u64 | magic "BOATFOOT": the last 16 bytes of the file
//! ```

use std::path::{Path, PathBuf};

use super::batch::{self, HEADER_BYTES, Place};
use super::sections::Sections;
use super::{VERSION, parse, patch};
use crate::codec::Reader;
use crate::log::LogError;
use crate::log::files::File;

const MAGIC: [u8; 8] = *b"BOATSEG\0";
const FOOTER_MAGIC: [u8; 8] = *b"BOATFOOT";
const FIXED_BYTES: usize = 40;
const TRAILER_BYTES: usize = 16;
const CHECKED_FROM: usize = 16;
/// The longest segment header and footer: room for the spans of half a million segments.
pub(crate) const SECTIONS_BYTES_MAX: u64 = 32 << 20;
const SUFFIX: &str = ".segment";

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment: u64,
    pub(crate) previous: u32,
    pub(crate) next_index: u64,
    pub(crate) sections: Sections,
}

/// Where segment `id` stands.
pub(crate) fn path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:016x}{SUFFIX}"))
}

/// The segment that a file name stands for.
pub(crate) fn id(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|id| *id > 0 && format!("{id:016x}") == digits)
}

impl SegmentHeader {
    /// The header in bytes, and its checksum.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 8]); // Checksum and length.
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.next_index.to_le_bytes());
        self.sections.put(&mut out, 0);
        let header_bytes = out.len() as u32;
        patch(&mut out, 16, &header_bytes.to_le_bytes());
        let checksum = crc32c::crc32c(out.get(CHECKED_FROM..).unwrap_or_default());
        patch(&mut out, 12, &checksum.to_le_bytes());
        (out, checksum)
    }

    /// Reads the header of segment `id` from `file`: with it, its length in bytes and its checksum.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] or [`LogError::Version`] when it is not a header of that segment.
    pub(crate) fn read(file: &dyn File, path: &Path, id: u64) -> Result<(SegmentHeader, u64, u32), LogError> {
        let corrupt = |offset, why| LogError::corrupt(path, offset, why);
        let mut fixed = [0; FIXED_BYTES];
        let count = file.read_at(&mut fixed, 0).map_err(LogError::io("read", path))?;
        if count < FIXED_BYTES {
            return Err(corrupt(0, "the segment ends within its header"));
        }
        let mut reader = Reader::new(&fixed, "segment header");
        let malformed = |_| corrupt(0, "the segment header is malformed");
        if reader.array().map_err(malformed)? != MAGIC {
            return Err(corrupt(0, "not a segment: the magic number is missing"));
        }
        let version = reader.u32().map_err(malformed)?;
        if version != VERSION {
            return Err(LogError::Version { file: path.to_owned(), found: version, known: VERSION });
        }
        let checksum = reader.u32().map_err(malformed)?;
        let header_bytes = u64::from(reader.u32().map_err(malformed)?);
        let file_bytes = file.len().map_err(LogError::io("read", path))?;
        if header_bytes > SECTIONS_BYTES_MAX.min(file_bytes) {
            return Err(corrupt(16, "the segment header has an impossible length"));
        }
        let mut whole = vec![0; header_bytes as usize];
        file.read_at(&mut whole, 0).map_err(LogError::io("read", path))?;
        let covered = whole.get(CHECKED_FROM..).unwrap_or_default();
        if crc32c::crc32c(covered) != checksum {
            return Err(corrupt(0, "the segment header's checksum does not match"));
        }
        let previous = reader.u32().map_err(malformed)?;
        let (segment, next_index) = (reader.u64().map_err(malformed)?, reader.u64().map_err(malformed)?);
        if segment != id {
            return Err(corrupt(24, "the segment has another's id"));
        }
        let sections = Sections::get(whole.get(FIXED_BYTES..).unwrap_or_default()).map_err(malformed)?;
        Ok((SegmentHeader { segment, previous, next_index, sections }, header_bytes, checksum))
    }
}

/// Appends a segment's footer and gives its checksum.
pub(crate) fn put_footer(out: &mut Vec<u8>, place: Place, sections: &Sections) -> u32 {
    let mut body = Vec::new();
    sections.put(&mut body, 0);
    body.extend_from_slice(&place.offset.to_le_bytes());
    body.extend_from_slice(&FOOTER_MAGIC);
    batch::put_footer(out, place, &body)
}

/// Reads the footer of a sealed segment, which ends at `end`: with it, where it begins.
///
/// # Errors
/// [`LogError::Corrupt`] when there is none.
pub(crate) fn read_footer(
    file: &dyn File,
    path: &Path,
    id: u64,
    end: u64,
) -> Result<(Sections, u64), LogError> {
    let trailer_at = end.saturating_sub(TRAILER_BYTES as u64);
    let missing = || LogError::corrupt(path, trailer_at, "a sealed segment does not end with a footer");
    let mut trailer = [0; TRAILER_BYTES];
    file.read_at(&mut trailer, trailer_at).map_err(LogError::io("read", path))?;
    let mut reader = Reader::new(&trailer, "trailer");
    let offset = reader.u64().map_err(|_| missing())?;
    if reader.array().map_err(|_| missing())? != FOOTER_MAGIC || offset >= end {
        return Err(missing());
    }
    let footer_bytes = end - offset;
    if footer_bytes > SECTIONS_BYTES_MAX {
        return Err(missing());
    }
    let mut bytes = vec![0; footer_bytes as usize];
    file.read_at(&mut bytes, offset).map_err(LogError::io("read", path))?;
    let bad = |_| LogError::corrupt(path, offset, "a sealed segment's footer is damaged");
    let header = parse::check(&bytes, id, offset, footer_bytes).map_err(bad)?;
    if header.kind != batch::BatchKind::Footer || header.total_bytes() != footer_bytes {
        return Err(missing());
    }
    let body = bytes.get(HEADER_BYTES..bytes.len() - TRAILER_BYTES).ok_or_else(missing)?;
    let sections =
        Sections::get(body).map_err(|_| LogError::corrupt(path, offset, "a footer is malformed"))?;
    Ok((sections, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_stand_for_each_other() {
        let path = path(Path::new("d"), 0x1f);
        assert_eq!(path, Path::new("d/000000000000001f.segment"));
        assert_eq!(id("000000000000001f.segment"), Some(0x1f));
        for other in
            ["0000000000000000.segment", "1f.segment", "000000000000001F.segment", "watermark", "x.tmp"]
        {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
