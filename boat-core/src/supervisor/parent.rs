//! A child's view of its supervisor.

use std::io::{self, Read};

use rustix::fs::{FileType, fstat};
use rustix::process::{Signal, getpid, kill_process};

/// Ends this process, at once, when its supervisor dies, however that dies. To be called in a
/// [`Supervisor`](super::Supervisor)'s child, before it starts or opens anything.
///
/// A thread reads standard input, which is a pipe whose other end the supervisor alone holds and never writes to; at its
/// end the process kills itself with SIGKILL, whatever its other threads do. From then on standard input is that thread's
/// own. On Linux the kernel is also asked to send SIGKILL, which ends even a process that is stopped. Nothing is flushed:
/// a node's data survives that. What this process starts in turn must watch it in the same way.
///
/// # Errors
/// If standard input is not a pipe (this process was not started by a supervisor), or the thread cannot be started.
pub fn watch_parent() -> io::Result<()> {
    let input = fstat(io::stdin())?;
    if FileType::from_raw_mode(input.st_mode) != FileType::Fifo {
        let reason = "standard input is not a supervisor's pipe: was this process started by hand?";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The supervisor may have died before that request; then the pipe is at its end already.
    #[expect(clippy::disallowed_methods, reason = "must see the end whatever the driver and the runtime do")]
    std::thread::Builder::new().name("watch-parent".into()).spawn(die_with_parent)?;
    Ok(())
}

fn die_with_parent() {
    let mut ignored = [0; 64];
    let mut input = io::stdin().lock();
    loop {
        match input.read(&mut ignored) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // Not `exit`: its handlers could wait for a lock that a busy thread holds.
    if kill_process(getpid(), Signal::KILL).is_err() {
        std::process::abort();
    }
}
