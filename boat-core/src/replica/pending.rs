//! Requests that wait for their outcome on this node: proposed, forwarded, or not yet sent anywhere.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::request_map::RequestMap;
use crate::command::Packed;
use crate::digest::RequestHash;
use crate::transport::ForwardRefusal;
use crate::{NodeId, Origin, SessionRequest};

/// How long a forwarded request waits before it is forwarded again, in ticks: messages may be lost.
const FORWARD_AGAIN_TICKS: u64 = 25;
/// The lower bits of a ticket count forwards; the upper ones are drawn at each start.
const TICKET_COUNT_BITS: u32 = 40;

/// What recognizes a request wherever it is applied: whose it is, and what it says. Another request under the same key is
/// another request; whoever waits for this one must not get that one's answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestId {
    /// An opening, by its random number.
    Opening(u64),
    /// A request of a session.
    Session(SessionRequest, RequestHash),
    /// A request under a key.
    Key(Bytes, RequestHash),
}

impl RequestId {
    /// The identity of a request of this origin and [`Request::hash`](crate::Request::hash).
    pub fn of(origin: &Origin, hash: RequestHash) -> RequestId {
        match origin {
            Origin::Opening(nonce) => RequestId::Opening(*nonce),
            Origin::Session { request, .. } => RequestId::Session(*request, hash),
            Origin::Key(key) => RequestId::Key(key.clone(), hash),
        }
    }
}

/// Why a waiting request got no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no leader, and it never left this node. Definite.
    NoLeader,
    /// The leader had too much to do, and it was not proposed. Definite.
    Overloaded,
    /// The leader's disk was nearly full, and it was not proposed. Definite.
    DiskFull,
    /// Its time is over; it may yet be applied.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Nowhere,
    /// Proposed here.
    Proposed,
    /// Forwarded, at this tick.
    Forwarded {
        tick: u64,
    },
}

#[derive(Debug)]
struct Waiting {
    encoded: Bytes,
    deadline_tick: u64,
    leader_deadline_tick: u64,
    sent: Sent,
    /// How often it left this node with an unknown fate.
    attempts: u32,
    /// The ticket of its latest forward, until that is refused.
    ticket: Option<u64>,
}

/// The requests of this node, and those that others forwarded to it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: RequestMap<Waiting>,
    /// Requests that are to be sent, oldest first. May name some that are answered already.
    idle: VecDeque<RequestId>,
    by_ticket: BTreeMap<u64, RequestId>,
    next_ticket: u64,
    /// The last ticket that each node showed.
    shown: BTreeMap<NodeId, u64>,
    /// What was last taken to propose; kept for its room.
    packed: Packed,
    /// Encoded requests of other nodes, to be proposed here.
    forwarded: VecDeque<Bytes>,
    forwarded_bytes: usize,
}

impl Pending {
    /// Nothing waits. `random` tells the tickets of this start from those of earlier ones.
    pub(super) fn new(random: u64) -> Self {
        Pending { next_ticket: random << TICKET_COUNT_BITS, ..Pending::default() }
    }

