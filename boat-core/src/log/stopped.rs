//! A log that nobody writes to, read without changing anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::catalog::Span;
use super::files::Files;
use super::format::segment;
use super::reader::{Shared, View};
use super::recover::{self, check_segments, judge};
use super::state::LogState;
use super::tail::{self, Tail};
use super::verify::{Verified, verify};
use super::walk::{Walked, walk};
use super::{LogConfig, LogError, LogReader, Watermark, watermark};

/// What [`Log::open`](super::Log::open) would find, and what it would say.
#[derive(Debug)]
pub(crate) struct StoppedLog {
    ids: BTreeSet<u64>,
    written: u64,
    pub(crate) reader: LogReader,
    pub(crate) state: LogState,
    /// Where the live entries stand, by rising index.
    pub(crate) spans: Vec<Span>,
    pub(crate) segments: Vec<SegmentFile>,
    pub(crate) watermark: Watermark,
    /// Files that were never finished: opening would remove them.
    pub(crate) unfinished: Vec<String>,
    /// What stands at the end that nothing vouches for: opening would cut it.
    pub(crate) torn: Option<TornTail>,
    /// Why the log cannot be opened.
    pub(crate) problem: Option<LogError>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// The file's length: in the last segment, zeros taken ahead included.
    pub(crate) bytes: u64,
    pub(crate) sealed: bool,
}

/// The remains of writes that were never synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TornTail {
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    /// From there to the last byte that is not zero.
    pub(crate) bytes: u64,
    pub(crate) why: &'static str,
}

impl StoppedLog {
    /// Reads the last segment of the log in `directory`, and the watermark; `None` where no log was ever written.
    ///
    /// # Errors
    /// Those of [`Log::open`](super::Log::open) after which not even the last segment can be read; the others are
    /// [`StoppedLog::problem`].
    pub(crate) fn read(files: Arc<dyn Files>, directory: &Path) -> Result<Option<StoppedLog>, LogError> {
        let names = match files.list(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            listed => listed.map_err(LogError::io("list", directory))?,
        };
        let ids = recover::segments(&names);
        let watermark = watermark::read(&*files, directory)?;
        let (last, watermark) = match (ids.last(), watermark) {
            (None, None) => return Ok(None),
            (None, Some(watermark)) if watermark == Watermark::default() => return Ok(None),
            (None, Some(watermark)) => {
                let (directory, found) = (directory.to_owned(), Watermark::default());
                return Err(LogError::Regressed { directory, watermark, found });
            }
            (Some(_), None) => {
                let path = directory.join(watermark::FILE_NAME);
                return Err(LogError::corrupt(&path, 0, "there are segments, but no watermark"));
            }
            (Some(last), Some(watermark)) => (*last, watermark),
        };
        let walked = walk(&*files, directory, last, &LogConfig::default())?;
        let unfinished = names.into_iter().filter(|name| recover::is_unfinished(name)).collect();
        let (torn, problem) = examine(&walked, &ids, watermark, directory)?;
        let segments = ids.iter().map(|id| segment_file(&*files, directory, *id, &walked));
        let segments = segments.collect::<Result<_, _>>()?;
        let Walked { state, catalog, segment, .. } = walked;
        let (spans, written) = (catalog.spans().to_vec(), segment.written);
        let view = View { catalog, segment: segment.id, file: segment.file, written };
        let shared = Shared::new(files, directory.to_owned(), view);
        let reader = LogReader { shared: Arc::new(shared) };
        Ok(Some(StoppedLog {
            ids,
            written,
            reader,
            state,
            spans,
            segments,
            watermark,
            unfinished,
            torn,
            problem,
        }))
    }

    /// Reads everything, as [`LogReader::verify`] does. `verified` says how far it came, an error included.
    ///
    /// # Errors
    /// As [`LogReader::verify`].
    pub(crate) fn verify(
        &self,
        verified: &mut Verified,
        progress: &mut dyn FnMut(&Verified),
    ) -> Result<(), LogError> {
        let Shared { files, directory, .. } = &*self.reader.shared;
        verify(&**files, directory, &self.ids, self.written, verified, progress)
    }
}

/// What stands behind the last whole batch, and whether the log may end there.
fn examine(
    walked: &Walked,
    ids: &BTreeSet<u64>,
    synced: Watermark,
    directory: &Path,
) -> Result<(Option<TornTail>, Option<LogError>), LogError> {
    let Walked { catalog, segment, sealed, stop, .. } = walked;
    // What stands behind a footer is cut without being looked at.
    let end = if *sealed { segment.written } else { segment.allocated };
    let tail = tail::examine(&*segment.file, &segment.path, segment.id, (segment.written, end))?;
    let judged = check_segments(catalog, ids, directory)
        .and_then(|()| judge(segment, walked.reached(), &tail, *stop, synced, directory));
    let torn = |Tail { dirty_end, .. }| {
        let (file, offset) = (segment.path.clone(), segment.written);
        let why = stop.unwrap_or(recover::ZEROS);
        dirty_end.map(|end: u64| TornTail { file, offset, bytes: end - offset, why })
    };
    Ok(match judged {
        Ok(()) => (torn(tail), None),
        Err(problem) => (None, Some(problem)),
    })
}

fn segment_file(
    files: &dyn Files,
    directory: &Path,
    id: u64,
    walked: &Walked,
) -> Result<SegmentFile, LogError> {
    let path = segment::path(directory, id);
    let bytes = files.open(&path).and_then(|file| file.len()).map_err(LogError::io("open", &path))?;
    Ok(SegmentFile { id, path, bytes, sealed: id != walked.segment.id || walked.sealed })
}
