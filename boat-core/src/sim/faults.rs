//! Which faults there are, and how often each happened.

use std::collections::BTreeMap;
use std::fmt;

/// A class of faults, or of behaviour that faults should provoke. One that never happens is not tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Fault {
    Loss,
    Repeat,
    Reorder,
    Clog,
    Partition,
    OneWayPartition,
    Kill,
    PowerLoss,
    CrashWithWriteInFlight,
    CrashBetweenOutputs,
    CrashInsideDiskCall,
    StorageError,
    Pause,
    SlowSync,
    Wipe,
    ClockJump,
    BackendLost,
    ChangeOfLeader,
    ChangeOfMembers,
    Fetch,
    ReplayFromLog,
    TornTail,
    NoLeader,
    Overloaded,
    Unknown,
    ClientTimeout,
    Retry,
    AnsweredRetry,
    SessionExpired,
}

impl Fault {
    /// Every class.
    pub const ALL: [Fault; 29] = [
        Fault::Loss,
        Fault::Repeat,
        Fault::Reorder,
        Fault::Clog,
        Fault::Partition,
        Fault::OneWayPartition,
        Fault::Kill,
        Fault::PowerLoss,
        Fault::CrashWithWriteInFlight,
        Fault::CrashBetweenOutputs,
        Fault::CrashInsideDiskCall,
        Fault::StorageError,
        Fault::Pause,
        Fault::SlowSync,
        Fault::Wipe,
        Fault::ClockJump,
        Fault::BackendLost,
        Fault::ChangeOfLeader,
        Fault::ChangeOfMembers,
        Fault::Fetch,
        Fault::ReplayFromLog,
        Fault::TornTail,
        Fault::NoLeader,
        Fault::Overloaded,
        Fault::Unknown,
        Fault::ClientTimeout,
        Fault::Retry,
        Fault::AnsweredRetry,
        Fault::SessionExpired,
    ];
}

/// How often each class happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultCounts(BTreeMap<Fault, u64>);

impl FaultCounts {
    pub(super) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &FaultCounts) {
        for (fault, count) in &other.0 {
            *self.0.entry(*fault).or_default() += count;
        }
    }

    /// The classes that did not happen.
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|fault| !self.0.contains_key(fault)).collect()
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (fault, count)) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{fault:?} {count}")?;
        }
        Ok(())
    }
}
