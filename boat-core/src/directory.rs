//! A node's data directory: whose it is, how often it was started, and which cluster it belongs to (design D13).
//!
//! ```text
//! lock      held by the process that uses the directory
//! identity  | magic "BOATIDEN" | version u32 = 1 | crc32c u32 of what follows | node u16 | birth u128 | boots u64 |
//! genesis   | magic "BOATGENE" | version u32 = 1 | crc32c u32 of what follows | own raft id u64 | genesis |
//! log/      see docs/log-format.md
//! snapshots/ see docs/log-format.md
//! quarantine  which requests are held, and what the log decided about such: see `quarantine::file`
//! stale     why this directory must not be used any more under its identity: text
//! aside-N/  what stood here before: a directory that went back in time or was damaged, kept for a person to look at
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::{Malformed, Reader};
use crate::log::files::{Files, read_file, write_file_atomically};
use crate::membership::{put_genesis, read_genesis};
use crate::quarantine::QuarantineFile;
use crate::{Birth, Error, Genesis, NodeId, RaftId};

/// The names of what is in a data directory.
pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: &str = "identity";
pub(crate) const GENESIS: &str = "genesis";
pub(crate) const LOG: &str = "log";
pub(crate) const SNAPSHOTS: &str = "snapshots";
pub(crate) const STALE: &str = "stale";
pub(crate) const QUARANTINE: &str = "quarantine";

const IDENTITY_MAGIC: &[u8; 8] = b"BOATIDEN";
const GENESIS_MAGIC: &[u8; 8] = b"BOATGENE";
const VERSION: u32 = 1;
/// How long the small files of a directory may be.
const FILE_BYTES_MAX: usize = 16 << 20;
/// How the name of a directory begins that holds an earlier incarnation's files.
const ASIDE: &str = "aside-";
/// How the mark of a removed incarnation begins.
const REMOVED: &str = "removed: ";
/// What belongs to one incarnation and goes aside with it.
const MOVED: [&str; 4] = [LOG, SNAPSHOTS, GENESIS, QUARANTINE];
/// How many directories are kept aside.
const ASIDE_MAX: u32 = 1_000;

/// An opened data directory.
#[derive(Debug)]
pub(crate) struct Directory {
    files: Arc<dyn Files>,
    path: PathBuf,
    node: NodeId,
    birth: Birth,
    boots: u64,
    genesis: Option<(Genesis, RaftId)>,
}

impl Directory {
    /// Opens the directory at `path` for `node`, making it with `birth` when there is none, and counts this start.
    ///
    /// # Errors
    /// [`Error::OtherNode`] when it belongs to another node, [`Error::Storage`] when it cannot be read or written.
    pub(crate) fn open(
        files: Arc<dyn Files>,
        path: &Path,
        node: NodeId,
        birth: Birth,
    ) -> Result<Self, Error> {
        files.create_directory(path).map_err(storage(path))?;
        let identity = identity(files.as_ref(), path).map_err(storage(&path.join(IDENTITY)))?;
        let (birth, boots) = match identity {
            None => (birth, 0),
            Some(Identity { node: found, .. }) if found != node => {
                return Err(Error::OtherNode { path: path.to_owned(), found, expected: node });
            }
            Some(Identity { birth, boots, .. }) => (birth, boots),
        };
        let genesis = genesis(files.as_ref(), path).map_err(storage(&path.join(GENESIS)))?;
        let names = files.list(path).map_err(storage(path))?;
        let has = |name: &str| names.iter().any(|there| there == name);
        // Of a directory that is being set aside or wiped anything may be gone already.
        if !has(STALE) && identity.is_none() && genesis.is_some() {
            return Err(storage(path)("it holds a genesis but no identity: files were taken out of it"));
        }
        if !has(STALE) && genesis.is_none() && has(LOG) {
            return Err(storage(path)("it holds a log but no genesis: files were taken out of it"));
        }
        let directory = Directory { files, path: path.to_owned(), node, birth, boots: boots + 1, genesis };
        directory.write_identity()?;
        Ok(directory)
    }

