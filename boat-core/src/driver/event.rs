//! What wakes the driver.

use super::waiters::Known;
use crate::log::LogEntry;
use crate::replica::{Input, OperationResult, ReadId, RequestId};
use crate::transport::PeerEvent;
use crate::{MembershipOperation, OperationToken};
use std::time::Duration;

#[derive(Debug)]
pub(crate) enum Event {
    /// From the transport.
    Peer(PeerEvent),
    /// A request of this node.
    Propose {
        /// What recognizes it.
        id: RequestId,
        /// Who else may ask for it.
        known: Known,
        /// The encoded request.
        encoded: bytes::Bytes,
        /// How long its client waits.
        within: Duration,
    },
    /// A linearizable read of this node.
    Read {
        /// What recognizes it.
        id: ReadId,
        /// How long its client waits.
        within: Duration,
    },
    /// Writes up to this mark are durable.
    Persisted(u64),
    /// Entries that were read from the log.
    Fetched {
        /// The first index that was asked for.
        low: u64,
        /// The entries.
        entries: Vec<LogEntry>,
    },
    /// Something was done with a snapshot.
    Snapshot(Box<Input>),
    /// May this node be wiped?
    MayLeave {
        /// How long to ask.
        within: Duration,
        /// Where the verdict goes.
        verdict: tokio::sync::oneshot::Sender<Option<bool>>,
    },
    /// An operation on the membership.
    Operate {
        /// What recognizes it.
        token: OperationToken,
        /// What to do.
        operation: MembershipOperation,
        /// How long whoever asks waits.
        within: Duration,
        /// Where the result goes.
        result: tokio::sync::oneshot::Sender<OperationResult>,
    },
    /// Less than the reserve is free on the disk, or more again.
    DiskFull(bool),
    /// An operator wants a request quarantined.
    Force {
        /// Its position.
        position: u64,
        /// How long the wish stands.
        within: Duration,
        /// Whether some node holds the request: false when it is not even tried.
        known: tokio::sync::oneshot::Sender<bool>,
    },
    /// The log cannot be written any more.
    StorageFailed(String),
    /// Bytes that had been synced were read back as others.
    LogDamaged(String),
    /// The applier cannot go on.
    ApplierFailed(String),
    /// Another node is to lead.
    #[cfg(all(feature = "http", feature = "supervisor"))]
    HandOver,
    /// The node is to stop; `true` to hand over first.
    Stop {
        /// Whether to hand leadership over and wait for that.
        gracefully: bool,
    },
}
