//! Reading a snapshot, with every checksum checked on the way.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    ABOUT, About, END, HEAD_BYTES, MAGIC, PREDICTOR, SECTION_BYTES_MAX, SECTION_HEAD_BYTES, SnapshotName,
    VERSION, section_checksum,
};
use crate::apply::{Applier, ApplierReader, SessionLimits};
use crate::codec::{Malformed, Reader};
use crate::log::LogError;
use crate::log::files::{File, Files};

/// Reads the sections of one snapshot, one after the other.
#[derive(Debug)]
pub(crate) struct SnapshotReader {
    file: Arc<dyn File>,
    path: PathBuf,
    file_bytes: u64,
    offset: u64,
    /// Of the section before.
    checksum: u32,
    about: About,
    /// A section that was read and not taken.
    next: Option<(u32, Vec<u8>)>,
    ended: bool,
}

impl SnapshotReader {
    /// Opens the snapshot at `path`, and reads what it is of.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Version`], [`LogError::Io`].
    pub(crate) fn open(files: &dyn Files, path: &Path) -> Result<SnapshotReader, LogError> {
        let file: Arc<dyn File> = files.open(path).map_err(LogError::io("open", path))?.into();
        let file_bytes = file.len().map_err(LogError::io("read", path))?;
        let mut head = [0; HEAD_BYTES as usize];
        file.read_at(&mut head, 0).map_err(LogError::io("read", path))?;
        let mut fields = Reader::new(&head, "snapshot head");
        let corrupt = |_: Malformed| LogError::corrupt(path, 0, "it ends within its head");
        let (magic, version) = (fields.array().map_err(corrupt)?, fields.u32().map_err(corrupt)?);
        let checksum = fields.u32().map_err(corrupt)?;
        if magic != MAGIC || file_bytes < HEAD_BYTES {
            return Err(LogError::corrupt(path, 0, "not a snapshot: the magic number is missing"));
        }
        if crc32c::crc32c(head.get(..12).unwrap_or_default()) != checksum {
            return Err(LogError::corrupt(path, 0, "the snapshot head's checksum does not match"));
        }
        if version != VERSION {
            return Err(LogError::Version { file: path.to_owned(), found: version, known: VERSION });
        }
        let (tag, payload, checksum, offset) = section(&*file, path, HEAD_BYTES, file_bytes, checksum)?;
        let about = About::decode(&payload).map_err(|why| LogError::corrupt(path, HEAD_BYTES, why.0))?;
        if tag != ABOUT {
            return Err(LogError::corrupt(path, HEAD_BYTES, "it does not begin with what it is of"));
        }
        let path = path.to_owned();
        Ok(SnapshotReader { file, path, file_bytes, offset, checksum, about, next: None, ended: false })
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// How long the file is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The next section; `None` at the end.
    fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, LogError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        if self.ended {
            return Ok(None);
        }
        let (begins, corrupt) = (self.offset, |at, why| Err(LogError::corrupt(&self.path, at, why)));
        let (tag, payload, checksum, offset) =
            section(&*self.file, &self.path, begins, self.file_bytes, self.checksum)?;
        (self.checksum, self.offset) = (checksum, offset);
        if tag != END {
            return Ok(Some((tag, payload)));
        }
        let says: Result<[u8; 8], _> = payload.try_into();
        if says.map(u64::from_le_bytes) != Ok(offset) {
            return corrupt(begins, "it ends at another place than it says");
        }
        if offset != self.file_bytes {
            return corrupt(offset, "something stands behind its end");
        }
        self.ended = true;
        Ok(None)
    }

    fn corrupt(&self, why: Malformed) -> LogError {
        LogError::corrupt(&self.path, self.offset, why.0)
    }

