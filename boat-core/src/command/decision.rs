//! Decisions about requests that crash models (design D6): what stands in the log about them.

use std::fmt;

use super::VERSION;
use crate::codec::Malformed;

/// The kinds of command.
pub(super) const BATCH: u8 = 0;
const QUARANTINE: u8 = 1;
const RETRY: u8 = 2;

/// What the log decides about one request that crashed the model of a node. It holds only if it was proposed in the round
/// that the request is in when it is committed: see [`Decisions`](crate::quarantine::Decisions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// The request is not run: its outcome is `Quarantined`, on every node, for ever.
    Quarantine {
        /// Which request.
        position: u64,
        /// How often it had been decided to try it again.
        round: u32,
        /// An operator wants it, in whatever round.
        forced: bool,
    },
    /// A node is past the request, so it has an outcome: those that hold it run it again.
    Retry {
        /// Which request.
        position: u64,
        /// How often this had been decided before.
        round: u32,
    },
}

impl Decision {
    /// Which request it is about.
    pub fn position(self) -> u64 {
        match self {
            Decision::Quarantine { position, .. } | Decision::Retry { position, .. } => position,
        }
    }

    /// The entry's bytes, stamped with the leader's wall clock in milliseconds since the Unix epoch.
    pub fn encode(self, stamp_ms: u64) -> Vec<u8> {
        let (kind, round, forced) = match self {
            Decision::Quarantine { round, forced, .. } => (QUARANTINE, round, forced),
            Decision::Retry { round, .. } => (RETRY, round, false),
        };
        let mut bytes = vec![VERSION, kind, u8::from(forced), 0];
        bytes.extend_from_slice(&round.to_le_bytes());
        bytes.extend_from_slice(&stamp_ms.to_le_bytes());
        bytes.extend_from_slice(&self.position().to_le_bytes());
        bytes
    }

    /// The decision that an entry's bytes carry; `None` for batches of requests, and for what is no command at all.
    pub fn of_entry(data: &[u8]) -> Option<Decision> {
        // Most entries are batches, and this looks at every one of them.
        match data.get(1) {
            None | Some(&BATCH) => None,
            Some(_) => super::CommandView::new(data).ok()?.decision,
        }
    }

    pub(super) fn from_parts(kind: u8, forced: u8, round: u32, position: u64) -> Result<Self, Malformed> {
        match (kind, forced) {
            (QUARANTINE, 0 | 1) => Ok(Decision::Quarantine { position, round, forced: forced == 1 }),
            (RETRY, 0) => Ok(Decision::Retry { position, round }),
            _ => Err(Malformed("command kind")),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Quarantine { position, forced: true, .. } => {
                write!(f, "position {position} is quarantined, as an operator wants it")
            }
            Decision::Quarantine { position, round, .. } => {
                write!(f, "position {position} is quarantined (round {round})")
            }
            Decision::Retry { position, round } => {
                write!(f, "position {position} is tried again (round {round})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, CommandView};

    #[test]
    fn a_decision_reads_back_from_its_entry_and_has_no_requests() {
        for decision in [
            Decision::Quarantine { position: 7, round: 3, forced: false },
            Decision::Quarantine { position: u64::MAX, round: 0, forced: true },
            Decision::Retry { position: 9, round: u32::MAX },
        ] {
            let bytes = decision.encode(55);
            let view = CommandView::new(&bytes).unwrap();
            assert_eq!((view.decision, view.stamp_ms, view.requests().count()), (Some(decision), 55, 0));
            assert_eq!(Decision::of_entry(&bytes), Some(decision));
            let longer = [&bytes[..], b"x"].concat();
            assert!(CommandView::new(&longer).unwrap().requests().any(|request| request.is_err()));
        }
        let batch = Command { stamp_ms: 1, seed: 2, requests: Vec::new() }.encode();
        assert_eq!(Decision::of_entry(&batch), None);
        assert_eq!(Decision::of_entry(&[]), None);
        let mut unknown = Decision::Retry { position: 1, round: 1 }.encode(0);
        unknown[1] = 3;
        assert!(CommandView::new(&unknown).is_err());
    }
}
