//! Reading a whole log to see whether it is sound.

use std::collections::BTreeSet;
use std::path::Path;

use super::blocks::Step;
use super::catalog::Point;
use super::files::Files;
use super::format::batch::{BatchHeader, BatchKind};
use super::format::sections::Sections;
use super::format::segment::{self, SegmentHeader};
use super::walk::{Begun, Walked, begin};
use super::{LogConfig, LogError, LogReader, recover};

/// After how many bytes a caller hears of progress.
const PROGRESS_BYTES: u64 = 1 << 20;

/// What was found sound so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Verified {
    /// Bytes of headers, batches and footers.
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    /// Batches, footers included.
    pub(crate) batches: u64,
    /// Entries, those included that were overwritten.
    pub(crate) entries: u64,
}

impl LogReader {
    /// Reads every segment from its first byte to its last, overwritten entries included. Checks each checksum; that each
    /// batch and segment follows the one before it; that indexes are dense, terms never fall and nothing committed is
    /// overwritten; and that headers and footers repeat what stands before them. Takes as long as reading the files does.
    ///
    /// # Errors
    /// The first [`LogError::Corrupt`] (or [`LogError::Version`]) that is found, oldest segment first.
    pub fn verify(&self) -> Result<(), LogError> {
        let (active, written) = {
            let view = self.shared.view();
            (view.segment, view.written)
        };
        let (files, directory) = (&*self.shared.files, &*self.shared.directory);
        let names = files.list(directory).map_err(LogError::io("list", directory))?;
        let mut ids = recover::segments(&names);
        // What was begun since then is not asked for.
        ids.split_off(&(active + 1));
        verify(files, directory, &ids, written, &mut Verified::default(), &mut |_| {})
    }
}

/// Checks the segments `ids`, the last one up to `written`. `verified` says how far it came, an error included; `progress` is
/// told from time to time.
pub(super) fn verify(
    files: &dyn Files,
    directory: &Path,
    ids: &BTreeSet<u64>,
    written: u64,
    verified: &mut Verified,
    progress: &mut dyn FnMut(&Verified),
) -> Result<(), LogError> {
    let mut before: Option<Walked> = None;
    for id in ids {
        if let Some(before) = before.as_ref().filter(|before| before.segment.id + 1 != *id) {
            let path = segment::path(directory, before.segment.id + 1);
            return Err(LogError::corrupt(&path, 0, "the segment is missing"));
        }
        let begun = begin(files, directory, *id, &LogConfig::default())?;
        check_header(&begun, before.as_ref())?;
        verified.bytes += begun.walked.segment.header_bytes;
        verified.segments += 1;
        let end = if ids.last() == Some(id) { Some(written) } else { None };
        before = Some(verify_batches(begun, end, verified, progress)?);
        progress(verified);
    }
    Ok(())
}

/// Whether a segment's header repeats what the segment before it, `None` for the first that is there, ended with.
fn check_header(begun: &Begun, before: Option<&Walked>) -> Result<(), LogError> {
    let SegmentHeader { segment, previous, next_index, sections } = &begun.header;
    let wrong = |offset, why| Err(LogError::corrupt(&begun.walked.segment.path, offset, why));
    let (expected_previous, expected_index, expected) = match before {
        None if *segment > 1 => return Ok(()),
        None => (0, 1, Sections::default()),
        Some(Walked { state, catalog, segment, .. }) => {
            let sections = Sections { spans: catalog.spans().to_vec(), ..state.sections() };
            (segment.previous, state.last_index + 1, sections)
        }
    };
    if *previous != expected_previous {
        return wrong(0, "the segment does not follow the one before it");
    }
    if *next_index != expected_index || *sections != expected {
        return wrong(0, "the segment's header does not repeat what stands before it");
    }
    Ok(())
}

/// Checks the batches of a segment: to the end of the file and its footer, or to `end` where it need not be sealed.
fn verify_batches(
    begun: Begun,
    end: Option<u64>,
    verified: &mut Verified,
    progress: &mut dyn FnMut(&Verified),
) -> Result<Walked, LogError> {
    let Begun { mut walked, mut blocks, .. } = begun;
    blocks.end = end.unwrap_or(blocks.end);
    let (file, path, id) = (walked.segment.file.clone(), walked.segment.path.clone(), walked.segment.id);
    let footer = segment::read_footer(&*file, &path, id, blocks.end);
    let mut points = PointsCheck::new(footer.as_ref().map_or(&[], |(footer, _)| footer.points.as_slice()));
    let mut told = verified.bytes;
    loop {
        let begins = blocks.offset;
        let corrupt = |why| Err(LogError::corrupt(&path, begins, why));
        match blocks.next()? {
            Step::Batch(_, _) if walked.sealed => return corrupt("a batch stands behind the footer"),
            Step::Batch(batch, at) => {
                if !points.pass(&batch, begins) {
                    return corrupt("the footer's sparse index says something else");
                }
                walked.take(&batch, at, &blocks)?;
                verified.batches += 1;
                verified.entries += u64::from(batch.entries);
                verified.bytes += batch.total_bytes();
            }
            Step::End | Step::Fill(_) => break,
            Step::NoBatch(why) => return corrupt(why.unwrap_or("a batch is missing")),
        }
        if verified.bytes - told >= PROGRESS_BYTES {
            told = verified.bytes;
            progress(verified);
        }
    }
    if end.is_none() || walked.sealed {
        let (footer, begins) = footer?;
        let expected = walked.state.footer_sections(&walked.catalog, id);
        if (Sections { points: Vec::new(), ..footer }) != (Sections { points: Vec::new(), ..expected }) {
            return Err(LogError::corrupt(&path, begins, "the footer does not repeat what stands before it"));
        }
    }
    Ok(walked)
}

