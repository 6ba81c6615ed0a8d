//! What can be made to fail, and how.

#[cfg(doc)]
use super::super::{File, Files};
#[cfg(doc)]
use super::SimFiles;

/// The kinds of calls that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// [`Files::create`].
    Create,
    /// [`Files::open`].
    Open,
    /// [`Files::rename`].
    Rename,
    /// [`Files::remove`].
    Remove,
    /// [`Files::list`].
    List,
    /// [`Files::create_directory`].
    CreateDirectory,
    /// [`Files::sync_directory`].
    SyncDirectory,
    /// [`Files::free_bytes`].
    FreeBytes,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::allocate`].
    Allocate,
    /// [`File::sync_data`].
    SyncData,
    /// [`File::set_len`].
    SetLen,
    /// [`File::len`].
    Len,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [CallKind; 14] = [
        CallKind::Create,
        CallKind::Open,
        CallKind::Rename,
        CallKind::Remove,
        CallKind::List,
        CallKind::CreateDirectory,
        CallKind::SyncDirectory,
        CallKind::FreeBytes,
        CallKind::Read,
        CallKind::Write,
        CallKind::Allocate,
        CallKind::SyncData,
        CallKind::SetLen,
        CallKind::Len,
    ];
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An input/output error; the call has no effect.
    Error,
    /// An error after half of the bytes were written. For calls that write nothing, the same as [`Fault::Error`].
    Short,
    /// No space is left; half of the bytes were written.
    Full,
    /// The machine stops before the call: it and every later call fails until [`SimFiles::crash`].
    StopBefore,
    /// The machine stops after the call.
    StopAfter,
}
