//! What belongs to requests, found by what recognizes them.

use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use super::RequestId;

#[expect(
    clippy::disallowed_types,
    reason = "its order never shows: whatever comes out comes in the order of the requests"
)]
type Hashed<V> = std::collections::HashMap<RequestId, V, RandomState>;

/// A map from requests. Hashed, for each request is looked up several times on its way; the hash is seeded, for clients choose keys.
/// Its order differs from run to run, so nothing that comes out of it comes in its order.
#[derive(Debug)]
pub(crate) struct RequestMap<V>(Hashed<V>);

impl<V> Default for RequestMap<V> {
    fn default() -> Self {
        RequestMap(Hashed::default())
    }
}

impl<V> RequestMap<V> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, id: &RequestId) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn get_mut(&mut self, id: &RequestId) -> Option<&mut V> {
        self.0.get_mut(id)
    }

    pub(crate) fn entry(&mut self, id: RequestId) -> Entry<'_, RequestId, V> {
        self.0.entry(id)
    }

    pub(crate) fn remove(&mut self, id: &RequestId) -> Option<V> {
        self.0.remove(id)
    }

    /// Whether `is_meant` says so of any.
    pub(crate) fn any(&self, is_meant: impl FnMut(&RequestId) -> bool) -> bool {
        self.0.keys().any(is_meant)
    }

    /// Drops those that `keeps` does not want kept.
    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&mut V) -> bool) {
        self.0.retain(|_, value| keeps(value));
    }

    /// Shows each, and gives those of which `select` says something, in order.
    pub(crate) fn select<T>(&mut self, mut select: impl FnMut(&mut V) -> Option<T>) -> Vec<(RequestId, T)> {
        let selected = self.0.iter_mut().filter_map(|(id, value)| Some((id.clone(), select(value)?)));
        in_order(selected.collect())
    }

    /// Takes all out, in order.
    pub(crate) fn take_all(&mut self) -> Vec<(RequestId, V)> {
        in_order(self.0.drain().collect())
    }
}

fn in_order<T>(mut pairs: Vec<(RequestId, T)>) -> Vec<(RequestId, T)> {
    pairs.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_comes_in_order() {
        let mut map = RequestMap::default();
        for number in (0..1_000).rev() {
            map.entry(RequestId::Opening(number)).or_insert(number);
        }
        let odd = map.select(|number| (*number % 2 == 1).then_some(*number));
        assert!(odd.iter().map(|(_, number)| *number).eq((1..1_000).step_by(2)));
        map.retain(|number| *number < 10);
        assert!(map.any(|id| *id == RequestId::Opening(9)) && !map.contains(&RequestId::Opening(10)));
        assert!(map.take_all().into_iter().map(|(_, number)| number).eq(0..10));
        assert!(map.is_empty());
    }
}
