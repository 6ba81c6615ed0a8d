//! Replicas that disagree are found (design D7): digests at common positions are compared, and the majority's counts.

use std::collections::BTreeMap;

use super::{Output, Replica};
use crate::RaftId;
use crate::digest::Digest;
use crate::transport::Checkpoint;

/// At how many positions digests are remembered; the lowest go first.
const POSITIONS_MAX: usize = 128;
/// How many rebuilds that end the same way a node tries.
const REBUILDS_MAX: u32 = 2;

/// A digest, and the last decision that it rests on.
type Said = (Digest, u64);

/// Who has which digest where.
#[derive(Debug, Default)]
pub(super) struct Divergence {
    said: BTreeMap<u64, BTreeMap<RaftId, Said>>,
    /// The highest position at which this node was found to differ, until it agrees there or behind.
    odd_position: Option<u64>,
    /// How often it was rebuilt for that.
    rebuilds: u32,
    /// The predictor's present life has been judged.
    is_judged: bool,
    /// The nodes differ and no value has a majority.
    no_majority: bool,
}

/// What the digests at one position say about this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is with the majority.
    Agrees,
    /// A majority has another value.
    Odd,
    /// Values differ, and none has a majority.
    Split,
    /// Too little is known.
    Open,
}

impl Divergence {
    /// This node's predictor begins anew: what it said before does not count.
    pub(super) fn begins_anew(&mut self, own: RaftId) {
        self.said.retain(|_, said| {
            said.remove(&own);
            !said.is_empty()
        });
        self.is_judged = false;
    }

    /// An incarnation says which digests it has.
    pub(super) fn note(&mut self, id: RaftId, checkpoints: &[Checkpoint], decided_index: u64) {
        for Checkpoint { position, digest } in checkpoints.iter().filter(|checkpoint| checkpoint.position > 0)
        {
            self.said.entry(*position).or_default().insert(id, (*digest, decided_index));
        }
        while self.said.len() > POSITIONS_MAX {
            self.said.pop_first();
        }
    }

    fn judge(said: &BTreeMap<RaftId, Said>, own: RaftId, voters: &[RaftId]) -> Verdict {
        let Some((digest, decided_index)) = said.get(&own) else { return Verdict::Open };
        let comparable = voters.iter().filter_map(|id| said.get(id)).filter(|said| said.1 == *decided_index);
        let mut counts = BTreeMap::<Digest, usize>::new();
        comparable.for_each(|(digest, _)| *counts.entry(*digest).or_default() += 1);
        let majority = voters.len() / 2 + 1;
        match counts.iter().find(|(_, count)| **count >= majority) {
            Some((value, _)) if value == digest => Verdict::Agrees,
            Some(_) => Verdict::Odd,
            None if counts.len() > 1 || counts.keys().any(|value| value != digest) => Verdict::Split,
            None => Verdict::Open,
        }
    }

    /// Whether this node differs from a majority.
    pub(super) fn is_odd(&self) -> bool {
        self.odd_position.is_some()
    }

    /// Whether rebuilding did not help.
    pub(super) fn has_given_up(&self) -> bool {
        self.odd_position.is_some() && self.rebuilds > REBUILDS_MAX
    }
}

impl Replica {
    pub(super) fn look_at_digests(&mut self, outputs: &mut Vec<Output>) {
        let (own, voters) = (self.config.own.raft_id, self.membership.voters.as_slice());
        let divergence = &mut self.divergence;
        let verdicts =
            divergence.said.iter().map(|(position, said)| (*position, Divergence::judge(said, own, voters)));
        let verdicts: Vec<_> = verdicts.filter(|(_, verdict)| *verdict != Verdict::Open).collect();
        let highest = |wanted| {
            let found = verdicts.iter().rev().find(|(_, verdict)| *verdict == wanted);
            found.map(|(position, _)| *position)
        };
        let (agrees, odd) = (highest(Verdict::Agrees), highest(Verdict::Odd));
        // A digest covers all before it: where this node agrees, it agreed all the way.
        divergence.no_majority = highest(Verdict::Split) > agrees.max(odd);
        if agrees > odd {
            if agrees >= divergence.odd_position && divergence.odd_position.take().is_some() {
                divergence.rebuilds = 0;
                log::info!("the digest is that of the majority again");
            }
            return;
        }
        let Some(position) = odd.filter(|_| !divergence.is_judged) else { return };
        divergence.is_judged = true;
        divergence.odd_position = divergence.odd_position.max(Some(position));
        divergence.rebuilds += 1;
        outputs.push(Output::Diverged { position, rebuild: divergence.rebuilds <= REBUILDS_MAX });
    }

    /// Whether this node's digest differs from that of a majority: it must not serve snapshots.
    pub fn is_diverged(&self) -> bool {
        self.divergence.is_odd()
    }

    /// Whether this node differs from a majority and was rebuilt for that as often as it is tried.
    pub fn stays_diverged(&self) -> bool {
        self.divergence.has_given_up()
    }

    /// Whether digests differ and none has a majority: nobody can say who is right.
    pub fn digests_disagree(&self) -> bool {
        self.divergence.no_majority
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    fn id(node: u16) -> RaftId {
        RaftId::new(NodeId(node), 1)
    }

    fn judge(values: &[Option<(u128, u64)>]) -> Verdict {
        let voters: Vec<RaftId> = (0..values.len() as u16).map(id).collect();
        let said = values.iter().zip(&voters).filter_map(|(value, id)| {
            value.map(|(digest, decided_index)| (*id, (Digest(digest), decided_index)))
        });
        Divergence::judge(&said.collect(), id(0), &voters)
    }

    #[test]
    fn the_majority_names_the_odd_one() {
        assert_eq!(judge(&[Some((1, 0)), Some((2, 0)), Some((2, 0))]), Verdict::Odd);
        assert_eq!(judge(&[Some((1, 0)), Some((2, 0)), Some((1, 0))]), Verdict::Agrees);
        assert_eq!(judge(&[Some((1, 0)), Some((2, 0)), Some((3, 0))]), Verdict::Split);
        assert_eq!(judge(&[Some((1, 0)), Some((2, 0)), None]), Verdict::Split);
        assert_eq!(judge(&[Some((1, 0)), Some((2, 0))]), Verdict::Split);
        assert_eq!(judge(&[Some((1, 0)), None, None]), Verdict::Open);
        assert_eq!(judge(&[None, Some((2, 0)), Some((2, 0))]), Verdict::Open);
        assert_eq!(judge(&[Some((1, 0))]), Verdict::Agrees);
    }

    #[test]
    fn digests_that_rest_on_other_decisions_are_not_compared() {
        assert_eq!(judge(&[Some((1, 0)), Some((2, 7)), Some((2, 7))]), Verdict::Open);
        assert_eq!(judge(&[Some((1, 7)), Some((2, 7)), Some((2, 7))]), Verdict::Odd);
    }

    #[test]
    fn what_was_said_before_a_rebuild_does_not_count() {
        let mut divergence = Divergence::default();
        let at = |position, digest| [Checkpoint { position, digest: Digest(digest) }];
        divergence.note(id(0), &at(5, 1), 0);
        divergence.note(id(1), &at(5, 2), 0);
        divergence.begins_anew(id(0));
        assert_eq!(divergence.said[&5].len(), 1);
        for position in 1..1_000 {
            divergence.note(id(1), &at(position, 3), 0);
        }
        assert_eq!(divergence.said.len(), POSITIONS_MAX);
    }
}
