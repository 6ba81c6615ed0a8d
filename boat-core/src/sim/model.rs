//! The model that the simulated nodes serve: a hash chain, so that a swap, a gap or a repeat shows in every later output.

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

/// A model whose outputs depend on everything it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct HashChain(u64);

impl HashChain {
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
