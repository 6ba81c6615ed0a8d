//! What a transport counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the transport was bound. They only grow.
#[derive(Debug, Default)]
pub struct TransportCounters {
    pub(crate) messages_sent: Counter,
    pub(crate) messages_dropped: Counter,
    pub(crate) messages_received: Counter,
    pub(crate) dials_failed: Counter,
    pub(crate) inbound_closed: Counter,
}

impl TransportCounters {
    /// Messages handed to the operating system.
    pub fn messages_sent(&self) -> u64 {
        self.messages_sent.get()
    }

    /// Messages dropped before they were sent: their peer was unknown, slow or not connected, or they were too long.
    pub fn messages_dropped(&self) -> u64 {
        self.messages_dropped.get()
    }

    /// Messages delivered to the node's inbox.
    pub fn messages_received(&self) -> u64 {
        self.messages_received.get()
    }

    /// Attempts to reach a peer that ended before both sides had accepted each other.
    pub fn dials_failed(&self) -> u64 {
        self.dials_failed.get()
    }

    /// Inbound connections that this node closed: unknown, refused, malformed, slow in their handshake, or too many.
    pub fn inbound_closed(&self) -> u64 {
        self.inbound_closed.get()
    }
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
