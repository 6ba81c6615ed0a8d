//! The membership (promise S11): all agree on what it is as of an entry, majorities of successive memberships overlap,
//! what was removed campaigns no more once those who could vote for it know, a node that hears nothing raises the term once
//! at most, and what was refused for certain is never in force.

use std::collections::{BTreeMap, BTreeSet};

use super::super::context::Checked;
use super::require;
use super::votes::is_in_own_term;
use crate::log::{EntryKind, LogEntry};
use crate::replica::OperationResult;
use crate::transport::{ConsensusKind, ConsensusMessage, PeerMessage};
use crate::{Membership, OperationToken, RaftId};

const AGREE: &str = "promise S11: all agree on the membership";
const OVERLAP: &str = "promise S11: majorities of successive memberships overlap";
const REMOVED: &str = "promise S11: who was removed raises no term";
const NEVER_BACK: &str = "promise S11: who was removed never comes back";
const ISOLATED: &str = "promise S11: who hears nothing raises the term once at most";
const REFUSED: &str = "promise S7: a refused operation is not carried out";
/// How long what was sent before a removal was known everywhere may be under way.
const UNDER_WAY_MS: u64 = 20_000;

/// What a process has to do with terms.
#[derive(Debug)]
struct Terms {
    latest: u64,
    /// The highest that it was told. It may come to that some time later: once a snapshot is there.
    told: u64,
    /// Whether it has heard from anybody since it raised the term by itself.
    heard: bool,
}

/// What was seen of memberships.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    by_index: BTreeMap<u64, Membership>,
    /// Up to where each incarnation has applied memberships.
    applied: BTreeMap<RaftId, u64>,
    refused: BTreeSet<OperationToken>,
    terms: BTreeMap<RaftId, Terms>,
    /// The last membership change in each incarnation's log.
    written: BTreeMap<RaftId, u64>,
    /// Since when all who could vote for a removed incarnation know that it was removed.
    closed_ms: BTreeMap<RaftId, u64>,
}

impl Memberships {
    /// A process starts from this membership, or takes it into force.
    pub(super) fn applied(&mut self, id: RaftId, membership: &Membership, now_ms: u64) -> Checked {
        let index = membership.index;
        let first = self.by_index.entry(index).or_insert_with(|| membership.clone());
        require(first == membership, AGREE, || {
            format!("as of {index}: {first:?}, and at {id}: {membership:?}")
        })?;
        self.applied.insert(id, index);
        if let Some((_, before)) = self.by_index.range(..index).next_back() {
            require(overlap(before, membership), OVERLAP, || format!("{before:?}, then {membership:?}"))?;
        }
        let back = membership.members.keys().find(|id| membership.removed.contains(id));
        require(back.is_none(), NEVER_BACK, || format!("{back:?} is a member again as of {index}"))?;
        let tokens: BTreeSet<_> = membership.tokens.iter().collect();
        require(tokens.len() == membership.tokens.len(), REFUSED, || format!("twice: {membership:?}"))?;
        let refused = membership.tokens.iter().find(|token| self.refused.contains(token));
        require(refused.is_none(), REFUSED, || {
            format!("{refused:?} was refused, and is in force as of {index}")
        })?;
        self.close(now_ms);
        Ok(())
    }

    /// Looks which removed incarnations nobody can vote for any more.
    fn close(&mut self, now_ms: u64) {
        let mut former: Option<&Membership> = None;
        let mut closed = Vec::new();
        for (index, membership) in &self.by_index {
            for gone in membership.removed.iter().filter(|gone| !self.closed_ms.contains_key(gone)) {
                let voters = former.map(|former| former.voters.as_slice()).unwrap_or_default();
                let mut others = voters.iter().filter(|voter| *voter != gone);
                if others.all(|voter| self.applied.get(voter).is_some_and(|known| known >= index)) {
                    closed.push(*gone);
                }
            }
            former = Some(membership);
        }
        self.closed_ms.extend(closed.into_iter().map(|gone| (gone, now_ms)));
    }

    /// What became of an operation.
    pub(super) fn operated(&mut self, token: OperationToken, result: &OperationResult) -> Checked {
        if !matches!(result, OperationResult::Refused(_)) {
            return Ok(());
        }
        let latest = self.by_index.last_key_value();
        let in_force = latest.is_some_and(|(_, membership)| membership.tokens.contains(&token));
        require(!in_force, REFUSED, || format!("{token:?} is refused, and in force"))?;
        self.refused.insert(token);
        Ok(())
    }

    /// An incarnation's log gets these entries, in place of what stood there and behind.
    pub(super) fn writing(&mut self, id: RaftId, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        let last = self.written.remove(&id).filter(|last| *last < first.index);
        let changes = entries.iter().filter(|entry| entry.kind == EntryKind::MembershipChange);
        let last = changes.map(|entry| entry.index).next_back().or(last);
        self.written.extend(last.map(|last| (id, last)));
    }

    /// Whether a member's log holds a change that may be committed, and is not in force.
    pub(super) fn is_change_under_way(&self, latest: &Membership) -> bool {
        let written = latest.members.keys().filter_map(|id| self.written.get(id));
        written.max().is_some_and(|last| *last > latest.index)
    }

