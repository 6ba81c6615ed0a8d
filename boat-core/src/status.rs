//! What a node says of itself.

use serde::Serialize;

use crate::NodeId;

/// A node's state at one moment: an owned copy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Whether this node leads.
    pub is_leader: bool,
    /// This node's number.
    pub node: NodeId,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The latest term this node has seen.
    pub term: u64,
    /// How many requests this node has applied: the position of the last one.
    pub position: u64,
    /// The running digest after `position`, 32 hexadecimal digits.
    pub digest: String,
    /// Whether this node answers predictions.
    pub ready: bool,
    /// What this node is doing.
    pub phase: Phase,
    /// How far a replay is, while there is one.
    pub replay: Option<ReplayProgress>,
    /// How the backend is.
    pub backend: BackendStatus,
    /// What ails the node.
    pub health: Health,
    /// The cluster's name, once known: 32 hexadecimal digits.
    pub cluster: Option<String>,
    /// Everybody in the membership.
    pub members: Vec<MemberStatus>,
    /// How many requests wait for their answers on this node.
    pub waiting: usize,
    /// What a person should look at; empty when all is well.
    pub alarms: Vec<Alarm>,
}

/// Something that a person should look at. It goes away by itself when its cause does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Alarm {
    /// Less than `limits.free_bytes_min` is free on the disk: nothing new is accepted.
    DiskFull,
    /// The backend does not answer, or has lost its state.
    BackendUnhealthy,
    /// A request crashed this node's backend again and again, and is held until the log decides.
    RequestHeld,
    /// A request crashes the backends of a majority, and members that cannot be asked keep it from being quarantined.
    QuarantineBlocked,
    /// This node's digest differs from that of a majority.
    Diverged,
    /// Digests differ, and none has a majority: nobody can say who is right.
    DigestsDisagree,
}

impl Alarm {
    /// Every alarm there is.
    pub const ALL: [Alarm; 6] = [
        Alarm::DiskFull,
        Alarm::BackendUnhealthy,
        Alarm::RequestHeld,
        Alarm::QuarantineBlocked,
        Alarm::Diverged,
        Alarm::DigestsDisagree,
    ];

    /// Its name in `/status` and `/metrics`.
    pub fn name(self) -> &'static str {
        match self {
            Alarm::DiskFull => "disk_full",
            Alarm::BackendUnhealthy => "backend_unhealthy",
            Alarm::RequestHeld => "request_held",
            Alarm::QuarantineBlocked => "quarantine_blocked",
            Alarm::Diverged => "diverged",
            Alarm::DigestsDisagree => "digests_disagree",
        }
    }
}

/// What a node is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Phase {
    /// Waits until the cluster is founded or found.
    Founding {
        /// Whom it has not heard from.
        waiting_for: Vec<NodeId>,
    },
    /// Outside the membership; asks to be taken in.
    Joining,
    /// Outside the membership, and only an operator can take it in: the node is no member, or its place is held by an
    /// incarnation that is reached elsewhere.
    NotAdded {
        /// Where the one is reached that holds its place, if one does.
        place_held_at: Option<String>,
    },
    /// Runs the log through the fresh predictor.
    Replaying,
    /// Replayed, but knows of no leader.
    Electing,
    /// Gives other outcomes than a majority, and still did after two rebuilds: it answers nothing.
    Diverged,
    /// Serves.
    Ready,
    /// Shuts down.
    Stopping,
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReplayProgress {
    /// The last entry applied.
    pub applied_index: u64,
    /// The entry to reach.
    pub target_index: u64,
    /// How many requests were applied in the last second or so.
    pub requests_per_second: f64,
    /// How long the rest takes at that rate, in seconds.
    pub remaining_seconds: f64,
}

/// What ails a node, and which requests it holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Health {
    /// Names of [`Ailment`](crate::transport::Ailment)s; empty when the node is well.
    pub ailments: Vec<&'static str>,
    /// The requests that are not run here until the log decides, by position.
    pub held_positions: Vec<u64>,
    /// On a leader: the nodes that have not promised to hold a request that is to be quarantined, for two seconds or more.
    pub quarantine_waits_for: Vec<NodeId>,
}

/// How the backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendStatus {
    /// Whether the last thing asked of it worked.
    pub healthy: bool,
    /// The latest error, while it is not.
    pub error: Option<String>,
    /// How often its state was lost and rebuilt since this process started.
    pub rebuilds: u64,
}

/// One member, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// The member's number.
    pub node: NodeId,
    /// Where its peers reach it.
    pub address: String,
    /// `voter` or `learner`.
    pub role: &'static str,
    /// Whether this node is connected to it (true for itself).
    pub connected: bool,
}
