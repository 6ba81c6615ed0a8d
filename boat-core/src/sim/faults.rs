//! Which faults there are, and how often each happened.

use std::collections::BTreeMap;
use std::fmt;

/// Declares the classes, and the list of all of them.
macro_rules! faults {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// A class of faults, or of behaviour that faults should provoke. One that never happens is not tested.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$about])* $name,)*
        }

        impl Fault {
            /// Every class.
            pub const ALL: &'static [Fault] = &[$(Fault::$name,)*];
        }
    };
}

faults! {
    /// A message was lost, or sent into a partition.
    Loss,
    /// A message came twice.
    Repeat,
    /// A message overtook another.
    Reorder,
    /// A link held everything back for a while.
    Clog,
    /// A message found its link's queue full.
    LinkFull,
    /// The leader was cut off from all other nodes, but not from its clients.
    LeaderCutOff,
    /// Nodes were cut off from each other.
    Partition,
    /// Nodes were cut off in one direction only.
    OneWayPartition,
    /// A process ended, its machine went on.
    Kill,
    /// A machine lost power, and with it what was not synced.
    PowerLoss,
    /// A process ended while a write of its log was under way.
    CrashWithWriteInFlight,
    /// A process ended with some of a step's outputs carried out.
    CrashBetweenOutputs,
    /// A machine stopped right before or after one call to its disk.
    CrashInsideDiskCall,
    /// The disk failed to write bytes.
    WriteFailed,
    /// The disk failed to sync a file.
    SyncFailed,
    /// The disk failed to allocate ahead.
    AllocateFailed,
    /// The disk failed to create a file.
    CreateFailed,
    /// The disk failed to rename a file.
    RenameFailed,
    /// The disk failed to sync a directory.
    SyncDirectoryFailed,
    /// A disk had no space left for a while.
    DiskFull,
    /// The log's thread had to wait for space.
    WaitedForSpace,
    /// A bit of a log's file changed while its process was down.
    BitRot,
    /// A log's file was as it had been some time before when its process came back.
    StaleFile,
    /// A whole directory was as it had been some time before when its process came back.
    OldDirectory,
    /// A peer had heard more from a node than there was in its directory, and refused it.
    OldDirectoryRefused,
    /// A directory was set aside because it had lost what it had acknowledged.
    SetAside,
    /// A process stood still for a while.
    Pause,
    /// A sync took ten times as long as others.
    SlowSync,
    /// A node lost its whole disk.
    Wipe,
    /// A wall clock jumped.
    ClockJump,
    /// A backend lost its state.
    BackendLost,
    /// A leader was told to hand over.
    HandOver,
    /// A leader was elected.
    ChangeOfLeader,
    /// A node took a new membership into force.
    ChangeOfMembers,
    /// An operator asked for a change of the membership, or of the leader.
    Operation,
    /// An operation was carried out.
    OperationDone,
    /// An operation was refused.
    OperationRefused,
    /// A node was removed, and heard of it.
    Removed,
    /// A node came back at another address.
    Move,
    /// A follower needed entries that only the log held.
    Fetch,
    /// An applier read entries from the log.
    ReplayFromLog,
    /// A log was opened with a torn end.
    TornTail,
    /// A request failed for want of a leader.
    NoLeader,
    /// A request was refused by a busy leader.
    Overloaded,
    /// A request's fate was unknown to its node.
    Unknown,
    /// A client gave an attempt up.
    ClientTimeout,
    /// A client tried again.
    Retry,
    /// A request was recognized as one that had been applied.
    AnsweredRetry,
    /// A session had expired.
    SessionExpired,
    /// A snapshot was taken.
    SnapshotTaken,
    /// A log was cut behind a snapshot.
    LogCut,
    /// A follower was behind the log, and was offered a snapshot.
    SnapshotOffered,
    /// A piece of a snapshot went out more than once.
    SnapshotPieceAgain,
    /// A snapshot of another node took a log's place.
    SnapshotInstalled,
    /// A process went on receiving what an earlier one had begun to.
    SnapshotResumed,
    /// The newest snapshot was damaged, and the one before it was used.
    SnapshotDamaged,
    /// An applier went on from a snapshot.
    SnapshotRestored,
    /// A process ended with a snapshot frozen and not written.
    CrashWithSnapshotUnwritten,
    /// A process ended while a snapshot came in, or before its applier went on from it.
    CrashWhileSnapshotArrives,
    /// A request crashed a model.
    ModelCrashes,
    /// A call of a model never ended.
    ModelHangs,
    /// A node held the request that came next.
    Held,
    /// A request was passed over because the log had decided so.
    Quarantined,
    /// The log decided to try a request again.
    TriedAgain,
    /// A backend did not answer for a while.
    BackendDown,
    /// A backend was slow for a while.
    BackendSlow,
    /// A model went another way than its peers.
    Diverged,
    /// A node heard that its digest differs from the majority's.
    DivergenceFound,
    /// A linearizable read was answered.
    LinearizableRead,
    /// A read of what a node has was answered, and nothing newer was known to anybody.
    LocalRead,
    /// A read of what a node has was answered, and did not show the latest.
    StaleRead,
    /// No leader confirmed a linearizable read in time.
    FailedRead,
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
        Fault::ALL.iter().copied().filter(|fault| !self.0.contains_key(fault)).collect()
    }

    /// Every class with how often it happened, those that did not included.
    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::ALL.iter().map(|fault| (*fault, self.0.get(fault).copied().unwrap_or(0)))
    }
}

impl FaultCounts {
    /// One line for each class, with how often it happened.
    pub fn table(&self) -> String {
        self.iter().map(|(fault, count)| format!("{:<24} {count:>14}\n", format!("{fault:?}"))).collect()
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
