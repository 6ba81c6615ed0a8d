//! The running digest: what tells two nodes that they went the same way.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What is folded in before the outcome: previous digest, hash of the request, position, kind of the outcome.
const FOLD_HEAD_BYTES: usize = 16 + 16 + 8 + 8;
/// As much is hashed at once: head and a short outcome.
const FOLD_BYTES: usize = 240;

/// A digest of everything applied so far: equal on two nodes exactly when positions, requests and outcomes were.
///
/// Each applied request is folded in: `xxh3_128(previous u128 ‖ hash of the request u128 ‖ position u64 ‖ kind of the outcome
/// u64 ‖ outcome)`, all little-endian ([XXH3](https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)). It finds
/// accidents, not forgeries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest after one more request.
    #[must_use]
    pub fn fold(self, position: u64, request: RequestHash, outcome_kind: u8, outcome: &[u8]) -> Digest {
        // Only whole words: what is written in words of eight bytes is read again without waiting.
        let mut head = [0; FOLD_HEAD_BYTES];
        let words = [self.0 as u64, (self.0 >> 64) as u64, request.low, request.high, position];
        let words = words.into_iter().chain([u64::from(outcome_kind)]);
        for (place, word) in head.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        if outcome.is_empty() { Digest(xxh3_128(&head)) } else { fold_outcome(&head, outcome) }
    }
}

/// Hashes what is folded in. The hash is the same either way, but a hasher that takes parts costs ten times as much to set up.
fn fold_outcome(head: &[u8; FOLD_HEAD_BYTES], outcome: &[u8]) -> Digest {
    let mut bytes = [0; FOLD_BYTES];
    let whole = bytes.get_mut(..FOLD_HEAD_BYTES + outcome.len());
    if let Some((first, rest)) = whole.and_then(|whole| whole.split_at_mut_checked(FOLD_HEAD_BYTES)) {
        first.copy_from_slice(head);
        rest.copy_from_slice(outcome);
        let whole = bytes.get(..FOLD_HEAD_BYTES + outcome.len()).unwrap_or_default();
        return Digest(xxh3_128(whole));
    }
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(outcome);
    Digest(hasher.digest128())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What stands for a request's kind and body: a retry must show the same.
///
/// Two words rather than one wide number: it is moved in words, for each request of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RequestHash {
    high: u64,
    low: u64,
}

impl RequestHash {
    /// The hash of a request: `xxh3_128(body)` with the kind mixed into the highest byte.
    pub fn of(kind: u8, body: &[u8]) -> Self {
        let hash = xxh3_128(body);
        RequestHash { high: (hash >> 64) as u64 ^ (u64::from(kind) << 56), low: hash as u64 }
    }

    /// The hash as it stands in a snapshot.
    pub(crate) fn to_le_bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_le_bytes()
    }

    /// What [`RequestHash::to_le_bytes`] gave.
    pub(crate) fn from_le_bytes(bytes: [u8; 16]) -> Self {
        let hash = u128::from_le_bytes(bytes);
        RequestHash { high: (hash >> 64) as u64, low: hash as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, part by part.
    fn folded(digest: Digest, position: u64, request: RequestHash, kind: u8, outcome: &[u8]) -> Digest {
        let mut hasher = Xxh3::new();
        hasher.update(&digest.0.to_le_bytes());
        hasher.update(&request.low.to_le_bytes());
        hasher.update(&request.high.to_le_bytes());
        hasher.update(&position.to_le_bytes());
        hasher.update(&u64::from(kind).to_le_bytes());
        hasher.update(outcome);
        Digest(hasher.digest128())
    }

    #[test]
    fn outcomes_of_every_length_are_folded_as_defined() {
        let outcome: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        let (mut digest, request) = (Digest::default(), RequestHash::of(1, b"request"));
        for bytes in 0..outcome.len() {
            let expected = folded(digest, bytes as u64, request, 1, &outcome[..bytes]);
            digest = digest.fold(bytes as u64, request, 1, &outcome[..bytes]);
            assert_eq!(digest, expected, "{bytes}");
        }
    }
}
