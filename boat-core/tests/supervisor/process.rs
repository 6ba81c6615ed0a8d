//! A supervisor in a process of its own, and what it tells.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::role;

/// How long to wait for anything: far more than it takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Lines that may wait for the test.
const LINES_MAX: usize = 1024;

/// A running supervisor. Dropped, it is killed, and with it its children.
pub(crate) struct Supervised {
    pub(crate) pid: u32,
    process: Child,
    /// The standard error of the supervisor and its children. Closed once all of them have ended.
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Supervised {
    pub(crate) fn start(children: &str, env: &[(&str, &str)]) -> Self {
        let mut command = role::command("supervisor");
        command.env("TEST_CHILDREN", children).envs(env.iter().copied()).stdin(Stdio::null());
        let mut process = command.process_group(0).stderr(Stdio::piped()).spawn().expect("starts");
        let output = BufReader::new(process.stderr.take().expect("piped"));
        let (sender, lines) = sync_channel(LINES_MAX);
        std::thread::spawn(move || {
            for line in output.lines() {
                if sender.send(line.expect("UTF-8")).is_err() {
                    break;
                }
            }
        });
        Self { pid: process.id(), process, lines, seen: Vec::new() }
    }

    /// Waits for a line with this text, and passes over those before it.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        self.expect_all(&[text]).pop().expect("at least one line")
    }

    /// Waits until each text was in a line, in whatever order; gives the lines passed over.
    pub(crate) fn expect_all(&mut self, texts: &[&str]) -> Vec<String> {
        let mut wanted = texts.to_vec();
        let mut passed = Vec::new();
        while !wanted.is_empty() {
            let line = match self.lines.recv_timeout(WAIT_MAX) {
                Ok(line) => line,
                Err(error) => panic!("{error} before {wanted:?} came; so far: {:#?}", self.seen),
            };
            wanted.retain(|text| !line.contains(text));
            self.seen.push(line.clone());
            passed.push(line);
        }
        passed
    }

    /// The process as which a child was last ready.
    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        let ready = format!("{name} is ready as process");
        pid_in(self.seen.iter().rfind(|line| line.starts_with(&ready)).expect("ready"))
    }

    /// All lines that are still to come: until the supervisor and all its children have ended.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(WAIT_MAX) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody still runs; seen {:#?}", self.seen),
            }
        }
        self.seen.extend(rest.iter().cloned());
        rest
    }

    /// Waits until the supervisor and all its children have ended; the status of the supervisor if it was not killed.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.lines();
        self.process.wait().expect("its status").code()
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // A failing test must leave nothing behind either. After `end` there is nothing to kill.
        if self.process.kill().is_ok() {
            self.process.wait().expect("its status");
        }
    }
}

pub(crate) fn pid(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("not 0")
}

/// The number after "process" in a line.
pub(crate) fn pid_in(line: &str) -> u32 {
    let number = line.rsplit("process ").next().expect("a last part");
    number.parse().expect("a process id")
}

pub(crate) fn send(to: u32, signal: Signal) {
    kill_process(pid(to), signal).expect("signalled");
}

/// Stops a process, and waits until it stands still.
pub(crate) fn stop(process: u32) {
    send(process, Signal::STOP);
    wait_for_state(process, |state| state == Some("T"));
}

/// Waits until there is no such process, or only what its parent has not yet asked for.
pub(crate) fn expect_gone(process: u32) {
    wait_for_state(process, |state| matches!(state, None | Some("Z" | "X")));
}

/// The kernel tells nobody but the parent of these events, so this looks until the bound.
fn wait_for_state(process: u32, wanted: impl Fn(Option<&str>) -> bool) {
    let asked = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok();
        // The name before the state is in parentheses, and may hold any text.
        let state = stat.as_deref().and_then(|stat| stat.rsplit(')').next()?.split_ascii_whitespace().next());
        if wanted(state) {
            return;
        }
        assert!(asked.elapsed() < WAIT_MAX, "process {process} is in state {state:?}");
        std::thread::yield_now();
    }
}
