//! One node as a process that can be killed, stopped, wiped and started again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Failure, NODE};

/// How long a node may take to end when it is told to.
const END_MAX: Duration = Duration::from_secs(20);
/// How long a node that ended by itself stays down.
const REST: Duration = Duration::from_millis(300);
/// How often is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A node: its process, if one runs, and what it is started with.
#[derive(Debug)]
pub(crate) struct Node {
    number: u16,
    flags: Vec<String>,
    data: PathBuf,
    output: PathBuf,
    process: Option<Child>,
    /// When it ended by itself the last time.
    ended: Option<Instant>,
}

impl Node {
    pub(crate) fn new(number: u16, flags: Vec<String>, data: PathBuf, output: PathBuf) -> Self {
        Node { number, flags, data, output, process: None, ended: None }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Starts the process, unless one runs. What it prints is added to the node's file.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        if self.is_running()? || self.ended.is_some_and(|ended| ended.elapsed() < REST) {
            return Ok(());
        }
        let output = std::fs::File::options().create(true).append(true).open(&self.output)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([NODE, "--supervised"]).args(&self.flags);
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        self.process = Some(command.spawn()?);
        Ok(())
    }

    /// Whether a process runs. One that ended by itself ended in a way that it may: it found its disk full or its directory
    /// stale, and is started again as a supervisor would.
    pub(crate) fn is_running(&mut self) -> Result<bool, Failure> {
        let Some(process) = &mut self.process else { return Ok(false) };
        let Some(status) = process.try_wait()? else { return Ok(true) };
        self.process = None;
        self.ended = Some(Instant::now());
        log::info!("node {} ended: {status}", self.number);
        Ok(false)
    }

    /// Kills the process with signal 9, and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        if self.is_running()?
            && let Some(process) = &self.process
            && let Some(pid) = Pid::from_raw(process.id().cast_signed())
        {
            kill_process(pid, signal)?;
        }
        Ok(())
    }

    /// Kills the process, and deletes everything that it had stored.
    pub(crate) fn wipe(&mut self) -> Result<(), Failure> {
        self.kill()?;
        for entry in std::fs::read_dir(&self.data)? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(())
    }

    /// Tells the process to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while self.is_running()? {
            if asked.elapsed() > END_MAX {
                return Err(format!("node {} does not end within {END_MAX:?}", self.number).into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// The addresses of a node, from 127/8: nobody else uses them, so they stay free while the process is down.
    pub(crate) fn address(number: u16, port: u16) -> SocketAddr {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let last = u8::try_from(number + 1).unwrap_or(u8::MAX);
        SocketAddr::from(([127, 1 + high % 250, low, last], port))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.kill();
    }
}
