//! Temporary directories that do not outlive their program by more than one start.

use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::RngCore;
use rand::rngs::OsRng;

/// The file that makes a directory ours. It is locked as long as the directory is in use.
const MARKER: &str = "boat-temporary.lock";

/// What the marker holds, followed by the label and a line's end.
const MARKER_TEXT: &str = "boat temporary directory, format 1, label ";

/// The longest marker: the text, a label, a line's end.
const MARKER_BYTES_MAX: u64 = 128;

/// The longest label.
const LABEL_BYTES_MAX: usize = 64;

/// Hexadecimal digits of the random part of a name.
const RANDOM_DIGITS: usize = 16;

/// Names that are tried before giving up. A random name of 64 bits is taken only if somebody wants it to be.
const NAMES_MAX: usize = 8;

/// Why there is no temporary directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemporaryDirectoryError {
    /// The label would not make a readable file name.
    #[error("label {label:?}: 1 to {LABEL_BYTES_MAX} of a-z, 0-9, - and _ are allowed")]
    Label {
        /// The label.
        label: String,
    },
    /// The file system refuses.
    #[error("cannot make a temporary directory in {}: {source}", parent.display())]
    Create {
        /// Where.
        parent: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// A directory `boat-LABEL-RANDOM` that goes when this value goes. Only its owner may enter it.
///
/// A program that is killed leaves its directory behind; the next that makes one with the same label removes it. It knows
/// such a directory by the marker file in it, by its label and user, and by the marker's lock (`flock`), which the kernel
/// freed when its holder died. Nothing else is touched.
///
/// ```
/// use boat_core::supervisor::TemporaryDirectory;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let parent = tempfile::tempdir()?;
/// # let parent = parent.path();
/// let directory = TemporaryDirectory::create_in(parent, "three-node")?;
/// std::fs::create_dir(directory.path().join("node-0"))?;
/// assert!(directory.path().starts_with(parent));
///
/// directory.remove()?;
/// assert_eq!(std::fs::read_dir(parent)?.count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    /// The marker, locked; none once the directory is removed.
    lock: Option<File>,
}

impl TemporaryDirectory {
    /// Makes one in the system's temporary directory, and removes those of the same label that nobody uses.
    ///
    /// # Errors
    /// If the label is not 1 to 64 of `a-z`, `0-9`, `-` and `_`, or the directory cannot be made. What cannot be removed
    /// is only logged.
    pub fn create(label: &str) -> Result<Self, TemporaryDirectoryError> {
        Self::create_in(&std::env::temp_dir(), label)
    }

