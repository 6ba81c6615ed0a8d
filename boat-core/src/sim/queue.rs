//! What happens when: a queue of events in virtual time, first in first out within one millisecond.

use std::collections::BTreeMap;

use super::log_thread::FetchRange;
use super::network::Packet;
use super::waiters::{Attempt, Reply};
use crate::NodeId;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A tick of a process is due.
    Tick(NodeId, Life),
    /// A process looks at its inbox.
    Wake(NodeId, Life),
    /// The log thread's write has ended.
    WriteDone(NodeId, Life),
    /// The log thread tries again to write to a disk that was full.
    WriteAgain(NodeId, Life),
    /// The applier takes its next helping.
    Apply(NodeId, Life),
    /// The snapshot that was frozen is written.
    SnapshotWrite(NodeId, Life),
    /// A part of a snapshot is read, written or verified.
    SnapshotJob(NodeId, Life),
    /// Entries that a follower lacks have been read.
    FetchDone(NodeId, Life, FetchRange),
    /// A message reaches the end of its link.
    Deliver(Packet),
    /// One side of a link looks after its connection.
    Connect(NodeId, NodeId),
    /// A disk has space again.
    Space(NodeId),
    /// A log's thread looks how much space its disk has.
    LookAtSpace(NodeId),
    /// A process starts.
    Start(NodeId),
    /// A client does something new.
    Act(usize),
    /// A client gives an attempt up.
    GiveUp(Attempt),
    /// A client tries an operation again.
    Retry(usize),
    /// A client gets an answer.
    Answer(Attempt, Reply),
    /// Faults are drawn.
    Faults,
    /// Faults end.
    Heal,
    /// The healing is looked at.
    Healed,
}

/// Tells the processes that a node runs one after the other apart; rises over all nodes.
pub(super) type Life = u64;

/// Events by time.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at_ms, self.sequence), event);
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop_first().map(|((at_ms, _), event)| (at_ms, event))
    }
}
