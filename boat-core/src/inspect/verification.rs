//! Whether a directory is sound.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{InspectError, Progress, StoppedDirectory, snapshots};
use crate::directory::{self, GENESIS, IDENTITY};
use crate::log::files::ReadOnlyFiles;
use crate::log::{LogError, StoppedLog, Verified};

/// What [`StoppedDirectory::verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether the directory is sound.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How many segments were found sound; all of them, unless the verdict is corrupt.
    pub segments: u64,
    /// How many bytes of the log were found sound.
    pub bytes: u64,
    /// How many batches (atomic writes, and the footers of sealed segments) were found sound.
    pub batches: u64,
    /// How many entries were found sound, those included that were overwritten later.
    pub entries: u64,
    /// How many snapshots were found sound.
    pub snapshots: u64,
    /// How many bytes of snapshots were found sound.
    pub snapshot_bytes: u64,
}

/// Whether a directory is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is as it was written.
    Sound,
    /// The last writes before a crash were never synced and are damaged. Nothing was promised on them; the next start
    /// cuts them off.
    TornTail {
        /// The last segment.
        file: PathBuf,
        /// Where the damaged part begins, in bytes.
        offset: u64,
        /// How long it is.
        bytes: u64,
        /// What is wrong there.
        why: String,
    },
    /// Something that had been synced is not what was written, or is gone.
    Corrupt {
        /// The first damaged file.
        file: PathBuf,
        /// Where the damaged part begins, in bytes.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
}

impl Verdict {
    /// The exit status for a process that reports this: 0 sound, 1 torn tail, 2 corrupt.
    pub fn exit_status(&self) -> u8 {
        match self {
            Verdict::Sound => 0,
            Verdict::TornTail { .. } => 1,
            Verdict::Corrupt { .. } => 2,
        }
    }

    /// The verdict on damage.
    ///
    /// # Errors
    /// What is no damage.
    fn corrupt(error: InspectError, directory: &Path) -> Result<Verdict, InspectError> {
        let (file, offset, why) = match error {
            InspectError::Damaged { file, why } => (file, 0, why.to_string()),
            InspectError::Log(LogError::Corrupt { file, offset, why }) => (file, offset, why.to_owned()),
            InspectError::Log(ref error) if error.is_damage() => {
                let (file, offset) = error.place().unwrap_or_else(|| (directory.to_owned(), 0));
                (file, offset, error.to_string())
            }
            other => return Err(other),
        };
        Ok(Verdict::Corrupt { file, offset, why })
    }
}

pub(super) fn verify(
    stopped: &StoppedDirectory,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verification, InspectError> {
    let mut verified = Verified::default();
    let mut snapshots = (0, 0);
    let verdict = match judge(stopped, &mut verified, &mut snapshots, progress) {
        Ok(verdict) => verdict,
        Err(error) => Verdict::corrupt(error, &stopped.path)?,
    };
    let Verified { segments, bytes, batches, entries } = verified;
    let (snapshots, snapshot_bytes) = snapshots;
    Ok(Verification { verdict, segments, bytes, batches, entries, snapshots, snapshot_bytes })
}

fn judge(
    stopped: &StoppedDirectory,
    verified: &mut Verified,
    sound: &mut (u64, u64),
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict, InspectError> {
    let path = &stopped.path;
    directory::identity(&ReadOnlyFiles, path).map_err(InspectError::reading(&path.join(IDENTITY)))?;
    directory::genesis(&ReadOnlyFiles, path).map_err(InspectError::reading(&path.join(GENESIS)))?;
    let Some(log) = stopped.log()? else { return Ok(Verdict::Sound) };
    let bytes_total = log.segments.iter().map(|segment| segment.bytes).sum();
    log.verify(verified, &mut |verified| progress(Progress { bytes: verified.bytes, bytes_total }))?;
    *sound = snapshots::verify(stopped)?;
    let covered = (log.reader.first_index() - 1, log.state.hard_state.commit);
    if covered.0 > 0
        && !snapshots::views(stopped)?.0.iter().any(|view| (covered.0..=covered.1).contains(&view.index))
    {
        let why = "the log was cut, and no snapshot stands in for what was cut";
        return Err(LogError::corrupt(&path.join(directory::SNAPSHOTS), 0, why).into());
    }
    // Only now: the oldest damage is named first.
    let StoppedLog { torn, problem, .. } = log;
    match (problem, torn) {
        (Some(problem), _) => Err(problem.into()),
        (None, None) => Ok(Verdict::Sound),
        (None, Some(torn)) => Ok(Verdict::TornTail {
            file: torn.file,
            offset: torn.offset,
            bytes: torn.bytes,
            why: torn.why.to_owned(),
        }),
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Sound => write!(f, "sound: ")?,
            Verdict::TornTail { file, offset, bytes, why } => {
                let file = file.display();
                writeln!(f, "torn tail: {file}: {bytes} bytes at byte {offset} were never synced: {why}")?;
                write!(f, "the next start of the node cuts them off; before them: ")?;
            }
            Verdict::Corrupt { file, offset, why } => {
                writeln!(f, "corrupt: {} at byte {offset}: {why}", file.display())?;
                write!(f, "sound so far: ")?;
            }
        }
        let Verification { segments, bytes, batches, entries, snapshots, snapshot_bytes, .. } = self;
        write!(f, "{segments} segments, {bytes} bytes, {batches} batches, {entries} entries")?;
        match snapshots {
            0 => Ok(()),
            _ => write!(f, "; {snapshots} snapshots, {snapshot_bytes} bytes"),
        }
    }
}
