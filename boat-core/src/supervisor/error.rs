//! Why a supervisor ends.

use std::io;
use std::time::Duration;

use super::USAGE_STATUS;

/// Why a [`Supervisor`](super::Supervisor) ended, or could not start. Every other child has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The signals cannot be listened for.
    #[error("cannot listen for ctrl-C and SIGTERM: {0}")]
    Signals(#[source] io::Error),
    /// A child could not be started the first time.
    #[error("cannot start {name}: {reason}")]
    Start {
        /// Which child.
        name: String,
        /// What the operating system says.
        reason: String,
    },
    /// A child ended with [`USAGE_STATUS`]; it has said why on its standard error.
    #[error("{name} ended with status {USAGE_STATUS}: its flags or its configuration are wrong")]
    Usage {
        /// Which child.
        name: String,
    },
    /// A child's end cannot be waited for: this process ignores SIGCHLD, or something else in it waits for children.
    #[error("cannot wait for {name}: {source}")]
    Wait {
        /// Which child.
        name: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// A child is still there after SIGKILL: it hangs in the kernel.
    #[error("{name} (process {pid}) is still there {waited:?} after SIGKILL")]
    Unkillable {
        /// Which child.
        name: String,
        /// Its process.
        pid: u32,
        /// How long was waited.
        waited: Duration,
    },
}

impl SupervisorError {
    /// The exit status for a process that ends because of this error: 64 usage, 70 else (after BSD's `sysexits.h`).
    pub fn exit_status(&self) -> u8 {
        match self {
            SupervisorError::Usage { .. } => USAGE_STATUS,
            SupervisorError::Signals(_)
            | SupervisorError::Start { .. }
            | SupervisorError::Wait { .. }
            | SupervisorError::Unkillable { .. } => 70,
        }
    }
}