    /// Takes a request of this node. A request that waits already waits up to the later deadline, and is sent once more: who
    /// asks again may have seen the first answer, so that no other comes.
    pub(super) fn accept(
        &mut self,
        id: RequestId,
        encoded: Bytes,
        deadline_tick: u64,
        leader_deadline_tick: u64,
    ) {
        let sent = Sent::Nowhere;
        match self.waiting.entry(id.clone()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.deadline_tick = known.deadline_tick.max(deadline_tick);
                if known.sent != sent {
                    known.sent = sent;
                    self.idle.push_back(id);
                }
            }
            Entry::Vacant(place) => {
                let (attempts, ticket) = (0, None);
                place.insert(Waiting {
                    encoded,
                    deadline_tick,
                    leader_deadline_tick,
                    sent,
                    attempts,
                    ticket,
                });
                self.idle.push_back(id);
            }
        }
    }

    /// Whether a node shows this ticket for the first time. Links may repeat messages: if one copy of a forward were taken
    /// and another refused, its sender would hold for certain that it was not proposed. One that was overtaken counts as
    /// shown, too: it is forwarded again under another ticket.
    pub(super) fn is_fresh(&mut self, from: NodeId, ticket: u64) -> bool {
        let last = self.shown.insert(from, ticket);
        let of_same_start = |last: u64| last >> TICKET_COUNT_BITS == ticket >> TICKET_COUNT_BITS;
        match last.filter(|last| of_same_start(*last) && *last >= ticket) {
            None => true,
            Some(last) => {
                self.shown.insert(from, last);
                false
            }
        }
    }

    /// Takes a request that another node forwarded. False: there is no room.
    pub(super) fn accept_forwarded(&mut self, encoded: Bytes, bytes_max: usize) -> bool {
        if self.forwarded_bytes + encoded.len() > bytes_max {
            return false;
        }
        self.forwarded_bytes += encoded.len();
        self.forwarded.push_back(encoded);
        true
    }

    /// Gives up the requests of other nodes: this one does not lead any more. They forward again.
    pub(super) fn drop_forwarded(&mut self) {
        self.forwarded.clear();
        self.forwarded_bytes = 0;
    }

    /// An outcome is there.
    pub(super) fn answered(&mut self, id: &RequestId) {
        if let Some(Waiting { ticket: Some(ticket), .. }) = self.waiting.remove(id) {
            self.by_ticket.remove(&ticket);
        }
    }

    /// Leader or term changed: whatever was sent may be lost.
    pub(super) fn send_all_again(&mut self) {
        let again = self.waiting.select(|waiting| {
            waiting.sent = Sent::Nowhere;
            Some(())
        });
        self.idle = again.into_iter().map(|(id, ())| id).collect();
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty() || !self.forwarded.is_empty()
    }

    /// Takes requests to propose, up to `bytes_max` bytes of them together but at least one, if there are any. Those of this node
    /// are copied: they wait on, and may have to be sent again.
    pub(super) fn take_to_propose(&mut self, bytes_max: usize) -> Option<&Packed> {
        self.packed.clear();
        // Others' requests first: they have waited for a network hop already.
        while let Some(next) = self.forwarded.front()
            && self.packed.push(next, bytes_max)
        {
            self.forwarded_bytes -= next.len();
            self.forwarded.pop_front();
        }
        while self.forwarded.is_empty()
            && let Some(id) = self.idle.front()
        {
            if let Some(waiting) = self.waiting.get_mut(id) {
                if !self.packed.push(&waiting.encoded, bytes_max) {
                    break;
                }
                waiting.sent = Sent::Proposed;
                waiting.attempts += 1;
            }
            self.idle.pop_front();
        }
        (!self.packed.is_empty()).then_some(&self.packed)
    }

    /// Takes the requests to forward, with their tickets.
    pub(super) fn take_to_forward(&mut self, tick: u64) -> Vec<(u64, Bytes)> {
        let mut taken = Vec::new();
        for id in std::mem::take(&mut self.idle) {
            if let Some(waiting) = self.waiting.get_mut(&id) {
                waiting.sent = Sent::Forwarded { tick };
                waiting.attempts += 1;
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                if let Some(former) = waiting.ticket.replace(ticket) {
                    self.by_ticket.remove(&former);
                }
                self.by_ticket.insert(ticket, id);
                taken.push((ticket, waiting.encoded.clone()));
            }
        }
        taken
    }

    /// A forward came back unproposed: nothing happened that time. Only the latest one of a request counts, and once: the
    /// message may come again.
    pub(super) fn refused(&mut self, ticket: u64, reason: ForwardRefusal) -> Option<(RequestId, Failure)> {
        let id = self.by_ticket.remove(&ticket)?;
        let waiting = self.waiting.get_mut(&id)?;
        waiting.ticket = None;
        waiting.attempts = waiting.attempts.saturating_sub(1);
        let failure = match reason {
            // Tried again by `overdue`, not at once: the one who refused is likely to do so again.
            ForwardRefusal::NotLeader => return None,
            ForwardRefusal::Overloaded => Failure::Overloaded,
            ForwardRefusal::DiskFull => Failure::DiskFull,
        };
        if waiting.attempts > 0 {
            return None;
        }
        self.answered(&id);
        Some((id, failure))
    }

    /// What is too late now, and what is to be sent again. `waits_in_vain`: no leader is going to be known here.
    pub(super) fn overdue(
        &mut self,
        tick: u64,
        has_leader: bool,
        waits_in_vain: bool,
    ) -> Vec<(RequestId, Failure)> {
        let overdue = self.waiting.select(|waiting| {
            let unsent = waiting.attempts == 0;
            let no_leader = unsent && !has_leader && (waits_in_vain || tick >= waiting.leader_deadline_tick);
            if tick >= waiting.deadline_tick || no_leader {
                return Some(Some(if unsent { Failure::NoLeader } else { Failure::Unknown }));
            }
            let Sent::Forwarded { tick: at } = waiting.sent else { return None };
            (tick >= at + FORWARD_AGAIN_TICKS).then(|| {
                waiting.sent = Sent::Nowhere;
                None
            })
        });
        let mut failed = Vec::new();
        for (id, failure) in overdue {
            match failure {
                Some(failure) => failed.push((id, failure)),
                None => self.idle.push_back(id),
            }
        }
        failed.iter().for_each(|(id, _)| self.answered(id));
        if !failed.is_empty() {
            self.idle.retain(|id| self.waiting.contains(id));
        }
        failed
    }

    /// Everything that waits, to be answered at the end.
    pub(super) fn drain(&mut self) -> Vec<(RequestId, Failure)> {
        self.idle.clear();
        self.by_ticket.clear();
        let fate = |waiting: &Waiting| match waiting.attempts {
            0 => Failure::NoLeader,
            _ => Failure::Unknown,
        };
        self.waiting.take_all().into_iter().map(|(id, waiting)| (id, fate(&waiting))).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The node that a raft id belongs to, where there is one.
pub(super) fn leader_node(leader: u64) -> Option<NodeId> {
    if leader == raft::INVALID_ID { None } else { Some(crate::RaftId(leader).node()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Pending {
        let mut pending = Pending::new(3);
        pending.accept(RequestId::Opening(1), Bytes::from_static(b"x"), 100, 50);
        pending
    }

    #[test]
    fn a_refusal_counts_once_and_only_for_the_latest_forward() {
        let mut pending = waiting();
        let (first, _) = pending.take_to_forward(0)[0];
        pending.overdue(FORWARD_AGAIN_TICKS, true, false);
        let (second, _) = pending.take_to_forward(FORWARD_AGAIN_TICKS)[0];
        assert_ne!(first, second);
        for ticket in [first, second, second] {
            assert_eq!(
                pending.refused(ticket, ForwardRefusal::Overloaded),
                None,
                "the first forward's fate is unknown"
            );
        }
        assert_eq!(pending.overdue(100, true, false), [(RequestId::Opening(1), Failure::Unknown)]);
    }

    #[test]
    fn a_single_forward_that_is_refused_was_not_proposed() {
        let mut pending = waiting();
        let (ticket, _) = pending.take_to_forward(0)[0];
        assert_eq!(
            pending.refused(ticket, ForwardRefusal::Overloaded),
            Some((RequestId::Opening(1), Failure::Overloaded))
        );
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn a_repeated_or_overtaken_forward_is_not_looked_at_again() {
        let mut pending = Pending::new(0);
        let (first_start, second_start) = (7 << TICKET_COUNT_BITS, 5 << TICKET_COUNT_BITS);
        assert!(pending.is_fresh(NodeId(1), first_start));
        assert!(!pending.is_fresh(NodeId(1), first_start));
        assert!(pending.is_fresh(NodeId(1), first_start + 2));
        assert!(!pending.is_fresh(NodeId(1), first_start + 1));
        assert!(pending.is_fresh(NodeId(2), first_start + 1));
        assert!(pending.is_fresh(NodeId(1), second_start));
    }
}
