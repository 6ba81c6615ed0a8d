//! The disk.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{File, Files};

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

#[derive(Debug)]
pub(super) struct RealFile(pub(super) fs::File);

/// How many zeros one system call writes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Files for RealFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        // A name that is not Unicode is not one of Boat's.
        let names = fs::read_dir(directory)?
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose());
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        if directory.as_os_str().is_empty() || directory.is_dir() {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(Path::new(""));
        self.create_directory(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
            Err(error) => Err(error),
            Ok(()) => self.sync_directory(parent),
        }
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        fs::File::open(directory)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let free = rustix::fs::statvfs(directory)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}

impl File for RealFile {
    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
        let wanted = buffer.len();
        while !buffer.is_empty() {
            match self.0.read_at(buffer, offset) {
                Ok(0) => break,
                Ok(count) => {
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(wanted - buffer.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, mut offset: u64, count: u64) -> io::Result<()> {
        let end = offset.saturating_add(count);
        while offset < end {
            let step = ZEROS.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            self.0.write_all_at(ZEROS.get(..step).unwrap_or(&ZEROS), offset)?;
            offset += step as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read_file, write_file_atomically};
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_leaves_no_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("a/b");
        RealFiles.create_directory(&deep).unwrap();
        RealFiles.create_directory(&deep).unwrap();
        let path = deep.join("x");
        for bytes in [&b"first"[..], b"2"] {
            write_file_atomically(&RealFiles, &path, bytes).unwrap();
            assert_eq!(read_file(&RealFiles, &path, 5).unwrap(), bytes);
        }
        assert_eq!(RealFiles.list(&deep).unwrap(), ["x"]);
        assert_eq!(read_file(&RealFiles, &path, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(RealFiles.free_bytes(&deep).unwrap() > 0);
    }

    #[test]
    fn reading_stops_at_the_end_and_allocated_bytes_are_zero() {
        let directory = tempfile::tempdir().unwrap();
        let file = RealFiles.create(&directory.path().join("x")).unwrap();
        assert!(file.is_empty().unwrap());
        file.allocate(0, 100_000).unwrap();
        file.write_at(b"end", 99_998).unwrap();
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(&mut buffer, 99_996).unwrap(), 5);
        assert_eq!(buffer, [0, 0, b'e', b'n', b'd', 9, 9, 9]);
        file.set_len(2).unwrap();
        file.sync_data().unwrap();
        assert_eq!(file.len().unwrap(), 2);
    }
}
