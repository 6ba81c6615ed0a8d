//! What to run, and one life of it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// Why a hook failed; only its text is used.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

type Hook = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), HookError>> + Send>> + Send + Sync>;

/// One child: what to run, with what arguments and environment. It inherits the supervisor's environment, directory,
/// standard output and standard error; its standard input is the pipe that [`watch_parent`](super::watch_parent) reads.
///
/// ```
/// use boat_core::supervisor::ChildSpec;
///
/// let child = ChildSpec::new("node 2").args(["--node", "2"]).env("RUST_LOG", "info");
/// assert_eq!(child.name(), "node 2");
/// ```
pub struct ChildSpec {
    name: String,
    program: Option<PathBuf>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    before_restart: Option<Hook>,
}

impl ChildSpec {
    /// A child that runs this very program, without arguments. The name is for people: logs, events and errors.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), program: None, args: Vec::new(), env: Vec::new(), before_restart: None }
    }

    /// Runs another program.
    #[must_use]
    pub fn program(mut self, program: impl AsRef<Path>) -> Self {
        self.program = Some(program.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable in the child's environment.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs `hook` each time before this child is started *again*: to remove what its former life left behind. If it
    /// fails or takes longer than [`before_restart_timeout`](super::SupervisorOptions::before_restart_timeout), it is
    /// run again after the next delay, and the child is not started before it has succeeded. A stop drops its future.
    #[must_use]
    pub fn before_restart<F, R>(mut self, hook: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.before_restart = Some(Box::new(move || Box::pin(hook())));
        self
    }

    /// The child's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the hook, if there is one, for at most `timeout`.
    pub(super) async fn prepare_restart(&self, timeout: Duration) -> Result<(), HookError> {
        let Some(hook) = &self.before_restart else { return Ok(()) };
        tokio::time::timeout(timeout, hook())
            .await
            .unwrap_or_else(|_| Err(format!("cleaning up took longer than {timeout:?}").into()))
    }

    /// Starts a process in a process group of its own.
    pub(super) fn start(&self) -> io::Result<Life> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        let mut child = Command::new(program)
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid =
            child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or(io::ErrorKind::NotFound)?;
        let lifeline = child.stdin.take();
        Ok(Life { child, pid, started: Instant::now(), _lifeline: lifeline })
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env)
            .finish_non_exhaustive()
    }
}

/// One process of a child.
#[derive(Debug)]
pub(super) struct Life {
    child: Child,
    pid: Pid,
    started: Instant,
    /// The write end of the child's standard input. Nobody writes to it: its closing tells the child that we are gone.
    _lifeline: Option<ChildStdin>,
}

impl Life {
    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().cast_unsigned()
    }

    /// How long it has been running.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for its end, then kills what it leaves in its process group: an orphan would hold ports and directories
    /// that the next life needs. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        // While the group has members its number is not given to another process, so this hits ours or nobody.
        self.kill_group();
        status
    }

    /// Asks it to end. One that is stopped is continued, so that it can.
    pub(super) fn terminate(&self) {
        // Until `wait` has returned the status the number is ours, be the process a zombie.
        if self.child.id().is_some() {
            self.log_failure("SIGTERM", kill_process(self.pid, Signal::TERM));
            self.log_failure("SIGCONT", kill_process(self.pid, Signal::CONT));
        }
    }

    /// Kills it and all that it has started.
    pub(super) fn kill_group(&self) {
        match kill_process_group(self.pid, Signal::KILL) {
            Err(rustix::io::Errno::SRCH) => {}
            result => self.log_failure("SIGKILL", result),
        }
    }

    fn log_failure(&self, signal: &str, result: rustix::io::Result<()>) {
        if let Err(error) = result {
            log::warn!("cannot send {signal} to process {}: {error}", self.pid);
        }
    }
}