    /// A process begins.
    pub(super) fn opened(&mut self, id: RaftId, term: u64) {
        self.terms.insert(id, Terms { latest: term, told: term, heard: true });
    }

    /// An incarnation hears this from a peer.
    pub(super) fn heard(&mut self, id: RaftId, message: &PeerMessage) {
        let term = match message {
            // What is said of pre-votes is of a term that may never be, unless it is a refusal.
            PeerMessage::Consensus(message) if is_in_own_term(message) || message.reject => message.term,
            PeerMessage::Consensus(_) => 0,
            // Raft hears of it once the snapshot is there.
            PeerMessage::SnapshotOffer(offer) => offer.term,
            _ => return,
        };
        if let Some(terms) = self.terms.get_mut(&id) {
            terms.told = terms.told.max(term);
            terms.heard = true;
        }
    }

    /// An incarnation has taken an input.
    pub(super) fn stepped(&mut self, id: RaftId, term: u64) -> Checked {
        let Some(terms) = self.terms.get_mut(&id).filter(|terms| terms.latest != term) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut terms.latest, term);
        if term <= terms.told {
            return Ok(());
        }
        require(std::mem::replace(&mut terms.heard, false), ISOLATED, || {
            format!("{id} raises {before}, then {term}")
        })
    }

    /// An incarnation sends this.
    pub(super) fn sent(&mut self, message: &PeerMessage, now_ms: u64) -> Checked {
        let PeerMessage::Consensus(message) = message else { return Ok(()) };
        let ConsensusMessage { kind: ConsensusKind::RequestVote, from, term, .. } = **message else {
            return Ok(());
        };
        let closed_ms = self.closed_ms.get(&from).copied();
        require(closed_ms.is_none_or(|closed| now_ms <= closed + UNDER_WAY_MS), REMOVED, || {
            format!("{from} campaigns in term {term} at {now_ms} ms, all have known since {closed_ms:?} ms")
        })
    }
}

/// Whether every quorum of one membership meets every quorum of the other.
fn overlap(before: &Membership, after: &Membership) -> bool {
    let all: BTreeSet<RaftId> = [before, after]
        .into_iter()
        .flat_map(|membership| membership.voters.iter().chain(&membership.voters_outgoing))
        .copied()
        .collect();
    let quorum = |membership: &Membership, inside: &dyn Fn(&RaftId) -> bool| {
        [&membership.voters, &membership.voters_outgoing].into_iter().all(|voters| {
            voters.is_empty() || voters.iter().filter(|id| inside(id)).count() > voters.len() / 2
        })
    };
    let places: BTreeMap<RaftId, u32> = all.into_iter().zip(0..).collect();
    // Two disjoint quorums would leave one of them within any set and the other within its complement.
    (0_u32..1 << places.len().min(16)).all(|set| {
        let inside = |id: &RaftId| places.get(id).is_some_and(|place| set >> place & 1 == 1);
        !(quorum(before, &inside) && quorum(after, &|id| !inside(id)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(voters: &[u64], outgoing: &[u64]) -> Membership {
        let ids = |ids: &[u64]| ids.iter().copied().map(RaftId).collect();
        Membership { voters: ids(voters), voters_outgoing: ids(outgoing), ..Membership::default() }
    }

    #[test]
    fn one_voter_more_or_less_overlaps_and_two_at_once_only_jointly() {
        assert!(overlap(&membership(&[1, 2, 3], &[]), &membership(&[1, 2, 3, 4], &[])));
        assert!(overlap(&membership(&[1, 2, 3], &[]), &membership(&[1, 2], &[])));
        assert!(!overlap(&membership(&[1], &[]), &membership(&[2], &[])));
        assert!(!overlap(&membership(&[1, 2, 3], &[]), &membership(&[1, 4, 5], &[])));
        assert!(overlap(&membership(&[1, 2, 3], &[]), &membership(&[1, 4, 5], &[1, 2, 3])));
        assert!(overlap(&membership(&[1, 4, 5], &[1, 2, 3]), &membership(&[1, 4, 5], &[])));
    }

    #[test]
    fn a_change_is_under_way_until_it_is_in_force_or_overwritten() {
        let entry = |index, kind| LogEntry { index, term: 1, kind, data: bytes::Bytes::new() };
        let (change, normal) = (EntryKind::MembershipChange, EntryKind::Normal);
        let mut memberships = Memberships::default();
        memberships.writing(RaftId(1), &[entry(1, normal), entry(2, change), entry(3, normal)]);
        memberships.writing(RaftId(1), &[entry(4, normal)]);
        memberships.writing(RaftId(9), &[entry(8, change)]);
        let raft_id = RaftId(1);
        let member = crate::Member { raft_id, birth: crate::Birth(1), address: String::new() };
        let members = BTreeMap::from([(raft_id, member)]);
        let latest = |index| Membership { index, members: members.clone(), ..Membership::default() };
        assert!(memberships.is_change_under_way(&latest(0)));
        assert!(!memberships.is_change_under_way(&latest(2)));
        memberships.writing(RaftId(1), &[entry(2, normal)]);
        assert!(!memberships.is_change_under_way(&latest(0)), "another leader's entry stands there");
    }
}