    /// Whether an earlier incarnation's files were set aside here: then there was a cluster, and the node must never found
    /// another by itself, whatever its list says.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) fn had_cluster(&self) -> Result<bool, Error> {
        let names = self.files.list(&self.path).map_err(storage(&self.path))?;
        Ok(names.iter().any(|name| name.starts_with(ASIDE)))
    }

    /// The birth of this directory.
    pub(crate) fn birth(&self) -> Birth {
        self.birth
    }

    /// How often it was started, this time included.
    pub(crate) fn boots(&self) -> u64 {
        self.boots
    }

    /// The genesis that was adopted, and this directory's own Raft id.
    pub(crate) fn genesis(&self) -> Option<&(Genesis, RaftId)> {
        self.genesis.as_ref()
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log lives.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Where the snapshots live.
    pub(crate) fn snapshots_path(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Where promises and decisions about requests that crash models are kept.
    pub(crate) fn quarantine_file(&self) -> QuarantineFile {
        QuarantineFile::new(self.files.clone(), self.path.join(QUARANTINE))
    }

    /// The file system it lies on.
    pub(crate) fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// Stores the genesis durably. From then on this directory is a member, or asks to become one.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) fn adopt(&mut self, genesis: Genesis, raft_id: RaftId) -> Result<(), Error> {
        let mut body = raft_id.0.to_le_bytes().to_vec();
        put_genesis(&mut body, &genesis);
        self.write_checked(GENESIS, GENESIS_MAGIC, &body)?;
        self.genesis = Some((genesis, raft_id));
        Ok(())
    }

    /// Why this directory must not be used any more under its identity, if that was found out.
    pub(crate) fn stale(&self) -> Result<Option<String>, Error> {
        stale(self.files.as_ref(), &self.path).map_err(storage(&self.path.join(STALE)))
    }

    /// Remembers durably that this directory must not be used any more under its identity.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) fn mark_stale(files: &dyn Files, path: &Path, why: &str) -> Result<(), Error> {
        let path = path.join(STALE);
        write_file_atomically(files, &path, why.as_bytes()).map_err(storage(&path))
    }

    /// Remembers durably that this directory's incarnation was removed from its cluster.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) fn mark_removed(files: &dyn Files, path: &Path, why: &str) -> Result<(), Error> {
        Self::mark_stale(files, path, &format!("{REMOVED}{why}"))
    }

    /// Whether what [`Directory::stale`] says is that the incarnation was removed.
    pub(crate) fn was_removed(why: &str) -> bool {
        why.starts_with(REMOVED)
    }

    /// Moves everything of this incarnation into a directory beside it, and begins a new one with this birth.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub(crate) fn set_aside(&mut self, birth: Birth) -> Result<PathBuf, Error> {
        let files = self.files.as_ref();
        let names = files.list(&self.path).map_err(storage(&self.path))?;
        let free = (0..ASIDE_MAX).map(|n| format!("{ASIDE}{n}")).find(|name| !names.contains(name));
        let too_many =
            || storage(&self.path)("too many directories were set aside: remove what is not needed");
        let aside = self.path.join(free.ok_or_else(too_many)?);
        // A crash half way must never leave something that looks like a sound directory: the mark comes first and goes
        // last, and the identity is replaced while it stands.
        if self.stale()?.is_none() {
            Self::mark_stale(files, &self.path, "it is being set aside")?;
        }
        files.create_directory(&aside).map_err(storage(&aside))?;
        let identity = self.path.join(IDENTITY);
        let former = read_file(files, &identity, FILE_BYTES_MAX).map_err(storage(&identity))?;
        write_file_atomically(files, &aside.join(IDENTITY), &former).map_err(storage(&aside))?;
        for name in MOVED.iter().filter(|name| names.iter().any(|there| there == *name)) {
            let from = self.path.join(name);
            files.rename(&from, &aside.join(name)).map_err(storage(&from))?;
        }
        files.sync_directory(&aside).map_err(storage(&aside))?;
        files.sync_directory(&self.path).map_err(storage(&self.path))?;
        (self.birth, self.boots, self.genesis) = (birth, 0, None);
        self.write_identity()?;
        files.rename(&self.path.join(STALE), &aside.join(STALE)).map_err(storage(&aside))?;
        files.sync_directory(&aside).map_err(storage(&aside))?;
        files.sync_directory(&self.path).map_err(storage(&self.path))?;
        *self = Directory::open(self.files.clone(), &self.path, self.node, birth)?;
        Ok(aside)
    }

    fn write_identity(&self) -> Result<(), Error> {
        let mut body = self.node.0.to_le_bytes().to_vec();
        body.extend_from_slice(&self.birth.0.to_le_bytes());
        body.extend_from_slice(&self.boots.to_le_bytes());
        self.write_checked(IDENTITY, IDENTITY_MAGIC, &body)
    }

    fn write_checked(&self, name: &str, magic: &[u8; 8], body: &[u8]) -> Result<(), Error> {
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        bytes.extend_from_slice(body);
        let path = self.path.join(name);
        write_file_atomically(self.files.as_ref(), &path, &bytes).map_err(storage(&path))
    }
}

