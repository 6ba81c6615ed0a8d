//! Digests that are remembered, to be compared with those of other nodes (design D7).

use std::collections::VecDeque;

use crate::digest::Digest;
use crate::transport::Checkpoint;

/// The distances of the checkpoints are powers of two, with these exponents: nodes that are far apart, or apply much in the
/// time between two reports, still meet at some.
const EXPONENTS: [u32; 4] = [8, 12, 16, 20];
/// How many are remembered of each distance.
const REMEMBERED_MAX: usize = 8;

/// The digests after the latest multiples of some distances.
#[derive(Debug, Clone, Default)]
pub struct Checkpoints {
    latest: Checkpoint,
    multiples: [VecDeque<Checkpoint>; EXPONENTS.len()],
}

impl Checkpoints {
    /// The digest after one more position.
    #[inline]
    pub(super) fn note(&mut self, position: u64, digest: Digest) {
        self.latest = Checkpoint { position, digest };
        if position.trailing_zeros() >= EXPONENTS[0] {
            self.remember();
        }
    }

    fn remember(&mut self) {
        let zeros = self.latest.position.trailing_zeros();
        let levels = self.multiples.iter_mut().zip(EXPONENTS);
        for (multiples, _) in levels.filter(|(_, exponent)| zeros >= *exponent) {
            if multiples.len() >= REMEMBERED_MAX {
                multiples.pop_front();
            }
            multiples.push_back(self.latest);
        }
    }

    /// Becomes a copy of `other`, of which this is a copy from earlier on: most batches bring nothing but another latest.
    pub(crate) fn follow(&mut self, other: &Checkpoints) {
        self.latest = other.latest;
        // Every multiple is one of the shortest distance, too.
        let [shortest, ..] = &other.multiples;
        if self.multiples[0].back() != shortest.back() {
            self.multiples.clone_from(&other.multiples);
        }
    }

    /// The latest of each distance, and the latest of all: what is told to others.
    pub fn latest(&self) -> Vec<Checkpoint> {
        let multiples = self.multiples.iter().filter_map(|multiples| multiples.back().copied());
        multiples.chain([self.latest]).collect()
    }

    /// All that are remembered.
    pub fn all(&self) -> Vec<Checkpoint> {
        self.multiples.iter().flatten().copied().chain([self.latest]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::CHECKPOINTS_MAX;

    #[test]
    fn the_latest_multiples_of_each_distance_are_remembered() {
        let mut checkpoints = Checkpoints::default();
        (1..=(1 << 16) + 300).for_each(|position| checkpoints.note(position, Digest(u128::from(position))));
        let positions =
            |all: Vec<Checkpoint>| all.iter().map(|checkpoint| checkpoint.position).collect::<Vec<_>>();
        assert_eq!(positions(checkpoints.latest()), [(1 << 16) + 256, 1 << 16, 1 << 16, (1 << 16) + 300]);
        assert!(checkpoints.latest().len() <= CHECKPOINTS_MAX);
        let all = checkpoints.all();
        assert!(all.iter().all(|checkpoint| checkpoint.digest == Digest(u128::from(checkpoint.position))));
        assert!(positions(all).contains(&(7 << 12)) || checkpoints.all().len() > REMEMBERED_MAX);
    }

    #[test]
    fn who_follows_has_the_same_whether_a_multiple_was_added_or_not() {
        let (mut checkpoints, mut copy) = (Checkpoints::default(), Checkpoints::default());
        for position in 1..=(1 << 14) {
            checkpoints.note(position, Digest(u128::from(position)));
            if position % 100 == 0 {
                copy.follow(&checkpoints);
                assert_eq!(copy.all(), checkpoints.all());
            }
        }
    }
}
