//! What is to be sent to one peer: a bounded queue, and past it the connection itself.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boat_core::transport::PeerMessage;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::TransportOptions;
use crate::links::Shared;
use crate::write::Writer;

/// What a message counts for beside its opaque bytes.
const MESSAGE_BYTES: usize = 128;

/// What an entry counts for beside its data.
const ENTRY_BYTES: usize = 64;

/// What counts for more than this goes by the queue: whoever sends must not be held up by it.
const DIRECT_BYTES_MAX: usize = 128 * 1024;

/// Drops are logged at most this often for each peer.
const DROP_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Messages that wait for one peer. Full drops, it never blocks.
#[derive(Debug)]
pub(crate) struct Outbox {
    messages_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    gathered: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<PeerMessage>,
    bytes: usize,
    /// The connection, while there is one and its task does not write to it.
    writer: Option<Writer>,
    /// The socket took only a part of what was written to it: its task has to write the rest.
    blocked: bool,
    dropped_unlogged: usize,
    logged: Option<Instant>,
}

/// What [`Outbox::push`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// How many of the messages just pushed.
    pub(crate) now: usize,
    /// How many to log: those since the last log, if that was long enough ago, else 0.
    pub(crate) to_log: usize,
}

impl Outbox {
    pub(crate) fn new(options: &TransportOptions) -> Self {
        Outbox {
            messages_max: options.queue_messages_max,
            bytes_max: options.queue_bytes_max,
            waiting: Mutex::default(),
            gathered: Notify::new(),
        }
    }

    /// Queues `messages` in order; drops those that do not fit.
    pub(crate) fn push(&self, messages: Vec<PeerMessage>, now: Instant) -> Dropped {
        let mut waiting = self.lock();
        let was_empty = waiting.messages.is_empty();
        let mut dropped = 0;
        for message in messages {
            let bytes = waiting.bytes.saturating_add(cost_bytes(&message));
            if waiting.messages.len() < self.messages_max && bytes <= self.bytes_max {
                waiting.bytes = bytes;
                waiting.messages.push_back(message);
            } else {
                dropped += 1;
            }
        }
        if was_empty && !waiting.messages.is_empty() {
            self.gathered.notify_one();
        }
        Dropped { now: dropped, to_log: waiting.count_dropped(dropped, now) }
    }

    /// Encodes and writes `messages` at once, in the calling thread: that spares a change of threads. Gives them back where
    /// that cannot be: others wait, nobody is connected, or they are long.
    pub(crate) fn send(&self, messages: Vec<PeerMessage>, shared: &Shared) -> Result<(), Vec<PeerMessage>> {
        let mut waiting = self.lock();
        let Waiting { messages: queued, writer, blocked, .. } = &mut *waiting;
        let Some(writer) = writer.as_mut().filter(|_| queued.is_empty() && !*blocked) else {
            return Err(messages);
        };
        if messages.iter().map(cost_bytes).fold(0, usize::saturating_add) > DIRECT_BYTES_MAX {
            return Err(messages);
        }
        let encoded = writer.encode(messages.into_iter(), shared);
        shared.counters.messages_sent.add(encoded);
        // An error comes again when the task writes, and ends the connection there.
        *blocked = !writer.try_write().unwrap_or(false);
        if *blocked {
            self.gathered.notify_one();
        }
        Ok(())
    }

    /// Lets those who send write to the connection, until there is something for its task to do.
    pub(crate) fn lend(&self, writer: Writer) {
        self.lock().writer = Some(writer);
    }

    /// The connection has ended.
    pub(crate) fn disconnect(&self) {
        let mut waiting = self.lock();
        waiting.writer = None;
        waiting.blocked = false;
    }

    /// Waits until the connection's task has something to write, and takes the connection that was lent. Only one task at a
    /// time may wait.
    pub(crate) async fn gathered(&self) -> Writer {
        loop {
            if let Some(writer) = self.lock().take_writer() {
                return writer;
            }
            self.gathered.notified().await;
        }
    }

    /// Moves messages to `out`, in order, until they count for `bytes_max` or more, or none is left.
    pub(crate) fn take(&self, bytes_max: usize, out: &mut Vec<PeerMessage>) {
        let mut waiting = self.lock();
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(message) = waiting.messages.pop_front() else { break };
            bytes += cost_bytes(&message);
            out.push(message);
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
    }

    /// Drops everything, and the connection that was lent: what comes now is for the next one. Returns how many messages
    /// were dropped.
    pub(crate) fn clear(&self) -> usize {
        let mut waiting = self.lock();
        waiting.bytes = 0;
        waiting.writer = None;
        let messages = std::mem::take(&mut waiting.messages);
        messages.len()
    }

    /// A thread that panicked while it held the lock left the queue whole: there is nothing in between to see.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// The connection, if its task has something to write to it.
    fn take_writer(&mut self) -> Option<Writer> {
        let wanted = std::mem::take(&mut self.blocked) || !self.messages.is_empty();
        self.writer.take_if(|_| wanted)
    }

