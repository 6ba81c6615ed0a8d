//! The file `quarantine` of a data directory: what a node has promised, and what the log has decided, durably.
//!
//! ```text
//! | magic "BOATQUAR" | version u32 = 1 | crc32c u32 of what follows | decisions | holds |
//! ```
//! It is written anew, synced and renamed before a promise is told, and before a decision's entry is said to be committed.
//! So every decision up to the commit that the log opens with stands in it, and a replay knows them all before it begins.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Quarantine;
use crate::codec::{Malformed, Reader};
use crate::log::files::{Files, read_file, write_file_atomically};

const MAGIC: &[u8; 8] = b"BOATQUAR";
const VERSION: u32 = 1;
/// How long the file may be.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Where a node's [`Quarantine`] is kept.
#[derive(Debug)]
pub(crate) struct QuarantineFile {
    files: Arc<dyn Files>,
    path: PathBuf,
}

impl QuarantineFile {
    pub(crate) fn new(files: Arc<dyn Files>, path: PathBuf) -> Self {
        QuarantineFile { files, path }
    }

    /// Reads what was kept; nothing was promised or decided where there is no file.
    ///
    /// # Errors
    /// What the file system says; [`io::ErrorKind::InvalidData`] when the file is damaged.
    pub(crate) fn read(&self) -> io::Result<Quarantine> {
        let bytes = match read_file(self.files.as_ref(), &self.path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Quarantine::new()),
            read => read?,
        };
        let kept = check(&bytes).and_then(Quarantine::decode);
        kept.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, self.error(&why)))
    }

    /// Keeps the quarantine durably.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn write(&self, quarantine: &Quarantine) -> io::Result<()> {
        let body = quarantine.encode();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let written = write_file_atomically(self.files.as_ref(), &self.path, &bytes);
        written.map_err(|error| io::Error::new(error.kind(), self.error(&error)))
    }

    fn error(&self, why: &dyn std::fmt::Display) -> String {
        format!("{}: {why}", self.path.display())
    }
}

fn check(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes, "file head");
    if reader.array::<8>()? != *MAGIC {
        return Err(Malformed("file: another kind of file stands here"));
    }
    if reader.u32()? != VERSION {
        return Err(Malformed("file: its version is not known to this program"));
    }
    let crc = reader.u32()?;
    let body = reader.rest();
    if crc32c::crc32c(body) == crc { Ok(body) } else { Err(Malformed("file: its checksum is wrong")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::files::SimFiles;

    #[test]
    fn a_promise_survives_and_any_flipped_bit_is_an_error() {
        let files = SimFiles::new();
        files.create_directory(Path::new("d")).unwrap();
        let file = QuarantineFile::new(Arc::new(files.clone()), "d/quarantine".into());
        let mut quarantine = file.read().unwrap();
        assert_eq!(quarantine.holds(), []);
        quarantine.doubt_up_to(0);
        quarantine.reached(0);
        assert!(quarantine.hold(7, 0));
        file.write(&quarantine).unwrap();
        files.crash(1);
        assert_eq!(file.read().unwrap().holds(), quarantine.holds());
        let path = Path::new("d/quarantine");
        let sound = read_file(&files, path, FILE_BYTES_MAX).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            write_file_atomically(&files, path, &bytes).unwrap();
            let error = file.read().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains("quarantine"), "{error}");
        }
    }
}
