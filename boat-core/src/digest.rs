//! The running digest: what tells two nodes that they went the same way.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What is folded in beside the outcome: previous digest, position, hash of the request, kind of the outcome.
const FOLD_HEAD_BYTES: usize = 16 + 8 + 16 + 1;
/// As much is hashed at once: head and a short outcome.
const FOLD_BYTES: usize = 240;

/// A digest of everything applied so far: equal on two nodes exactly when positions, requests and outcomes were.
///
/// Each applied request is folded in: `xxh3_128(previous ‖ position ‖ hash of the request ‖ outcome)`, all little-endian
/// ([XXH3](https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md)). It finds accidents, not forgeries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest after one more request.
    #[must_use]
    pub fn fold(self, position: u64, request: RequestHash, outcome_kind: u8, outcome: &[u8]) -> Digest {
        let mut bytes = [0; FOLD_BYTES];
        let (head, rest) = bytes.split_at_mut(FOLD_HEAD_BYTES);
        head[..16].copy_from_slice(&self.0.to_le_bytes());
        head[16..24].copy_from_slice(&position.to_le_bytes());
        head[24..40].copy_from_slice(&request.0.to_le_bytes());
        head[40] = outcome_kind;
        // The hash is the same either way; a hasher that takes parts costs ten times as much to set up.
        if let Some(place) = rest.get_mut(..outcome.len()) {
            place.copy_from_slice(outcome);
            let whole = bytes.get(..FOLD_HEAD_BYTES + outcome.len()).unwrap_or(&bytes);
            return Digest(xxh3_128(whole));
        }
        let mut hasher = Xxh3::new();
        hasher.update(head);
        hasher.update(outcome);
        Digest(hasher.digest128())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What stands for a request's kind and body: a retry must show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestHash(pub u128);

impl RequestHash {
    /// The hash of a request: `xxh3_128(body)` with the kind mixed in.
    pub fn of(kind: u8, body: &[u8]) -> Self {
        RequestHash(xxh3_128(body) ^ (u128::from(kind) << 120))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, part by part.
    fn folded(digest: Digest, position: u64, request: RequestHash, kind: u8, outcome: &[u8]) -> Digest {
        let mut hasher = Xxh3::new();
        hasher.update(&digest.0.to_le_bytes());
        hasher.update(&position.to_le_bytes());
        hasher.update(&request.0.to_le_bytes());
        hasher.update(&[kind]);
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
