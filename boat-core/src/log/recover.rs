//! Opening a log: what is kept, what is cut, and what is refused.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::catalog::Catalog;
use super::files::{Files, TEMPORARY_SUFFIX};
use super::format::sections::Sections;
use super::format::segment::{self, SegmentHeader};
use super::reader::{Shared, View};
use super::segment::{ActiveSegment, PreparedSegment};
use super::state::LogState;
use super::tail::{self, Tail};
use super::walk::{Walked, walk};
use super::watermark::{Watermark, WatermarkFile};
use super::{HardState, Log, LogConfig, LogEntry, LogError};
use crate::Membership;

/// What a torn tail begins with where it does not say more itself.
pub(super) const ZEROS: &str = "zeros stand where it should begin";

/// What a log holds when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Term, vote and commit; all 0 in a new log. The commit is at most `last_index`.
    pub hard_state: HardState,
    /// The membership as of the commit: the genesis, if no change was committed.
    pub membership: Membership,
    /// The latest membership, where it stands above the commit.
    pub membership_latest: Option<Membership>,
    /// The first index: 1 where nothing was cut. In an empty log, that of the entry to come.
    pub first_index: u64,
    /// The last index; one less than the first in an empty log.
    pub last_index: u64,
    /// The term of the entry at the last index; 0 in a new log.
    pub last_term: u64,
    /// The first index of each term that has entries, by rising index and term. In a log that was cut the first of them
    /// tells the term of the entry before the first index.
    pub term_starts: Vec<(u64, u64)>,
    /// The entries above the commit.
    pub tail: Vec<LogEntry>,
    /// What a person should read: for instance that a torn tail was cut.
    pub warnings: Vec<String>,
}

pub(super) fn open(
    files: Arc<dyn Files>,
    directory: &Path,
    config: LogConfig,
    genesis: Membership,
) -> Result<(Log, Recovered), LogError> {
    files.create_directory(directory).map_err(LogError::io("make", directory))?;
    let segments = list(&*files, directory)?;
    let watermark = WatermarkFile::open(&*files, directory)?;
    let mut warnings = Vec::new();
    let log = match (segments.last(), watermark) {
        (None, None) => create(files, directory, config, None)?,
        (None, Some(watermark)) => create(files, directory, config, Some(watermark))?,
        (Some(_), None) => {
            let path = directory.join(super::watermark::FILE_NAME);
            return Err(LogError::corrupt(&path, 0, "there are segments, but no watermark"));
        }
        (Some(last), Some(watermark)) => {
            let walked = walk(&*files, directory, *last, &config)?;
            check_segments(&walked.catalog, &segments, directory)?;
            reopen(files, directory, config, walked, watermark, &mut warnings)?
        }
    };
    let recovered = recovered(&log, genesis, warnings)?;
    Ok((log, recovered))
}

/// The segments that are there, after removing what was never finished.
fn list(files: &dyn Files, directory: &Path) -> Result<BTreeSet<u64>, LogError> {
    let names = files.list(directory).map_err(LogError::io("list", directory))?;
    for name in names.iter().filter(|name| is_unfinished(name)) {
        let path = directory.join(name);
        files.remove(&path).map_err(LogError::io("remove", &path))?;
    }
    Ok(segments(&names))
}

/// The ids of the segments among `names`.
pub(super) fn segments(names: &[String]) -> BTreeSet<u64> {
    names.iter().filter_map(|name| segment::id(name)).collect()
}

/// Whether `name` is that of a file which was never finished.
pub(super) fn is_unfinished(name: &str) -> bool {
    let ours = |name: &str| segment::id(name).is_some() || name == super::watermark::FILE_NAME;
    name.strip_suffix(TEMPORARY_SUFFIX).is_some_and(ours)
}

/// Makes the first segment. A watermark that is there already must say that nothing was ever synced.
fn create(
    files: Arc<dyn Files>,
    directory: &Path,
    config: LogConfig,
    watermark: Option<WatermarkFile>,
) -> Result<Log, LogError> {
    let watermark = match watermark {
        Some(watermark) if watermark.get() != Watermark::default() => {
            return Err(LogError::Regressed {
                directory: directory.to_owned(),
                watermark: watermark.get(),
                found: Watermark::default(),
            });
        }
        Some(watermark) => watermark,
        None => WatermarkFile::create(&*files, directory)?,
    };
    let header = SegmentHeader { segment: 1, previous: 0, next_index: 1, sections: Sections::default() };
    let segment =
        PreparedSegment::create(&*files, directory, &header, &config)?.publish(&*files, directory)?;
    let catalog = Catalog::new(1, Vec::new(), config.index_stride_bytes);
    let state = LogState::from_sections(&header.sections, 1);
    Ok(assemble(files, directory, config, (state, catalog, segment), watermark))
}

