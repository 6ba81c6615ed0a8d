//! What happens to a node's disk, other than that its process writes to it.

use std::path::Path;

use super::check::Violation;
use super::context::{Checked, Context};
use super::death::Death;
use super::node::Node;
use super::{rot, writer};
use crate::directory::Directory;
use crate::log::files::SimFiles;

impl Node {
    /// Whether no space is left on the disk.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// So many more bytes fit on the disk, and no more.
    pub(super) fn fill(&mut self, left_bytes: u64) {
        self.full = true;
        self.disk.set_bytes_max(Some(self.disk.bytes() + left_bytes));
    }

    /// There is space on the disk again.
    pub(super) fn make_space(&mut self) {
        self.full = false;
        self.disk.set_bytes_max(None);
    }

    /// Keeps one of the log's files as it is now: the disk may bring it back later.
    pub(super) fn remember_file(&mut self, context: &mut Context) {
        self.old_file = rot::remember(context, &self.disk).or(self.old_file.take());
    }

    /// The disk of a process that is down loses something.
    pub(super) fn rot(&mut self, context: &mut Context) {
        let old = if context.chance(500) { self.old_file.take() } else { None };
        if let Some(what) = rot::strike(context, &self.disk, old) {
            self.rotten = true;
            let id = self.id;
            context.note(u64::from(id.0), || format!("node {id}: {what}"));
        }
    }

    /// A backup takes the disk's place.
    pub(super) fn put_back(&mut self, backup: SimFiles) {
        self.disk = backup;
        (self.rotten, self.is_restored, self.old_file) = (true, true, None);
    }

    /// The operator knows that the directory is an old one, and says so.
    pub(super) fn mark_by_hand(&mut self) {
        if self.full {
            self.make_space();
        }
        // Where that fails, the disk is as it was, and so is what is known about it.
        self.is_restored = Directory::mark_stale(&self.disk, Path::new("data"), "it is a backup").is_err();
    }

    /// The directory lost what it had acknowledged: that is written into it. How the process ends.
    pub(super) fn mark_stale(&mut self, context: &mut Context, why: &str) -> Checked<Death> {
        let id = self.id;
        context.note(u64::from(id.0), || format!("node {id} finds its directory unusable: {why}"));
        if !self.rotten {
            let what = format!("node {id}: {why}");
            return Err(Violation { invariant: "S9 memory", what });
        }
        let armed = self.running().map_or(self.armed, |running| running.writer.armed);
        match Directory::mark_stale(&self.disk, Path::new("data"), why) {
            Ok(()) => {
                self.is_restored = false;
                Ok(Death::Kill)
            }
            Err(_) if self.full => Ok(Death::Kill),
            Err(error) => writer::judge(context, armed, &error).map(Death::of),
        }
    }

    /// Whether a disk fault is still to come.
    pub(super) fn is_armed(&self) -> bool {
        let armed = self.running().map_or(self.armed, |running| running.writer.armed);
        armed.is_some()
    }
}
