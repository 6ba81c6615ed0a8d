//! The running digest: what tells two nodes that they went the same way.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

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
        let mut hasher = Xxh3::new();
        let mut head = [0; 41];
        head[..16].copy_from_slice(&self.0.to_le_bytes());
        head[16..24].copy_from_slice(&position.to_le_bytes());
        head[24..40].copy_from_slice(&request.0.to_le_bytes());
        head[40] = outcome_kind;
        hasher.update(&head);
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
