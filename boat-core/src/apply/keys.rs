//! Keys: requests that a client named itself, remembered for a while (design D15).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::session::Known;
use super::{Outcome, Refused, SessionLimits};
use crate::digest::RequestHash;

/// What one remembered key counts besides its key: the table's own nodes, and its outcome, whatever that takes. Whether the
/// table is full decides what is applied, so it must follow from the log alone: outcomes come when a batch has run, and
/// batches are cut differently on every node and at every replay.
const ENTRY_BYTES: u64 = 512;

#[derive(Debug, Clone)]
struct Remembered {
    hash: RequestHash,
    /// `None` while it is in the batch being applied.
    outcome: Option<Outcome>,
    bytes: u64,
}

/// The table of remembered keys, bounded in bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    known: BTreeMap<Bytes, Remembered>,
    /// Keys by the age at which they came, oldest first.
    by_age: VecDeque<(u64, Bytes)>,
    bytes: u64,
}

impl Keys {
    /// Forgets keys that are old enough.
    pub(crate) fn expire(&mut self, age_ms: u64, limits: &SessionLimits) {
        while let Some((came, key)) = self.by_age.front() {
            if came.saturating_add(limits.key_age_ms) >= age_ms {
                return;
            }
            if let Some(old) = self.known.remove(key) {
                self.bytes -= old.bytes;
            }
            self.by_age.pop_front();
        }
    }

    /// Whether one more key may be remembered.
    pub(crate) fn has_room(&self, limits: &SessionLimits) -> bool {
        self.bytes < limits.key_table_bytes_max
    }

    /// Looks `key` up, and remembers it when it is new.
    pub(crate) fn begin(
        &mut self,
        key: &[u8],
        hash: RequestHash,
        age_ms: u64,
        limits: &SessionLimits,
    ) -> Result<Known, Refused> {
        match self.known.get(key) {
            Some(Remembered { hash: first, outcome, .. }) if *first == hash => {
                Ok(outcome.clone().map_or(Known::Running, Known::Done))
            }
            Some(first) => {
                let position = first.outcome.as_ref().map_or(0, |outcome| outcome.position);
                Err(Refused::KeyReused { position })
            }
            None if !self.has_room(limits) => Err(Refused::KeyTableFull),
            None => {
                // A copy of its own: a slice would keep the whole command it came in alive.
                self.remember(Bytes::copy_from_slice(key), hash, age_ms, None);
                Ok(Known::New)
            }
        }
    }

    fn remember(&mut self, key: Bytes, hash: RequestHash, age_ms: u64, outcome: Option<Outcome>) {
        let bytes = ENTRY_BYTES + 2 * key.len() as u64;
        self.bytes += bytes;
        self.by_age.push_back((age_ms, key.clone()));
        self.known.insert(key, Remembered { hash, outcome, bytes });
    }

    /// Every key with an outcome, oldest first: the age at which it came, the key, and what is remembered.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, &Bytes, RequestHash, &Outcome)> {
        self.by_age.iter().filter_map(|(age_ms, key)| {
            let known = self.known.get(key)?;
            Some((*age_ms, key, known.hash, known.outcome.as_ref()?))
        })
    }

    /// Remembers a key of a snapshot, which gives them oldest first. False: that cannot come next.
    pub(super) fn restore(&mut self, age_ms: u64, key: Bytes, hash: RequestHash, outcome: Outcome) -> bool {
        let follows = self.by_age.back().is_none_or(|(last, _)| *last <= age_ms);
        let is_new = !self.known.contains_key(&key);
        if follows && is_new {
            self.remember(key, hash, age_ms, Some(outcome));
        }
        follows && is_new
    }

    /// Remembers the outcome of a request that [`Keys::begin`] called new.
    pub(crate) fn finish(&mut self, key: &[u8], outcome: Outcome) {
        if let Some(known) = self.known.get_mut(key) {
            known.outcome = Some(outcome);
        }
    }

    /// The outcome of a request that was applied under `key`.
    pub(crate) fn outcome(&self, key: &[u8]) -> Option<&Outcome> {
        self.known.get(key).and_then(|known| known.outcome.as_ref())
    }
}
