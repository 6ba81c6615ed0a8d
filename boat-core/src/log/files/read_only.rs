//! The disk, for those who only look.

use std::fs;
use std::io;
use std::path::Path;

use super::real::RealFile;
use super::{File, Files, RealFiles};

/// The file system of this machine without the power to change it: files are opened for reading, so that the kernel refuses
/// writes, and everything else that would change something is refused here. Works on a disk that is mounted read-only.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOnlyFiles;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Files for ReadOnlyFiles {
    fn create(&self, _: &Path) -> io::Result<Box<dyn File>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(fs::File::open(path)?)))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealFiles.list(directory)
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        RealFiles.free_bytes(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        fs::write(&path, "kept").unwrap();
        let file = ReadOnlyFiles.open(&path).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 4);
        assert!(
            file.write_at(b"lost", 0).is_err() && file.set_len(0).is_err() && file.allocate(4, 1).is_err()
        );
        let other = directory.path().join("y");
        assert!(ReadOnlyFiles.create(&path).is_err() && ReadOnlyFiles.rename(&path, &other).is_err());
        assert!(ReadOnlyFiles.remove(&path).is_err() && ReadOnlyFiles.create_directory(&other).is_err());
        assert_eq!(ReadOnlyFiles.list(directory.path()).unwrap(), ["x"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }
}
