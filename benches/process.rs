//! Processes that a bench starts: itself once more in another role, or a peer's program. All of them end with the bench.

use std::ffi::OsString;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// How long a process may take to end after it was told to, or to do what is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long to rest before looking again for what nobody tells of.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts this program once more, with these arguments. It must call `watch_parent`: its standard input is a pipe that
    /// ends with this process.
    ///
    /// # Errors
    /// What the system says.
    pub fn start_self(arguments: &[OsString]) -> Result<Process> {
        Process::start(Command::new(std::env::current_exe()?).args(arguments).stdin(Stdio::piped()))
    }

    /// Starts any program. What it prints is lost, unless `command` says otherwise.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(command: &mut Command) -> Result<Process> {
        Ok(Process(command.spawn()?))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended and was waited for.
    pub fn send(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.0.id().cast_signed()).ok_or("a process id is positive")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When it has not within a minute.
    pub fn wait(&mut self) -> Result<()> {
        wait_for("a process ends", || Ok(self.0.try_wait()?.map(drop)))
    }

    /// The time that all its threads had a core, so far.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// How much memory it has resident, in bytes; 0 where the kernel does not say.
    pub fn resident_bytes(&self) -> u64 {
        crate::machine::resident_bytes_of(&self.0.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until there is something to be found.
///
/// # Errors
/// What `look` says, or that it was not there within a minute.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let asked = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if asked.elapsed() > WAIT_MAX {
            return Err(format!("not within {WAIT_MAX:?}: {what}").into());
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}