    /// The applier's state, once; what comes then is the predictor's.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub(crate) fn applier(&mut self, limits: SessionLimits) -> Result<Applier, LogError> {
        let mut applier = ApplierReader::new(limits);
        while let Some((tag, payload)) = self.next()? {
            match applier.section(tag, &payload) {
                Ok(true) => {}
                Ok(false) if tag == PREDICTOR => {
                    self.next = Some((tag, payload));
                    break;
                }
                Ok(false) => return Err(self.corrupt(Malformed("it has a section of an unknown tag"))),
                Err(why) => return Err(self.corrupt(why)),
            }
        }
        let applier = applier.finish().map_err(|why| self.corrupt(why))?;
        let About { index, term, position, digest, .. } = &self.about;
        let same = (applier.index(), applier.term(), applier.position()) == (*index, *term, *position);
        if !same || applier.digest() != *digest {
            return Err(self.corrupt(Malformed("the applier's state is not what it says that it is of")));
        }
        Ok(applier)
    }

    /// The predictor's state, as far as it was not read yet.
    pub(crate) fn predictor(&mut self) -> PredictorState<'_> {
        PredictorState { reader: self, section: Vec::new(), at: 0, ended: false, failed: None }
    }

    /// The applier's state and, in memory, the predictor's.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    #[cfg(any(test, feature = "sim", feature = "fuzzing"))]
    pub(crate) fn states(&mut self, limits: SessionLimits) -> Result<(Applier, Vec<u8>), LogError> {
        let applier = self.applier(limits)?;
        let (mut predictor, mut bytes) = (self.predictor(), Vec::new());
        // What is wrong is told by `finish`.
        let _ = predictor.read_to_end(&mut bytes);
        predictor.finish()?;
        Ok((applier, bytes))
    }

    /// Reads all that is left: which snapshot it is.
    ///
    /// # Errors
    /// [`LogError::Corrupt`], [`LogError::Io`].
    pub(crate) fn verify(&mut self) -> Result<SnapshotName, LogError> {
        while self.next()?.is_some() {}
        let About { index, term, .. } = self.about;
        Ok(SnapshotName { index, term, bytes: self.file_bytes, checksum: self.checksum })
    }
}

/// Reads the section at `at` of a file: its tag, its payload, its checksum, and where it ends.
fn section(
    file: &dyn File,
    path: &Path,
    at: u64,
    file_bytes: u64,
    previous: u32,
) -> Result<(u32, Vec<u8>, u32, u64), LogError> {
    let corrupt = |why| LogError::corrupt(path, at, why);
    let short = |_: Malformed| corrupt("it ends within a section");
    let mut head = [0; SECTION_HEAD_BYTES];
    let count = file.read_at(&mut head, at).map_err(LogError::io("read", path))?;
    let mut fields = Reader::new(head.get(..count).unwrap_or_default(), "section");
    let checksum = fields.u32().map_err(short)?;
    let (tag, bytes) = (fields.u32().map_err(short)?, fields.u32().map_err(short)?);
    let begins = at + SECTION_HEAD_BYTES as u64;
    let ends = begins + u64::from(bytes);
    if bytes > SECTION_BYTES_MAX || ends > file_bytes {
        return Err(corrupt("a section has an impossible length"));
    }
    let mut payload = vec![0; bytes as usize];
    let count = file.read_at(&mut payload, begins).map_err(LogError::io("read", path))?;
    if count < payload.len() || section_checksum(previous, tag, &payload) != checksum {
        return Err(corrupt("a section's checksum does not match"));
    }
    Ok((tag, payload, checksum, ends))
}

/// The predictor's state as a stream, checked on the way.
#[derive(Debug)]
pub(crate) struct PredictorState<'a> {
    reader: &'a mut SnapshotReader,
    section: Vec<u8>,
    at: usize,
    ended: bool,
    failed: Option<LogError>,
}

impl PredictorState<'_> {
    /// Reads what the predictor left: all of it must be sound.
    ///
    /// # Errors
    /// What was wrong, here or while the predictor read.
    pub(crate) fn finish(mut self) -> Result<(), LogError> {
        while !self.ended && self.failed.is_none() {
            // The reason is kept, and given below.
            let _ = self.fill();
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn fill(&mut self) -> io::Result<()> {
        match self.reader.next() {
            Ok(Some((PREDICTOR, payload))) => (self.section, self.at) = (payload, 0),
            Ok(None) => self.ended = true,
            Ok(Some(_)) => {
                return self.fail(self.reader.corrupt(Malformed("a section stands where none may be")));
            }
            Err(error) => return self.fail(error),
        }
        Ok(())
    }

    fn fail(&mut self, error: LogError) -> io::Result<()> {
        let said = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        self.failed = Some(error);
        Err(said)
    }
}

impl Read for PredictorState<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.section.len() && !self.ended {
            if self.failed.is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.fill()?;
        }
        let rest = self.section.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(rest) {
            *to = *byte;
        }
        self.at += count;
        Ok(count)
    }
}
