//! Which lives of containers have been seen: a model that keeps state must come to each life of an engine fresh.
//!
//! A container that was cut off connects again by itself, with its old memory, and nothing in Clipper's protocol tells it from
//! a fresh one. But a ZeroMQ socket may give itself an identity, which survives its reconnecting and which Clipper's frontend
//! does not mind: Boat's containers draw a new one for each fresh model. An identity that has been here before is old memory.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

/// How many identities are remembered. Each takes a connection of somebody's, one after another.
const IDENTITIES_MAX: usize = 65_536;

/// The identities seen by an engine, whatever restarts lie between.
#[derive(Debug, Default)]
pub(super) struct Lives {
    restarts: u64,
    seen: BTreeSet<Bytes>,
    order: VecDeque<Bytes>,
}

impl Lives {
    /// The engine has been made fresh.
    pub(super) fn restarted(&mut self) {
        self.restarts += 1;
    }

    /// A container with this identity wants to serve. The error says why its model may not be fresh.
    pub(super) fn begin(&mut self, identity: &Bytes) -> Result<(), &'static str> {
        if identity.is_empty() {
            return match self.restarts {
                0 => Ok(()),
                _ => Err(
                    "a container without an identity cannot show that it has started since: restart this process too",
                ),
            };
        }
        if !self.seen.insert(identity.clone()) {
            return Err("this container has been here before: it comes back with its old memory");
        }
        self.order.push_back(identity.clone());
        if self.order.len() > IDENTITIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_lives_once_and_a_nameless_one_in_the_first_life_only() {
        let mut lives = Lives::default();
        assert_eq!(lives.begin(&Bytes::from_static(b"a")), Ok(()));
        assert!(lives.begin(&Bytes::from_static(b"a")).unwrap_err().contains("old memory"));
        assert_eq!(lives.begin(&Bytes::new()), Ok(()));
        lives.restarted();
        assert!(lives.begin(&Bytes::new()).unwrap_err().contains("without an identity"));
        assert!(lives.begin(&Bytes::from_static(b"a")).is_err());
        assert_eq!(lives.begin(&Bytes::from_static(b"b")), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lives = Lives::default();
        for n in 0..IDENTITIES_MAX + 5 {
            lives.begin(&n.to_string().into()).unwrap();
        }
        assert_eq!((lives.seen.len(), lives.order.len()), (IDENTITIES_MAX, IDENTITIES_MAX));
    }
}
