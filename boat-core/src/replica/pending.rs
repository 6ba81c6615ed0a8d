//! Requests that wait for their outcome on this node: proposed, forwarded, or not yet sent anywhere.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::digest::RequestHash;
use crate::{NodeId, Origin, SessionRequest};

/// How long a forwarded request waits before it is forwarded again, in ticks: messages may be lost.
const FORWARD_AGAIN_TICKS: u64 = 25;

/// What recognizes a request wherever it is applied: whose it is, and what it says. Another request under the same key is
/// another request; whoever waits for this one must not get that one's answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    ticket: u64,
}

/// The requests of this node, and those that others forwarded to it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: BTreeMap<RequestId, Waiting>,
    /// Requests that are to be sent, oldest first. May name some that are answered already.
    idle: VecDeque<RequestId>,
    by_ticket: BTreeMap<u64, RequestId>,
    next_ticket: u64,
    /// Encoded requests of other nodes, to be proposed here.
    forwarded: VecDeque<Bytes>,
    forwarded_bytes: usize,
}

impl Pending {
    /// Takes a request of this node. A request that waits already waits up to the later deadline, and is sent once more: who
    /// asks again may have seen the first answer, so that no other comes.
    pub(super) fn accept(
        &mut self,
        id: RequestId,
        encoded: Bytes,
        deadline_tick: u64,
        leader_deadline_tick: u64,
    ) {
        if let Some(known) = self.waiting.get_mut(&id) {
            known.deadline_tick = known.deadline_tick.max(deadline_tick);
            if known.sent != Sent::Nowhere {
                known.sent = Sent::Nowhere;
                self.idle.push_back(id);
            }
            return;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.by_ticket.insert(ticket, id.clone());
        self.idle.push_back(id.clone());
        let sent = Sent::Nowhere;
        let waiting = Waiting { encoded, deadline_tick, leader_deadline_tick, sent, attempts: 0, ticket };
        self.waiting.insert(id, waiting);
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
        if let Some(waiting) = self.waiting.remove(id) {
            self.by_ticket.remove(&waiting.ticket);
        }
    }

    /// Leader or term changed: whatever was sent may be lost.
    pub(super) fn send_all_again(&mut self) {
        self.idle.clear();
        for (id, waiting) in &mut self.waiting {
            waiting.sent = Sent::Nowhere;
            self.idle.push_back(id.clone());
        }
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty() || !self.forwarded.is_empty()
    }

    /// Takes requests to propose, up to `bytes_max` of them together but at least one.
    pub(super) fn take_to_propose(&mut self, bytes_max: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        // Others' requests first: they have waited for a network hop already.
        while let Some(next) = self.forwarded.front() {
            if !taken.is_empty() && bytes + next.len() > bytes_max {
                return taken;
            }
            bytes += next.len();
            self.forwarded_bytes -= next.len();
            taken.extend(self.forwarded.pop_front());
        }
        while let Some(id) = self.idle.front() {
            if let Some(waiting) = self.waiting.get_mut(id) {
                if !taken.is_empty() && bytes + waiting.encoded.len() > bytes_max {
                    return taken;
                }
                bytes += waiting.encoded.len();
                waiting.sent = Sent::Proposed;
                waiting.attempts += 1;
                taken.push(waiting.encoded.clone());
            }
            self.idle.pop_front();
        }
        taken
    }

    /// Takes the requests to forward, with their tickets.
    pub(super) fn take_to_forward(&mut self, tick: u64) -> Vec<(u64, Bytes)> {
        let mut taken = Vec::new();
        for id in std::mem::take(&mut self.idle) {
            if let Some(waiting) = self.waiting.get_mut(&id) {
                waiting.sent = Sent::Forwarded { tick };
                waiting.attempts += 1;
                taken.push((waiting.ticket, waiting.encoded.clone()));
            }
        }
        taken
    }

    /// A forward came back unproposed: nothing happened that time.
    pub(super) fn refused(&mut self, ticket: u64, overloaded: bool) -> Option<(RequestId, Failure)> {
        let id = self.by_ticket.get(&ticket)?.clone();
        let waiting = self.waiting.get_mut(&id)?;
        if !matches!(waiting.sent, Sent::Forwarded { .. }) {
            return None;
        }
        waiting.attempts = waiting.attempts.saturating_sub(1);
        if overloaded && waiting.attempts == 0 {
            self.answered(&id);
            return Some((id, Failure::Overloaded));
        }
        // Tried again by `overdue`, not at once: the one who refused is likely to do so again.
        None
    }

    /// What is too late now, and what is to be sent again.
    pub(super) fn overdue(&mut self, tick: u64, has_leader: bool) -> Vec<(RequestId, Failure)> {
        let mut failed = Vec::new();
        for (id, waiting) in &mut self.waiting {
            let unsent = waiting.attempts == 0;
            let no_leader = unsent && !has_leader && tick >= waiting.leader_deadline_tick;
            if tick >= waiting.deadline_tick || no_leader {
                let failure = if unsent { Failure::NoLeader } else { Failure::Unknown };
                failed.push((id.clone(), failure));
            } else if let Sent::Forwarded { tick: at } = waiting.sent
                && tick >= at + FORWARD_AGAIN_TICKS
            {
                waiting.sent = Sent::Nowhere;
                self.idle.push_back(id.clone());
            }
        }
        failed.iter().for_each(|(id, _)| self.answered(id));
        failed
    }

    /// Everything that waits, to be answered at the end.
    pub(super) fn drain(&mut self) -> Vec<(RequestId, Failure)> {
        let waiting = std::mem::take(&mut self.waiting);
        self.idle.clear();
        self.by_ticket.clear();
        let fate = |waiting: &Waiting| match waiting.attempts {
            0 => Failure::NoLeader,
            _ => Failure::Unknown,
        };
        waiting.into_iter().map(|(id, waiting)| (id, fate(&waiting))).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The node that a raft id belongs to, where there is one.
pub(super) fn leader_node(leader: u64) -> Option<NodeId> {
    if leader == raft::INVALID_ID { None } else { Some(crate::RaftId(leader).node()) }
}
