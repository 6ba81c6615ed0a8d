//! A program as a process, with all that it starts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use super::output::Output;
use super::poll;

/// In the environment of a program and all that it starts: which one of these tests' it is.
const MARK: &str = "PROCESSES_TEST_RUN";

/// How many of its last lines a program's failing test shows.
const SHOWN_LINES_MAX: usize = 150;

static NEXT_MARK: AtomicU32 = AtomicU32::new(0);

/// A program of this package. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) output: Output,
    process: Child,
    mark: String,
}

impl Program {
    /// Starts an example with these arguments and variables. Nothing of the tests' own `BOAT_*` reaches it.
    pub(crate) fn start(name: &str, arguments: &[String], environment: &[(&str, &str)]) -> Self {
        let mark = format!("{}-{}", std::process::id(), NEXT_MARK.fetch_add(1, Ordering::Relaxed));
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new(example(name));
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("BOAT_")) {
            command.env_remove(key);
        }
        command.args(arguments).env(MARK, &mark).env("RUST_LOG", "info").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let process = command.spawn().unwrap();
        // The writing ends that this process holds go with the command: only the program's are left.
        drop(command);
        Program { output: Output::read(reader), process, mark }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn send(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits until nothing of it is left; how the program itself ended.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> ExitStatus {
        self.output.expect_end();
        let status = self.process.wait().unwrap();
        // Output ends a moment before its last holder is gone.
        poll("no process is left", || self.processes().is_empty().then_some(()));
        status
    }

    /// Everything that was started by it and still runs.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let wanted = format!("{MARK}={}", self.mark);
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let marked = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        };
        pids.filter(marked).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The supervisor first, or it would start again what is killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for pid in self.processes() {
            let _ = kill_process(pid_of(pid), Signal::KILL);
        }
        if std::thread::panicking() {
            let lines = self.output.lines();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..];
            eprintln!("the last of {} lines:\n{}", lines.len(), shown.join("\n"));
        }
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill_process(pid_of(pid), signal).unwrap();
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).unwrap()
}

/// Where cargo puts an example of the profile with which these tests were built.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is not built: run `cargo test -p examples`", path.display());
    path
}
