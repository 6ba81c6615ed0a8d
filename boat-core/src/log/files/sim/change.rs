//! Changes that were made but not synced, and what a crash makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// What a disk may lose less than: writes are torn at multiples of this.
const SECTOR_BYTES: usize = 512;

#[derive(Debug)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Put(PathBuf, u64),
    Move(PathBuf, PathBuf, u64),
    Gone(PathBuf),
}

impl Change {
    pub(super) fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => put(image, *offset, bytes),
            Change::SetLen(count) => image.resize(*count, 0),
        }
    }

    /// Applies a random part, or all, or nothing.
    pub(super) fn apply_torn(&self, image: &mut Vec<u8>, random: &mut ChaCha8Rng) {
        let whole = random.gen_bool(0.4);
        match self {
            _ if whole => self.apply(image),
            Change::Write { offset, bytes } if random.gen_bool(0.7) => {
                if random.gen_bool(0.3) {
                    let kept = random.gen_range(0..=bytes.len());
                    put(image, *offset, bytes.get(..kept).unwrap_or(bytes));
                } else {
                    put_sectors(image, *offset, bytes, random);
                }
            }
            _ => {}
        }
    }
}

/// Writes a random choice of the disk sectors that `bytes` covers.
pub(super) fn put_sectors(image: &mut Vec<u8>, offset: usize, bytes: &[u8], random: &mut ChaCha8Rng) {
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES);
        if random.gen_bool(0.5) {
            put(image, offset + at, bytes.get(at..end).unwrap_or_default());
        }
        at = end;
    }
}

pub(super) fn put(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if image.len() < offset + bytes.len() {
        image.resize(offset + bytes.len(), 0);
    }
    if let Some(place) = image.get_mut(offset..offset + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl NameChange {
    pub(super) fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Put(path, content) => {
                names.insert(path, content);
            }
            NameChange::Move(from, to, content) => {
                names.remove(&from);
                names.insert(to, content);
            }
            NameChange::Gone(path) => {
                names.remove(&path);
            }
        }
    }

    /// What is under the new name.
    pub(super) fn content(&self) -> Option<u64> {
        match self {
            NameChange::Put(_, content) | NameChange::Move(_, _, content) => Some(*content),
            NameChange::Gone(_) => None,
        }
    }

    pub(super) fn in_directory(&self, directory: &Path) -> bool {
        match self {
            NameChange::Put(path, _) | NameChange::Gone(path) => path.parent() == Some(directory),
            NameChange::Move(from, to, _) => {
                from.parent() == Some(directory) || to.parent() == Some(directory)
            }
        }
    }
}
