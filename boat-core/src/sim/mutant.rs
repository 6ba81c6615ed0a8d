//! Bugs that the simulator must find: each is one that a careless driver or applier could have.

/// Declares the mutants, and the list of all of them.
macro_rules! mutants {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// A bug, put in from outside: what is tested stays as it is, and is used wrongly.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[$about])* $name,)*
        }

        impl Mutant {
            /// Every one.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)*];
        }
    };
}

mutants! {
    /// A write is reported durable when it was only written.
    AckBeforeSync,
    /// A message leaves before the write that it depends on has even begun.
    SendEarly,
    /// A restarted node does not remember its vote.
    ForgetVote,
    /// Retries are not recognized.
    SkipSessionCheck,
    /// What was applied before a restart is applied again after it.
    ApplyTwiceAfterRestart,
    /// An unknown failure is called a definite one.
    UnknownCalledDefinite,
    /// A node that lost its disk comes back under its former Raft id.
    KeepIdentityAfterWipe,
    /// A node is let in whatever its directory lacks.
    LetOldDirectoryIn,
    /// A model reads the local wall clock instead of log time.
    ReadWallClock,
    /// Whoever waits is given the outcome of another request of the same batch.
    AnswerFromAnotherRequest,
    /// Snapshots are written without sessions and keys.
    LeaveSessionsOutOfSnapshots,
    /// An older snapshot is restored in place of the newest.
    AcceptOldSnapshot,
    /// A leader takes everybody to hold what it asks them to hold.
    QuarantineWithoutHolds,
    /// A read that must see everything is answered from what the node has, without asking a leader.
    StaleRead,
    /// A read is answered as soon as a leader has said what it must see, before that is applied.
    ReadBeforeApplied,
}
