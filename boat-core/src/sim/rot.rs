//! Disks that lose what they held: a bit changes, or a file is as it was before.
//!
//! It strikes after a process was killed, not after a loss of power, and what was written has reached the disk by then: the
//! watermark, too, so that it vouches for everything that was synced. The log syncs it once a second only, so a bit of the
//! last batch that changes within this second, just before power is lost, shows to nobody: nothing promises more (seed 150938,
//! where the next process had not come as far as the watermark when power was lost). And it never strikes more than a
//! minority.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::faults::Fault;
use crate::log::files::{Files, SimFiles};

/// How many places in a file are tried: most of an allocated file is zeros, and a change there shows nothing.
const PLACES_MAX: usize = 20;

/// The bytes at a file's beginning that stay: they name format and version, and a version that is not known is for a person to
/// decide about.
const HEAD_BYTES: u64 = 12;

/// A file as it was some time ago.
#[derive(Debug)]
pub(super) struct OldFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// One of a log's files.
fn draw_file(context: &mut Context, disk: &SimFiles) -> Option<PathBuf> {
    let log = Path::new("data/log");
    let names = disk.list(log).unwrap_or_default();
    let place = context.up_to(names.len().checked_sub(1)? as u64) as usize;
    names.get(place).map(|name| log.join(name))
}

/// Remembers how one of a log's files is on the disk now.
pub(super) fn remember(context: &mut Context, disk: &SimFiles) -> Option<OldFile> {
    let path = draw_file(context, disk)?;
    let bytes = disk.synced(&path)?;
    Some(OldFile { path, bytes })
}

/// Damages one of a log's files, if there is anything in it. What was done.
pub(super) fn strike(context: &mut Context, disk: &SimFiles, old: Option<OldFile>) -> Option<String> {
    disk.write_back();
    if let Some(old) = old {
        let now = disk.contents(&old.path)?;
        if now == old.bytes {
            return None;
        }
        context.count(Fault::StaleFile);
        let what = format!("{} is as it was before", old.path.display());
        disk.set_contents(&old.path, old.bytes);
        return Some(what);
    }
    let path = draw_file(context, disk)?;
    let mut bytes = disk.contents(&path)?;
    for _ in 0..PLACES_MAX {
        let behind = (bytes.len() as u64).checked_sub(HEAD_BYTES + 1)?;
        let place = (HEAD_BYTES + context.up_to(behind)) as usize;
        if let Some(byte) = bytes.get_mut(place).filter(|byte| **byte != 0) {
            *byte ^= 1 << context.up_to(7);
            context.count(Fault::BitRot);
            disk.set_contents(&path, bytes);
            return Some(format!("byte {place} of {} changes", path.display()));
        }
    }
    None
}