    fn count_dropped(&mut self, dropped: usize, now: Instant) -> usize {
        self.dropped_unlogged += dropped;
        let quiet = self.logged.is_some_and(|logged| now.duration_since(logged) < DROP_LOG_INTERVAL);
        if quiet || self.dropped_unlogged == 0 {
            return 0;
        }
        self.logged = Some(now);
        std::mem::take(&mut self.dropped_unlogged)
    }
}

/// What a message takes in memory, about.
fn cost_bytes(message: &PeerMessage) -> usize {
    let opaque = match message {
        PeerMessage::Consensus(message) => {
            let entries = message.entries.iter().map(|entry| ENTRY_BYTES + entry.data.len());
            entries.fold(message.context.len(), usize::saturating_add)
        }
        PeerMessage::Forward(forward) => forward.request.len(),
        PeerMessage::Introduction(introduction) => {
            let members = introduction.genesis.as_ref().map_or(0, |genesis| genesis.members.len());
            (introduction.members.len() + members) * MESSAGE_BYTES
        }
        PeerMessage::SnapshotPiece(piece) => piece.bytes.len(),
        PeerMessage::SnapshotOffer(_) | PeerMessage::SnapshotAnswer(_) => 0,
        PeerMessage::Join(join) => join.address.len(),
        PeerMessage::Outside(outside) => outside.members.len() * MESSAGE_BYTES,
        PeerMessage::Members(said) => said.members.len() * MESSAGE_BYTES,
        PeerMessage::Refused(_)
        | PeerMessage::ForwardRefused(_)
        | PeerMessage::LeaveQuestion { .. }
        | PeerMessage::LeaveAnswer { .. }
        | PeerMessage::Operate(_)
        | PeerMessage::OperateAnswer(_)
        | PeerMessage::Report(_) => 0,
    };
    opaque.saturating_add(MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use boat_core::transport::Forward;
    use bytes::Bytes;

    use super::*;

    fn forward(ticket: u64, bytes: usize) -> PeerMessage {
        PeerMessage::Forward(Forward { ticket, request: Bytes::from(vec![0; bytes]) })
    }

    fn outbox(messages_max: usize, bytes_max: usize) -> Outbox {
        let defaults = TransportOptions::default();
        Outbox::new(&TransportOptions {
            queue_messages_max: messages_max,
            queue_bytes_max: bytes_max,
            ..defaults
        })
    }

    fn tickets(outbox: &Outbox, bytes_max: usize) -> Vec<u64> {
        let mut taken = Vec::new();
        outbox.take(bytes_max, &mut taken);
        let ticket = |message| match message {
            PeerMessage::Forward(forward) => forward.ticket,
            other => panic!("unexpected {other:?}"),
        };
        taken.into_iter().map(ticket).collect()
    }

    #[test]
    fn full_in_messages_or_bytes_drops_the_newest() {
        let now = Instant::now();
        let outbox = outbox(3, 1000);
        let messages = (0..5).map(|ticket| forward(ticket, 0)).collect();
        assert_eq!(outbox.push(messages, now).now, 2);
        assert_eq!(tickets(&outbox, usize::MAX), [0, 1, 2]);

        assert_eq!(outbox.push(vec![forward(5, 700), forward(6, 700), forward(7, 0)], now).now, 1);
        assert_eq!(tickets(&outbox, usize::MAX), [5, 7]);
    }

    #[test]
    fn what_is_taken_or_cleared_makes_room() {
        let now = Instant::now();
        let outbox = outbox(10, 1000);
        for _ in 0..3 {
            assert_eq!(outbox.push(vec![forward(1, 300), forward(2, 300)], now).now, 0);
            assert_eq!(tickets(&outbox, 1), [1], "a batch ends once it is long enough");
            assert_eq!(tickets(&outbox, 1), [2]);
            assert_eq!(outbox.push(vec![forward(1, 300), forward(2, 300)], now).now, 0);
            assert_eq!(outbox.clear(), 2);
        }
    }

    #[test]
    fn drops_are_logged_at_a_limited_rate_and_none_is_left_out() {
        let start = Instant::now();
        let outbox = outbox(1, 1000);
        let push = |after| outbox.push(vec![forward(1, 0), forward(2, 0)], start + after).to_log;
        assert_eq!(push(Duration::ZERO), 1);
        assert_eq!(push(DROP_LOG_INTERVAL / 2), 0);
        assert_eq!(push(DROP_LOG_INTERVAL), 4);
        assert_eq!(outbox.push(vec![], start + DROP_LOG_INTERVAL * 3).to_log, 0);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_the_first_message() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let outbox = outbox(10, 1000);
        outbox.lend(Writer::new(std::sync::Arc::new(stream), boat_core::NodeId(1), 1000));
        let push = async { outbox.push(vec![forward(1, 0)], Instant::now()) };
        tokio::join!(outbox.gathered(), push);
        assert_eq!(tickets(&outbox, 1), [1]);
    }
}
