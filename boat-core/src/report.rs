//! What nodes tell each other about themselves, a few times a second: how well they are, how far their predictors are, and
//! which requests they hold (design D6 to D8).

use std::fmt;

use crate::digest::Digest;

/// How many digests one report carries, at most.
pub const CHECKPOINTS_MAX: usize = 8;
/// How many holds one report carries, and one node keeps, at most.
pub const HOLDS_MAX: usize = 64;

/// Something that ails a node. One that leads hands over for it, where another is well; for [`Ailment::Diverged`] where another has
/// not diverged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Ailment {
    /// Its backend does not answer.
    BackendUnavailable = 1,
    /// Its predictor has lost its state, or is fresh: requests run through it again.
    Rebuilding = 1 << 1,
    /// Its predictor is behind those of the others, and stays behind.
    Slow = 1 << 2,
    /// A sync of its log took too long, a short while ago or still.
    SyncHangs = 1 << 3,
    /// Its digest differs from that of a majority.
    Diverged = 1 << 4,
    /// It holds the request that comes next, because that crashed its backend.
    Holding = 1 << 5,
}

impl Ailment {
    /// Every ailment there is.
    pub const ALL: [Ailment; 6] = [
        Ailment::BackendUnavailable,
        Ailment::Rebuilding,
        Ailment::Slow,
        Ailment::SyncHangs,
        Ailment::Diverged,
        Ailment::Holding,
    ];

    /// Its name in `/status`, `/metrics` and the log.
    pub fn name(self) -> &'static str {
        match self {
            Ailment::BackendUnavailable => "backend_unavailable",
            Ailment::Rebuilding => "rebuilding",
            Ailment::Slow => "slow",
            Ailment::SyncHangs => "sync_hangs",
            Ailment::Diverged => "diverged",
            Ailment::Holding => "holding",
        }
    }
}

/// A set of [`Ailment`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ailments(u8);

impl Ailments {
    /// All is well.
    pub const NONE: Ailments = Ailments(0);

    /// The set with this ailment, or without it.
    #[must_use]
    pub fn with(self, ailment: Ailment, is_there: bool) -> Ailments {
        let rest = self.0 & !(ailment as u8);
        Ailments(if is_there { rest | ailment as u8 } else { rest })
    }

    /// Whether it is one of them.
    pub fn contains(self, ailment: Ailment) -> bool {
        self.0 & ailment as u8 != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits; `None` when one of them stands for nothing.
    pub fn from_bits(bits: u32) -> Option<Ailments> {
        let known = Ailment::ALL.iter().fold(0, |all, ailment| all | *ailment as u8);
        let bits = u8::try_from(bits).ok()?;
        (bits & !known == 0).then_some(Ailments(bits))
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Ailment> {
        Ailment::ALL.into_iter().filter(move |ailment| self.contains(*ailment))
    }
}

impl fmt::Display for Ailments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("well");
        }
        for (n, ailment) in self.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { ", " }, ailment.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Ailments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digest after a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// The position.
    pub position: u64,
    /// The running digest after it.
    pub digest: Digest,
}

/// A promise: the request at this position is not run here until the log decides. It is durable before it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Which request.
    pub position: u64,
    /// How often the log had decided to try that request again when the promise was made: a later such decision voids it.
    pub round: u32,
    /// Whether the request crashed this node's backend as often as it takes; if not, the leader asked for the hold.
    pub crashed: bool,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What ails it.
    pub ailments: Ailments,
    /// Up to which position its predictor is now.
    pub position: u64,
    /// The highest position that it has applied since its process began; a rebuild does not lower it.
    pub passed: u64,
    /// The index of the last decision that `checkpoints` rest on: digests of nodes that know of other decisions differ.
    pub decided_index: u64,
    /// Some of its digests: those after the latest multiples of the checkpoints' distance, and the latest.
    /// [`CHECKPOINTS_MAX`] at most.
    pub checkpoints: Vec<Checkpoint>,
    /// What it holds, by position. [`HOLDS_MAX`] at most.
    pub holds: Vec<Hold>,
    /// The leader asks everybody to hold this request, in this round.
    pub asks: Option<(u64, u32)>,
    /// An operator asked this node to have the request at this position quarantined, whatever it was answered.
    pub forces: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ailments_are_a_set_and_read_back_from_their_bits() {
        let all = Ailment::ALL.iter().fold(Ailments::NONE, |set, ailment| set.with(*ailment, true));
        assert_eq!(all.iter().collect::<Vec<_>>(), Ailment::ALL);
        for ailment in Ailment::ALL {
            let without = all.with(ailment, false);
            assert!(!without.contains(ailment) && without.iter().count() == Ailment::ALL.len() - 1);
            assert_eq!(Ailments::from_bits(u32::from(without.bits())), Some(without));
        }
        assert_eq!(Ailments::from_bits(1 << 6), None);
        assert_eq!(Ailments::from_bits(1 << 8), None);
        let two = Ailments::NONE.with(Ailment::Slow, true).with(Ailment::SyncHangs, true);
        assert_eq!((two.to_string(), Ailments::NONE.to_string()), ("slow, sync_hangs".into(), "well".into()));
    }
}
