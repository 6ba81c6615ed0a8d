//! The models that the simulated nodes serve. Boat's own runs have a hash chain, so that a swap, a gap or a repeat shows in
//! every later output; [`testing`](crate::testing) puts its user's model in that place.

use std::fmt::Debug;

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::{Call, CallOutcome};

/// A model that a simulated node serves.
pub(crate) trait Served: Debug {
    /// Runs one call. The error says how the model broke: what it left of its state is not to be trusted.
    fn predict(&mut self, call: &Call) -> Result<CallOutcome, String>;

    /// The state, as it stands in a snapshot.
    fn to_bytes(&self) -> Vec<u8>;

    /// What a read shows: the same for equal states, and another for others.
    fn state(&self) -> Bytes;

    /// From here on nothing is as it is elsewhere.
    fn taint(&mut self);
}

/// Where a run's models come from, and what they are asked.
pub(crate) trait Models: Debug {
    /// A model that has seen no request.
    fn fresh(&self) -> Box<dyn Served>;

    /// The model whose state these bytes are. The error says why they are none.
    fn restored(&self, bytes: &[u8]) -> Result<Box<dyn Served>, String>;

    /// The body of a request with this number, which is drawn.
    fn body(&self, number: u64) -> Bytes;
}

/// Hash chains, and requests that are numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct HashChains;

impl Models for HashChains {
    fn fresh(&self) -> Box<dyn Served> {
        Box::new(HashChain::default())
    }

    fn restored(&self, bytes: &[u8]) -> Result<Box<dyn Served>, String> {
        let state = bytes.try_into().map_err(|_| format!("{} bytes are no hash", bytes.len()))?;
        Ok(Box::new(HashChain(u64::from_le_bytes(state))))
    }

    fn body(&self, number: u64) -> Bytes {
        Bytes::from(format!("{{\"n\":{number}}}"))
    }
}

/// A model whose outputs depend on everything it has seen.
#[derive(Debug, Default)]
struct HashChain(u64);

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

impl Served for HashChain {
    fn predict(&mut self, call: &Call) -> Result<CallOutcome, String> {
        let mut hasher = Xxh3::new();
        for word in [self.0, call.position, call.time_ms, call.seed] {
            hasher.update(&word.to_le_bytes());
        }
        hasher.update(&call.body);
        self.0 = hasher.digest();
        Ok(CallOutcome::Output(self.state()))
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    /// The latest output.
    fn state(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.to_le_bytes())
    }

    fn taint(&mut self) {
        self.0 ^= 1;
    }
}
