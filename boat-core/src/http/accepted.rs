//! Requests that were answered 202: what became of them, as far as their keys alone cannot tell.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::problem::Problem;

/// How many keys are remembered. What is older is forgotten, and then told as a key that was never used.
const KEYS_MAX: usize = 16_384;

/// What became of a request that was answered 202 here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its outcome is waited for.
    Pending,
    /// It has an outcome: where the node does not know it any more, it has been forgotten.
    Answered,
    /// It got this instead.
    Failed(Problem),
}

#[derive(Debug, Default)]
struct Table {
    fates: BTreeMap<Bytes, Fate>,
    oldest_first: VecDeque<Bytes>,
}

/// The keys that were answered 202, the latest ones.
#[derive(Debug, Default)]
pub(super) struct Accepted(Mutex<Table>);

impl Accepted {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fate of the request under this key changes.
    pub(super) fn set(&self, key: Bytes, fate: Fate) {
        let mut table = self.lock();
        if table.fates.insert(key.clone(), fate).is_none() {
            table.oldest_first.push_back(key);
        }
        while table.oldest_first.len() > KEYS_MAX
            && let Some(oldest) = table.oldest_first.pop_front()
        {
            table.fates.remove(&oldest);
        }
    }

    /// What became of the request under this key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Fate> {
        self.lock().fates.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_keys_are_remembered() {
        let accepted = Accepted::default();
        let key = |n: usize| Bytes::from(n.to_string());
        for n in 0..=KEYS_MAX {
            accepted.set(key(n), Fate::Pending);
            accepted.set(key(n), Fate::Answered);
        }
        assert_eq!(accepted.get(&key(0)), None);
        assert_eq!(accepted.get(&key(1)), Some(Fate::Answered));
        assert_eq!(accepted.lock().fates.len(), KEYS_MAX);
    }
}
