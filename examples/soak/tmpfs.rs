//! A small disk in memory, where this process may mount one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// In the environment once this process has mounts of its own: the kernel removes them with the last process that sees them,
/// however that ends.
const OWN_MOUNTS: &str = "SOAK_OWN_MOUNTS";

/// Begins this program anew with mounts of its own, if that is allowed and has not been done.
pub(crate) fn with_own_mounts() {
    if std::env::var_os(OWN_MOUNTS).is_some() || !succeeds(Command::new("unshare").args(["--mount", "true"]))
    {
        return;
    }
    let Ok(own) = std::env::current_exe() else { return };
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(own).args(std::env::args_os().skip(1));
    let error = again.env(OWN_MOUNTS, "1").exec();
    log::warn!("no mounts of its own: {error}");
}

/// Mounts a disk of so many bytes. False where that is not allowed.
pub(crate) fn mount(path: &Path, bytes: u64) -> bool {
    let size = format!("size={bytes}");
    std::env::var_os(OWN_MOUNTS).is_some()
        && succeeds(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "boat-soak"]).arg(path))
}

/// Unmounts a disk; what it held stays, where it was, on the disk below.
pub(crate) fn unmount_keeping(path: &Path) {
    let kept = path.with_extension("kept");
    let copied = succeeds(Command::new("cp").arg("-a").arg(path).arg(&kept));
    if succeeds(Command::new("umount").arg(path)) && copied {
        // The empty directory below the mount gives way.
        let moved = std::fs::remove_dir_all(path).and_then(|()| std::fs::rename(&kept, path));
        if let Err(error) = moved {
            log::warn!("what was on {} stays in {}: {error}", path.display(), kept.display());
        }
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}