fn assemble(
    files: Arc<dyn Files>,
    directory: &Path,
    config: LogConfig,
    (state, catalog, segment): (LogState, Catalog, ActiveSegment),
    watermark: WatermarkFile,
) -> Log {
    let file = Arc::clone(&segment.file);
    let view = View { catalog, segment: segment.id, file, written: segment.written };
    Log {
        shared: Arc::new(Shared::new(files, directory.to_owned(), view)),
        config,
        segment,
        state,
        watermark,
        buffer: Vec::new(),
        waiting: Vec::new(),
        lower: None,
        has_cut: false,
        poisoned: None,
    }
}

/// Every segment that holds live entries must be there.
pub(super) fn check_segments(
    catalog: &Catalog,
    segments: &BTreeSet<u64>,
    directory: &Path,
) -> Result<(), LogError> {
    match catalog.spans().iter().find(|span| !segments.contains(&span.segment)) {
        None => Ok(()),
        Some(span) => {
            Err(LogError::corrupt(&segment::path(directory, span.segment), 0, "the segment is missing"))
        }
    }
}

/// Judges the end of the last segment, cuts what nothing vouches for, and makes all that is left durable.
fn reopen(
    files: Arc<dyn Files>,
    directory: &Path,
    config: LogConfig,
    walked: Walked,
    watermark: WatermarkFile,
    warnings: &mut Vec<String>,
) -> Result<Log, LogError> {
    let Walked { state, catalog, segment, sealed, stop } = walked;
    let synced = watermark.get();
    let mut log = assemble(files, directory, config, (state, catalog, segment), watermark);
    let segment = &mut log.segment;
    if sealed {
        segment.trim(segment.written)?;
    }
    let tail =
        tail::examine(&*segment.file, &segment.path, segment.id, (segment.written, segment.allocated))?;
    let found = log.reached();
    judge(&log.segment, found, &tail, stop, synced, directory)?;
    let segment = &mut log.segment;
    if let Some(dirty_end) = tail.dirty_end {
        let cut = dirty_end - segment.written;
        let why = stop.unwrap_or(ZEROS);
        let (path, at) = (segment.path.display(), segment.written);
        warnings.push(format!("{path}: cut {cut} bytes at byte {at} that were never synced: {why}"));
        segment.file.allocate(segment.written, cut).map_err(LogError::io("clear", &segment.path))?;
    }
    if sealed {
        segment.trim(segment.written)?;
    }
    let vouched = if synced.segment == segment.id { synced.segment_bytes } else { segment.header_bytes };
    tail::rewrite(&*segment.file, &segment.path, (vouched, segment.written))?;
    segment.file.sync_data().map_err(LogError::io("sync", &segment.path))?;
    segment.synced = segment.written;
    log.shared.files.sync_directory(directory).map_err(LogError::io("sync", directory))?;
    if sealed {
        let header = log.next_header(log.segment.previous);
        let next = PreparedSegment::create(&*log.shared.files, directory, &header, &log.config)?;
        log.go_on_in(next)?;
    }
    let now = log.reached();
    log.watermark.raise(now, 0, 0)?;
    // What a process that ended half way was about to remove.
    log.has_cut = log.state.first_index > 1;
    log.remove_cut()?;
    Ok(log)
}

/// Whether the log may end where it does: `found` in `segment`, when it had once `synced` so much.
pub(super) fn judge(
    segment: &ActiveSegment,
    found: Watermark,
    tail: &Tail,
    stop: Option<&'static str>,
    synced: Watermark,
    directory: &Path,
) -> Result<(), LogError> {
    let corrupt = |why| Err(LogError::corrupt(&segment.path, segment.written, why));
    let behind = found.is_behind(&synced);
    if tail.is_vouched_for || (behind && tail.dirty_end.is_some()) {
        return corrupt(stop.unwrap_or("zeros stand where a synced batch was"));
    }
    if behind {
        return Err(LogError::Regressed { directory: directory.to_owned(), watermark: synced, found });
    }
    Ok(())
}

fn recovered(log: &Log, genesis: Membership, warnings: Vec<String>) -> Result<Recovered, LogError> {
    let LogState { hard_state, memberships, term_starts, first_index, last_index } = log.state.clone();
    let last_term = log.state.last_term();
    let membership = log.state.membership().cloned().unwrap_or(genesis);
    let membership_latest =
        memberships.into_iter().next_back().filter(|latest| latest.index > hard_state.commit);
    let from = (hard_state.commit + 1).max(first_index);
    let tail = log.reader().entries(from, last_index + 1, u64::MAX)?;
    Ok(Recovered {
        hard_state,
        membership,
        membership_latest,
        first_index,
        last_index,
        last_term,
        term_starts,
        tail,
        warnings,
    })
}
