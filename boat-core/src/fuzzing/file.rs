//! A file that holds an input.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::files::{File, Files};

/// A file in memory, of no more than what was put into it.
#[derive(Debug, Default)]
pub(crate) struct Input(Mutex<Vec<u8>>);

impl Input {
    pub(crate) fn new(bytes: &[u8]) -> Input {
        Input(Mutex::new(bytes.to_vec()))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl File for Input {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.lock();
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
        Ok(count)
    }

    fn write_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.lock();
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = offset.checked_add(written.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let bytes_now = bytes.len();
        bytes.resize(end.max(bytes_now), 0);
        bytes.iter_mut().skip(offset).zip(written).for_each(|(to, byte)| *to = *byte);
        Ok(())
    }

    fn allocate(&self, _offset: u64, _count: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().len() as u64)
    }
}

/// A file system in which each file holds the input.
#[derive(Debug)]
pub(crate) struct Inputs(pub(crate) Vec<u8>);

impl Files for Inputs {
    fn create(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, _path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Input::new(&self.0)))
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, _directory: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_directory(&self, _directory: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn free_bytes(&self, _directory: &Path) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