    /// As [`create`](Self::create), in `parent`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in(parent: &Path, label: &str) -> Result<Self, TemporaryDirectoryError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if label.is_empty() || label.len() > LABEL_BYTES_MAX || !label.bytes().all(allowed) {
            return Err(TemporaryDirectoryError::Label { label: label.to_owned() });
        }
        let failed = |source| TemporaryDirectoryError::Create { parent: parent.to_owned(), source };
        remove_abandoned(parent, label).map_err(failed)?;
        create_marked(parent, label).map_err(failed)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it. Dropping does the same, but can only log an error.
    ///
    /// # Errors
    /// If something in it cannot be removed; the marker is then left, so that the next start tries again.
    pub fn remove(mut self) -> io::Result<()> {
        self.remove_once()
    }

    fn remove_once(&mut self) -> io::Result<()> {
        // The lock is held until all is gone, and free afterwards whatever happened.
        let Some(_lock) = self.lock.take() else { return Ok(()) };
        remove_marked(&self.path)
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = self.remove_once() {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn create_marked(parent: &Path, label: &str) -> io::Result<TemporaryDirectory> {
    let path = create_directory(parent, label)?;
    // Locked before it has the name by which it counts: nobody may find it unlocked.
    let draft = path.join(format!("{MARKER}.new"));
    let mut marker = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    marker.try_lock()?;
    marker.write_all(marker_text(label).as_bytes())?;
    fs::rename(&draft, path.join(MARKER))?;
    Ok(TemporaryDirectory { path, lock: Some(marker) })
}

fn create_directory(parent: &Path, label: &str) -> io::Result<PathBuf> {
    for _ in 0..NAMES_MAX {
        let path = parent.join(format!("boat-{label}-{:0RANDOM_DIGITS$x}", OsRng.next_u64()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| path),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn marker_text(label: &str) -> String {
    format!("{MARKER_TEXT}{label}\n")
}

/// Removes what programs with this label left behind. Only reading `parent` may fail.
fn remove_abandoned(parent: &Path, label: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if !name.is_some_and(|name| is_name(name, label)) {
            continue;
        }
        match lock_abandoned(&path, label) {
            Ok(Some(_lock)) => match remove_marked(&path) {
                Ok(()) => log::info!("removed {}, left behind by a process that was killed", path.display()),
                Err(error) => log::warn!("cannot remove {}: {error}", path.display()),
            },
            Ok(None) => {}
            // Another process may be removing it at this moment.
            Err(error) => log::debug!("left {} alone: {error}", path.display()),
        }
    }
    Ok(())
}

fn is_name(name: &str, label: &str) -> bool {
    let random = name.strip_prefix("boat-").and_then(|rest| rest.strip_prefix(label)?.strip_prefix('-'));
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    random.is_some_and(|random| random.len() == RANDOM_DIGITS && random.bytes().all(digit))
}

/// The directory's locked marker, if it is ours by all that can be known and no process uses it. Links are not followed:
/// everybody may write into a temporary directory.
fn lock_abandoned(path: &Path, label: &str) -> io::Result<Option<File>> {
    let ours = |metadata: &Metadata| metadata.uid() == rustix::process::geteuid().as_raw();
    let directory = fs::symlink_metadata(path)?;
    let marker_path = path.join(MARKER);
    let marker = fs::symlink_metadata(&marker_path)?;
    let text = marker_text(label);
    let plausible = directory.is_dir() && marker.is_file() && marker.len() <= MARKER_BYTES_MAX;
    if !(plausible && ours(&directory) && ours(&marker)) || fs::read(&marker_path)? != text.as_bytes() {
        return Ok(None);
    }
    let lock = File::open(&marker_path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the marker last: if this ends half-way, the rest is still known as ours.
fn remove_marked(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_file(path.join(MARKER))?;
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn create(parent: &Path) -> TemporaryDirectory {
        TemporaryDirectory::create_in(parent, "test").expect("a directory")
    }

    /// What a process that is killed leaves: the kernel closes its files, which frees the lock.
    fn abandon(mut directory: TemporaryDirectory) -> PathBuf {
        fs::create_dir(directory.path().join("node-0")).expect("a directory");
        fs::write(directory.path().join("node-0/segment"), "entries").expect("a file");
        drop(directory.lock.take());
        directory.path().to_owned()
    }

    #[test]
    fn dropping_removes_everything() {
        let parent = parent();
        let directory = create(parent.path());
        assert_eq!(fs::metadata(directory.path()).expect("made").mode() & 0o777, 0o700);
        fs::create_dir_all(directory.path().join("node-0/log")).expect("a directory");
        fs::write(directory.path().join("file"), "text").expect("a file");
        drop(directory);
        assert_eq!(fs::read_dir(parent.path()).expect("readable").count(), 0);
    }

    #[test]
    fn the_next_one_removes_what_was_left_and_nothing_that_is_used() {
        let parent = parent();
        let used = create(parent.path());
        let left = abandon(create(parent.path()));
        assert!(left.exists());
        let next = create(parent.path());
        assert!(!left.exists());
        assert!(used.path().exists() && next.path().exists());
    }

    #[test]
    fn others_are_left_alone() {
        let parent = parent();
        let other_label = TemporaryDirectory::create_in(parent.path(), "test-2").expect("a directory");
        let other_label = abandon(other_label);
        let wrong_text = abandon(create(parent.path()));
        fs::write(wrong_text.join(MARKER), "something else").expect("a file");
        let unmarked = parent.path().join("boat-test-0123456789abcdef");
        fs::create_dir(&unmarked).expect("a directory");
        let target = abandon(create(parent.path()));
        let elsewhere = parent.path().join("elsewhere");
        fs::rename(&target, &elsewhere).expect("renamed");
        std::os::unix::fs::symlink(&elsewhere, &target).expect("linked");
        let renamed = abandon(create(parent.path()));
        let other_name = parent.path().join("boat-test-precious");
        fs::rename(&renamed, &other_name).expect("renamed");

        drop(create(parent.path()));
        for path in [other_label, wrong_text, unmarked, target, elsewhere, other_name] {
            assert!(path.exists(), "{} was removed", path.display());
        }
    }

    #[test]
    fn labels_are_checked() {
        let parent = parent();
        let long = "a".repeat(LABEL_BYTES_MAX + 1);
        for label in ["", "a/b", "..", "A", "a b", &long] {
            let error = TemporaryDirectory::create_in(parent.path(), label).expect_err("refused");
            assert!(matches!(error, TemporaryDirectoryError::Label { .. }), "{error}");
        }
        assert!(marker_text(&"a".repeat(LABEL_BYTES_MAX)).len() as u64 <= MARKER_BYTES_MAX);
    }
}