/// Takes the directory for this process. The lock ends with the file, so also when the process is killed.
pub(crate) fn lock(path: &Path) -> Result<File, Error> {
    let storage = |error: io::Error| Error::Storage(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(path).map_err(storage)?;
    let lock = File::options().create(true).append(true).open(path.join(LOCK)).map_err(storage)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::DirectoryInUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(storage(error)),
    }
}

/// What the file `identity` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) birth: Birth,
    /// How often the directory was started.
    pub(crate) boots: u64,
}

/// Why a small file of a directory could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads whose directory this is, if that was ever written.
pub(crate) fn identity(files: &dyn Files, path: &Path) -> Result<Option<Identity>, ReadError> {
    let body = read_checked(files, &path.join(IDENTITY), IDENTITY_MAGIC)?;
    Ok(body.map(|body| read_identity(&body)).transpose()?)
}

/// Reads the genesis that was adopted and the directory's own Raft id, if there is one.
pub(crate) fn genesis(files: &dyn Files, path: &Path) -> Result<Option<(Genesis, RaftId)>, ReadError> {
    let body = read_checked(files, &path.join(GENESIS), GENESIS_MAGIC)?;
    Ok(body.map(|body| read_membership(&body)).transpose()?)
}

/// Reads why the directory must not be used any more, if that was found out.
pub(crate) fn stale(files: &dyn Files, path: &Path) -> io::Result<Option<String>> {
    let why = read_if_there(files, &path.join(STALE))?;
    Ok(why.map(|why| String::from_utf8_lossy(&why).into_owned()))
}

fn storage<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Error + '_ {
    move |error| Error::Storage(format!("{}: {error}", path.display()))
}

fn read_if_there(files: &dyn Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_file(files, path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn read_checked(files: &dyn Files, path: &Path, magic: &[u8; 8]) -> Result<Option<Vec<u8>>, ReadError> {
    let bytes = read_if_there(files, path)?;
    Ok(bytes.map(|bytes| check_head(&bytes, magic).map(<[u8]>::to_vec)).transpose()?)
}

fn check_head<'a>(bytes: &'a [u8], magic: &[u8; 8]) -> Result<&'a [u8], Malformed> {
    let mut reader = Reader::new(bytes, "file head");
    if reader.array::<8>()? != *magic {
        return Err(Malformed("file: another kind of file stands here"));
    }
    if reader.u32()? != VERSION {
        return Err(Malformed("file: its version is not known to this program"));
    }
    let crc = reader.u32()?;
    let body = reader.rest();
    if crc32c::crc32c(body) == crc { Ok(body) } else { Err(Malformed("file: its checksum is wrong")) }
}

fn read_identity(body: &[u8]) -> Result<Identity, Malformed> {
    let mut reader = Reader::new(body, "identity");
    let (node, birth) = (NodeId(reader.u16()?), Birth(reader.u128()?));
    let identity = Identity { node, birth, boots: reader.u64()? };
    reader.finish()?;
    Ok(identity)
}

