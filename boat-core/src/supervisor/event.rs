//! What a supervisor tells.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

use log::Level;

/// What happened to a child. Each is logged, and given to [`on_event`](super::Supervisor::on_event).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A process was started.
    Started {
        /// Which child.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// A process has ended.
    Exited {
        /// Which child.
        name: String,
        /// Its former process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// How long it ran.
        ran: Duration,
    },
    /// The child will be started again.
    Restarting {
        /// Which child.
        name: String,
        /// After this long.
        delay: Duration,
    },
    /// The child could not be started again; another try follows.
    StartFailed {
        /// Which child.
        name: String,
        /// What failed: its `before_restart`, or the start itself.
        reason: String,
    },
    /// All children are asked to end.
    Stopping {
        /// The signal or the error.
        why: String,
        /// Whether they are killed without being waited for.
        at_once: bool,
    },
    /// A child that did not end in time, or that nobody wants to wait for, is killed.
    Killing {
        /// Which child.
        name: String,
        /// Its process.
        pid: u32,
    },
}

impl Event {
    fn level(&self) -> Level {
        match self {
            Event::Started { .. } | Event::Stopping { .. } => Level::Info,
            Event::Exited { status, .. } if status.success() => Level::Info,
            Event::Exited { .. } | Event::Restarting { .. } | Event::Killing { .. } => Level::Warn,
            Event::StartFailed { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Started { name, pid } => write!(f, "{name} started as process {pid}"),
            Event::Exited { name, pid, status, ran } => {
                write!(f, "{name} (process {pid}) ended after {:.1} s: {status}", ran.as_secs_f64())
            }
            Event::Restarting { name, delay } => write!(f, "{name} starts again in {} ms", delay.as_millis()),
            Event::StartFailed { name, reason } => write!(f, "{name} cannot be started again yet: {reason}"),
            Event::Stopping { why, at_once: false } => write!(f, "stopping: {why}"),
            Event::Stopping { why, at_once: true } => write!(f, "killing what is left: {why}"),
            Event::Killing { name, pid } => write!(f, "{name} (process {pid}) is killed"),
        }
    }
}

type Observer = Box<dyn Fn(&Event) + Send + Sync>;

/// Where events go.
#[derive(Default)]
pub(super) struct Reporter {
    observer: Option<Observer>,
}

impl Reporter {
    pub(super) fn new(observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Box::new(observer)) }
    }

    pub(super) fn report(&self, event: &Event) {
        log::log!(event.level(), "{event}");
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}