/// Each point of a footer must name a batch and its first entry.
struct PointsCheck<'a> {
    rest: &'a [Point],
}

impl<'a> PointsCheck<'a> {
    fn new(points: &'a [Point]) -> Self {
        PointsCheck { rest: points }
    }

    /// Takes the batch that begins at `offset`; false if the next point should have named it, or one before it.
    fn pass(&mut self, batch: &BatchHeader, offset: u64) -> bool {
        if batch.kind == BatchKind::Footer {
            return self.rest.is_empty();
        }
        match self.rest.split_first() {
            Some((point, rest)) if point.offset == offset => {
                self.rest = rest;
                batch.entries > 0 && batch.first_index == point.index
            }
            Some((point, _)) => point.offset > offset,
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::files::SimFiles;
    use super::super::format::batch::Place;
    use super::super::format::parse;
    use super::super::{EntryKind, HardState, Log, LogEntry, LogWrite};
    use super::*;
    use crate::Membership;

    fn directory() -> &'static Path {
        Path::new("log")
    }

    fn write(index: u64) -> LogWrite {
        let entry = LogEntry { index, term: 1, kind: EntryKind::Normal, data: vec![7; 300].into() };
        let hard_state = Some(HardState { term: 1, vote: 1, commit: index - 1 });
        LogWrite { entries: vec![entry], hard_state, ..LogWrite::default() }
    }

    /// A log of three sealed segments and one without a batch yet.
    fn log() -> (SimFiles, Log) {
        let disk = SimFiles::new();
        let config = LogConfig { segment_bytes: 4 << 10, index_stride_bytes: 600, ..LogConfig::default() };
        let (mut log, _) =
            Log::open(Arc::new(disk.clone()), directory(), config, Membership::default()).unwrap();
        (1..=30).for_each(|index| log.append(&write(index)).unwrap());
        log.sync(0).unwrap();
        log.rotate().unwrap();
        assert!(log.segment.id >= 4);
        log.reader().verify().unwrap();
        (disk, log)
    }

    fn named(log: &Log) -> (u64, u64, &'static str) {
        let Err(LogError::Corrupt { file, offset, why }) = log.reader().verify() else { panic!("sound") };
        (segment::id(file.file_name().unwrap().to_str().unwrap()).unwrap(), offset, why)
    }

    #[test]
    fn a_footer_that_says_something_else_is_named_though_its_checksum_is_right() {
        let wrong: [fn(&mut Sections); 6] = [
            |footer| footer.points[1].index += 1,
            |footer| footer.points[1].offset += 8,
            |footer| footer.points.push(Point { index: 99, offset: 1 << 20 }),
            |footer| footer.hard_state.commit += 1,
            |footer| footer.spans[0].end_index -= 1,
            |footer| footer.term_starts.clear(),
        ];
        for (number, forge) in wrong.iter().enumerate() {
            let (disk, log) = log();
            let path = segment::path(directory(), 1);
            let mut bytes = disk.contents(&path).unwrap();
            let file = disk.open(&path).unwrap();
            let (mut footer, begins) = segment::read_footer(&*file, &path, 1, bytes.len() as u64).unwrap();
            let sealed = bytes.split_off(begins as usize);
            let header = parse::check(&sealed, 1, begins, sealed.len() as u64).unwrap();
            let place =
                Place { segment: 1, offset: begins, synced: header.synced, previous: header.previous };
            forge(&mut footer);
            segment::put_footer(&mut bytes, place, &footer);
            disk.set_contents(&path, bytes);
            let (id, offset, why) = named(&log);
            assert!(id == 1 && why.contains("footer") && offset <= begins, "{number}: {id} {offset} {why}");
            assert_eq!(why.contains("sparse index"), number < 3, "{number}: {why}");
        }
    }

    #[test]
    fn a_header_that_says_something_else_is_named_though_its_checksum_is_right() {
        let wrong: [fn(&mut SegmentHeader); 5] = [
            |header| header.next_index += 1,
            |header| header.previous += 1,
            |header| header.sections.hard_state.vote += 1,
            |header| header.sections.spans[1].first_index += 1,
            |header| header.sections.memberships.push(Membership::default()),
        ];
        for (number, forge) in wrong.iter().enumerate() {
            let (disk, log) = log();
            let (id, path) = (log.segment.id, &log.segment.path);
            let (mut header, _, _) = SegmentHeader::read(&*log.segment.file, path, id).unwrap();
            forge(&mut header);
            let (bytes, _) = header.encode();
            disk.set_contents(path, bytes);
            let (found, offset, why) = named(&log);
            assert_eq!((found, offset), (id, 0), "{number}: {why}");
        }
    }

    #[test]
    fn a_missing_segment_is_named() {
        let (disk, log) = log();
        disk.remove(&segment::path(directory(), 2)).unwrap();
        assert_eq!(named(&log), (2, 0, "the segment is missing"));
    }
}