fn read_membership(body: &[u8]) -> Result<(Genesis, RaftId), Malformed> {
    let mut reader = Reader::new(body, "genesis");
    let raft_id = RaftId(reader.u64()?);
    let genesis = read_genesis(&mut reader)?;
    reader.finish()?;
    Ok((genesis, raft_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::SessionLimits;
    use crate::log::files::RealFiles;
    use crate::{ClusterId, Member};

    fn open(path: &Path, node: u16, birth: u128) -> Result<Directory, Error> {
        Directory::open(Arc::new(RealFiles), path, NodeId(node), Birth(birth))
    }

    #[test]
    fn a_directory_keeps_its_birth_and_counts_its_starts() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("deep/boat-0");
        for start in 1..4 {
            let directory = open(&path, 0, 70 + start).unwrap();
            assert_eq!((directory.birth(), directory.boots()), (Birth(71), start as u64));
        }
        assert!(matches!(open(&path, 1, 9), Err(Error::OtherNode { found: NodeId(0), .. })));
    }

    #[test]
    fn a_genesis_is_there_after_a_restart() {
        let temporary = tempfile::tempdir().unwrap();
        let raft_id = RaftId::new(NodeId(0), 5);
        let members = vec![Member { raft_id, birth: Birth(1), address: "h:1".into() }];
        let genesis =
            Genesis { cluster: ClusterId(8), former: vec![], members, limits: SessionLimits::default() };
        let mut directory = open(temporary.path(), 0, 1).unwrap();
        assert_eq!(directory.genesis(), None);
        directory.adopt(genesis.clone(), raft_id).unwrap();
        assert_eq!(open(temporary.path(), 0, 2).unwrap().genesis(), Some(&(genesis, raft_id)));
    }

    #[test]
    fn a_stale_directory_goes_aside_whole_and_the_next_one_is_new() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let mut directory = open(path, 0, 1).unwrap();
        std::fs::create_dir(path.join("log")).unwrap();
        std::fs::write(path.join("log/segment"), "entries").unwrap();
        let raft_id = RaftId::new(NodeId(0), 5);
        let genesis = Genesis {
            cluster: ClusterId(8),
            former: vec![],
            members: vec![],
            limits: SessionLimits::default(),
        };
        directory.adopt(genesis, raft_id).unwrap();
        Directory::mark_stale(&RealFiles, path, "it went back").unwrap();
        assert_eq!(open(path, 0, 1).unwrap().stale().unwrap().as_deref(), Some("it went back"));
        let mut directory = open(path, 0, 1).unwrap();
        let aside = directory.set_aside(Birth(2)).unwrap();
        assert_eq!(std::fs::read_to_string(aside.join("log/segment")).unwrap(), "entries");
        assert!(aside.join("identity").exists() && aside.join("genesis").exists());
        assert_eq!((directory.birth(), directory.boots(), directory.genesis()), (Birth(2), 1, None));
        assert!(directory.had_cluster().unwrap());
        assert_eq!(open(path, 0, 3).unwrap().stale().unwrap(), None);
    }

    #[test]
    fn a_crash_while_it_is_set_aside_leaves_a_mark_or_a_new_directory() {
        use crate::log::files::{CallKind, Fault, SimFiles};
        let (path, raft_id) = (Path::new("boat"), RaftId::new(NodeId(0), 5));
        let kinds = [CallKind::Rename, CallKind::SyncDirectory, CallKind::Write, CallKind::SyncData];
        let cases = kinds.iter().flat_map(|kind| (0..12).map(move |nth| (*kind, nth)));
        for (seed, (kind, nth)) in cases.enumerate() {
            for fault in [Fault::StopBefore, Fault::StopAfter] {
                let files = SimFiles::new();
                let open = |birth| Directory::open(Arc::new(files.clone()), path, NodeId(0), Birth(birth));
                let mut directory = open(1).unwrap();
                let limits = SessionLimits::default();
                directory
                    .adopt(
                        Genesis { cluster: ClusterId(8), former: vec![], members: vec![], limits },
                        raft_id,
                    )
                    .unwrap();
                files.create_directory(&path.join("log")).unwrap();
                files.fail(kind, nth, fault);
                // May succeed, where there is no such call.
                let _ = directory.set_aside(Birth(2));
                files.crash(seed as u64);
                let after = open(3).unwrap();
                let is_new = after.birth() != Birth(1) && after.genesis().is_none();
                let is_marked = after.stale().unwrap().is_some();
                let is_untouched = after.genesis().is_some() && files.list(&path.join("log")).is_ok();
                assert!(is_new || is_marked || is_untouched, "{kind:?} {nth} {fault:?}: {after:?}");
            }
        }
    }

    #[test]
    fn any_flipped_bit_is_an_error_that_names_the_file() {
        let temporary = tempfile::tempdir().unwrap();
        open(temporary.path(), 0, 1).unwrap();
        let path = temporary.path().join("identity");
        let sound = std::fs::read(&path).unwrap();
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            let error = open(temporary.path(), 0, 1).unwrap_err().to_string();
            assert!(error.contains("identity"), "{error}");
        }
    }
}
