//! What the log's thread does in production: takes whatever writes have gathered, and syncs once for all of them.

use std::collections::VecDeque;

use super::Mutant;
use super::check::{Checker, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::queue::{Event, Life};
use crate::log::files::{CallKind, Fault as DiskFault, SimFiles};
use crate::log::{Log, LogError, LogWrite};
use crate::{NodeId, RaftId};

/// How far ahead a disk fault is armed, in calls of its kind.
const FAULT_CALLS_AHEAD_MAX: u64 = 2;
/// How long the log's thread waits before it tries a full disk again, in milliseconds.
const FULL_AGAIN_MS: u64 = 100;
/// The calls that are made to fail, and what that counts as.
const FAILING: [(CallKind, Fault); 6] = [
    (CallKind::Write, Fault::WriteFailed),
    (CallKind::SyncData, Fault::SyncFailed),
    (CallKind::Allocate, Fault::AllocateFailed),
    (CallKind::Create, Fault::CreateFailed),
    (CallKind::Rename, Fault::RenameFailed),
    (CallKind::SyncDirectory, Fault::SyncDirectoryFailed),
];

/// What a disk is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Armed {
    /// The machine stops.
    Stop,
    /// A call fails.
    Fail(Fault),
}

/// Arms a fault on a disk, now and then.
pub(super) fn arm(context: &mut Context, disk: &SimFiles, armed: &mut Option<Armed>) {
    if armed.is_some() || !context.fault(context.options.disk_fault_per_mille) {
        return;
    }
    let place = context.up_to(FAILING.len() as u64 - 1) as usize;
    let Some((kind, name)) = FAILING.get(place).copied() else { return };
    let (becomes, fault) = match context.up_to(4) {
        0 => (Armed::Fail(name), DiskFault::Error),
        1 => (Armed::Fail(name), DiskFault::Short),
        2 => (Armed::Stop, DiskFault::StopAfter),
        _ => (Armed::Stop, DiskFault::StopBefore),
    };
    disk.fail(kind, context.up_to(FAULT_CALLS_AHEAD_MAX), fault);
    *armed = Some(becomes);
}

/// What a failed call to the disk means: the end of the process if a fault was armed, a violation else.
pub(super) fn judge(
    context: &mut Context,
    armed: Option<Armed>,
    what: &dyn std::fmt::Display,
) -> Checked<Armed> {
    let Some(armed) = armed else {
        let what = format!("without a fault of the disk: {what}");
        return Err(Violation { invariant: "D10 a sound disk is used without errors", what });
    };
    context.count(match armed {
        Armed::Stop => Fault::CrashInsideDiskCall,
        Armed::Fail(name) => name,
    });
    Ok(armed)
}

/// Why something that touches a disk did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The log said so.
    Log(LogError),
    /// Another file of the directory could not be read.
    Disk(std::io::Error),
    /// It must not be.
    Wrong(Violation),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Trouble::Log(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble::Disk(error)
    }
}

impl From<Violation> for Trouble {
    fn from(violation: Violation) -> Self {
        Trouble::Wrong(violation)
    }
}

#[derive(Debug)]
struct Write {
    mark: u64,
    write: LogWrite,
    sync: bool,
}

#[derive(Debug, Clone, Copy)]
struct Underway {
    mark: u64,
    sync: bool,
}

/// The log's thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: Log,
    pub(super) armed: Option<Armed>,
    id: RaftId,
    waiting: VecDeque<Write>,
    /// What was appended and not written yet, because the disk became full behind it.
    gathered: Option<Underway>,
    /// Whether the thread waits for space.
    stalled: bool,
    underway: Option<Underway>,
}

impl Writer {
    pub(super) fn new(log: Log, id: RaftId) -> Self {
        Writer {
            log,
            armed: None,
            id,
            waiting: VecDeque::new(),
            gathered: None,
            stalled: false,
            underway: None,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.underway.is_some()
    }

    pub(super) fn push(&mut self, checker: &mut Checker, mark: u64, write: LogWrite, sync: bool) {
        checker.writing(self.id, mark, &write);
        self.waiting.push_back(Write { mark, write, sync });
    }

    /// Begins to write what waits, unless a write is under way. A mark that is reported durable too early, by a mutant.
    pub(super) fn begin(
        &mut self,
        context: &mut Context,
        node: NodeId,
        life: Life,
    ) -> Result<Option<u64>, LogError> {
        if self.underway.is_some() || self.stalled || self.waiting.is_empty() {
            return Ok(None);
        }
        while let Some(next) = self.waiting.front() {
            match self.log.append(&next.write) {
                Ok(()) => {}
                Err(LogError::Full { .. }) => {
                    context.count(Fault::WaitedForSpace);
                    context.after(FULL_AGAIN_MS, Event::WriteAgain(node, life));
                    self.stalled = true;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
            let sync = next.sync || self.gathered.is_some_and(|gathered| gathered.sync);
            self.gathered = Some(Underway { mark: next.mark, sync });
            self.waiting.pop_front();
        }
        let Some(Underway { mark, sync }) = self.gathered.take() else { return Ok(None) };
        // From here on a loss of power tears what is written.
        self.log.flush()?;
        self.underway = Some(Underway { mark, sync });
        let mut wait_ms = if sync { context.up_to(context.options.sync_ms_max) } else { 0 };
        if !context.faulty {
            wait_ms = wait_ms.min(2);
        } else if sync && context.fault(context.options.slow_sync_per_mille) {
            context.count(Fault::SlowSync);
            wait_ms = 10 * wait_ms.max(1);
        }
        context.after(wait_ms, Event::WriteDone(node, life));
        Ok((context.options.mutant == Some(Mutant::AckBeforeSync)).then_some(mark))
    }

    /// Tries again to write to a disk that was full.
    pub(super) fn again(
        &mut self,
        context: &mut Context,
        node: NodeId,
        life: Life,
    ) -> Result<Option<u64>, LogError> {
        self.stalled = false;
        self.begin(context, node, life)
    }

    /// Ends the write that is under way: the mark up to which everything is durable.
    pub(super) fn end(&mut self, checker: &mut Checker, wall_ms: u64) -> Result<Option<u64>, Trouble> {
        let Some(Underway { mark, sync }) = self.underway.take() else { return Ok(None) };
        if sync {
            self.log.sync(wall_ms)?;
            checker.synced(self.id, mark)?;
        }
        Ok(Some(mark))
    }
}
