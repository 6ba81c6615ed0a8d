//! The model that the simulated nodes serve: a hash chain, so that a swap, a gap or a repeat shows in every later output.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

/// A model whose outputs depend on everything it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HashChain(u64);

/// What a request does to models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    /// It crashes every one.
    Always,
    /// It crashes all but one, until it went well there.
    AtFirst,
}

impl Poison {
    /// The body of a request that is poison.
    pub(super) fn body(self, number: u64) -> Bytes {
        let name = match self {
            Poison::Always => "always",
            Poison::AtFirst => "at first",
        };
        Bytes::from(format!("{{\"crash\":\"{name}\",\"n\":{number}}}"))
    }

    /// What the request with this body does.
    pub(super) fn of(body: &[u8]) -> Option<Poison> {
        let all = [Poison::Always, Poison::AtFirst];
        let begins = |poison: &Poison| {
            let prefix = poison.body(0);
            body.starts_with(prefix.get(..prefix.len().saturating_sub(2)).unwrap_or_default())
        };
        all.into_iter().find(begins)
    }
}

impl HashChain {
    /// From here on nothing is as it is elsewhere.
    pub(super) fn taint(&mut self) {
        self.0 ^= 1;
    }

    /// Takes one request, and gives the output.
    pub(super) fn predict(&mut self, position: u64, body: &[u8], time_ms: u64, seed: u64) -> Bytes {
        let mut hasher = Xxh3::new();
        for word in [self.0, position, time_ms, seed] {
            hasher.update(&word.to_le_bytes());
        }
        hasher.update(body);
        self.0 = hasher.digest();
        self.state()
    }

    /// The state, which is the latest output, too.
    pub(super) fn state(self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_le_bytes())
    }
}
