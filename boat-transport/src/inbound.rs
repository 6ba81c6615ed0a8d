//! Who is connected to this node: one connection for each peer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use boat_core::NodeId;
use tokio::sync::oneshot;

/// The accepted inbound connections.
#[derive(Debug)]
pub(crate) struct Inbound {
    connections_max: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<NodeId, Taken>,
    next_number: u64,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    /// Dropped when another connection of the same node takes the seat.
    _replaced: oneshot::Sender<()>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat<'a> {
    inbound: &'a Inbound,
    node: NodeId,
    number: u64,
    replaced: oneshot::Receiver<()>,
}

impl Inbound {
    pub(crate) fn new(connections_max: usize) -> Self {
        Inbound { connections_max, seats: Mutex::default() }
    }

    /// Takes the seat of `node`, from its former connection if it has one; `None` when all seats are taken.
    pub(crate) fn admit(&self, node: NodeId) -> Option<Seat<'_>> {
        let mut seats = self.seats();
        if seats.taken.len() >= self.connections_max && !seats.taken.contains_key(&node) {
            return None;
        }
        let number = seats.next_number;
        seats.next_number += 1;
        let (sender, replaced) = oneshot::channel();
        seats.taken.insert(node, Taken { number, _replaced: sender });
        Some(Seat { inbound: self, node, number, replaced })
    }

    /// Seats are taken and left whole, so a panic elsewhere leaves none half taken.
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// Waits until a newer connection of the same node has taken the seat.
    pub(crate) async fn replaced(&mut self) {
        // The sender is only ever dropped.
        let _ = (&mut self.replaced).await;
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut seats = self.inbound.seats();
        if seats.taken.get(&self.node).is_some_and(|taken| taken.number == self.number) {
            seats.taken.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_connection_takes_the_seat_and_keeps_it() {
        let inbound = Inbound::new(1);
        let mut older = inbound.admit(NodeId(1)).unwrap();
        let newer = inbound.admit(NodeId(1)).unwrap();
        older.replaced().await;
        drop(older);
        assert!(inbound.admit(NodeId(2)).is_none(), "the newer one still sits there");
        drop(newer);
        assert!(inbound.admit(NodeId(2)).is_some());
    }
}
