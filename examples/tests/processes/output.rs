//! What a program and its children print.

use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::WAIT_MAX;

/// How many lines a program may print.
const LINES_MAX: usize = 200_000;

/// The lines of standard output and standard error, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Output {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    /// All processes that could write have ended.
    ended: bool,
}

impl Output {
    pub(crate) fn read(pipe: PipeReader) -> Self {
        let shared = Arc::<(Mutex<Lines>, Condvar)>::default();
        let reader = shared.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe).split(b'\n').map_while(Result::ok);
            loop {
                let line = lines.next().map(|line| String::from_utf8_lossy(&line).into_owned());
                let mut state = reader.0.lock().unwrap();
                match line.filter(|_| state.lines.len() < LINES_MAX) {
                    Some(line) => state.lines.push(line),
                    None => state.ended = true,
                }
                reader.1.notify_all();
                if state.ended {
                    break;
                }
            }
        });
        Output { shared }
    }

    /// How many lines there are.
    pub(crate) fn mark(&self) -> usize {
        self.shared.0.lock().unwrap().lines.len()
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.0.lock().unwrap().lines.clone()
    }

    /// The last line so far that contains `text`.
    pub(crate) fn last(&self, text: &str) -> Option<String> {
        self.shared.0.lock().unwrap().lines.iter().rfind(|line| line.contains(text)).cloned()
    }

    /// Waits for a line that contains `text`, among all lines.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) -> String {
        self.expect_after(0, text)
    }

    /// Waits for a line that contains `text`, after so many lines.
    #[track_caller]
    pub(crate) fn expect_after(&self, mark: usize, text: &str) -> String {
        self.find(mark, text, WAIT_MAX)
    }

    /// Waits no longer than this for a line that contains `text`, among all lines.
    #[track_caller]
    pub(crate) fn expect_within(&self, wait_max: Duration, text: &str) -> String {
        self.find(0, text, wait_max)
    }

    #[track_caller]
    fn find(&self, mark: usize, text: &str, wait_max: Duration) -> String {
        let mut seen = mark;
        let mut found = None;
        self.wait(wait_max, |state| {
            let new = state.lines.iter().skip(seen);
            found = new.clone().find(|line| line.contains(text)).cloned();
            seen = state.lines.len().max(mark);
            found.is_some() || state.ended
        });
        found.unwrap_or_else(|| panic!("no line says {text:?}"))
    }

    /// Waits until nobody is left who could print anything.
    #[track_caller]
    pub(crate) fn expect_end(&self) {
        self.wait(WAIT_MAX, |state| state.ended);
    }

    #[track_caller]
    fn wait(&self, wait_max: Duration, mut until: impl FnMut(&Lines) -> bool) {
        let (lines, changed) = &*self.shared;
        let guard = lines.lock().unwrap();
        let (state, waited) = changed.wait_timeout_while(guard, wait_max, |state| !until(state)).unwrap();
        let count = state.lines.len();
        drop(state);
        assert!(!waited.timed_out(), "not within {wait_max:?}, after {count} lines");
    }
}
