//! Which membership held as of which entry, for the snapshots that the applier takes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Membership;

/// How many are remembered for an applier that lags behind. It takes no snapshot while it is further behind than that.
const MEMBERSHIPS_MAX: usize = 64;

/// The memberships since the one that the log was opened with, by rising index.
#[derive(Debug, Default)]
pub(crate) struct Memberships(Mutex<VecDeque<Membership>>);

impl Memberships {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Membership>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes into force before the entry of its index is applied.
    pub(crate) fn push(&self, membership: Membership) {
        let mut known = self.lock();
        while known.back().is_some_and(|last| last.index >= membership.index) {
            known.pop_back();
        }
        known.push_back(membership);
        while known.len() > MEMBERSHIPS_MAX {
            known.pop_front();
        }
    }

    /// The one as of `index`; `None` where that is not known any more. Earlier ones are not asked for afterwards.
    pub(crate) fn as_of(&self, index: u64) -> Option<Membership> {
        let mut known = self.lock();
        while known.get(1).is_some_and(|next| next.index <= index) {
            known.pop_front();
        }
        known.front().filter(|first| first.index <= index).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_up_to_an_entry_holds_and_what_is_not_known_is_said() {
        let known = Memberships::default();
        for index in [5, 9, 12] {
            known.push(Membership { index, ..Membership::default() });
        }
        let index = |at| known.as_of(at).map(|membership| membership.index);
        assert_eq!(
            (index(4), index(5), index(8), index(9), index(100)),
            (None, Some(5), Some(5), Some(9), Some(12))
        );
        assert_eq!(index(11), None, "it was asked for later ones");
    }
}
