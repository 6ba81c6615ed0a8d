//! A process that is a member of a cluster, or asks to become one: the replica and all that the driver does around it.

use super::Mutant;
use super::check::{Checker, Violation};
use super::context::Context;
use super::faults::Fault;
use super::queue::Life;
use super::replay::Replay;
use super::snapshots::Snapshots;
use super::waiters::Waiters;
use super::writer::{Trouble, Writer};
use crate::apply::Due;
use crate::directory::Directory;
use crate::driver::Addresses;
use crate::log::{Log, LogConfig, LogReader, Recovered};
use crate::quarantine::QuarantineFile;
use crate::replica::{Fatal, KeptSnapshot, Replica, ReplicaConfig, ReplicaStart};
use crate::transport::{Introduction, LogEnd};
use crate::{Genesis, Member, MemberList, NodeId, RaftId};

/// A process with a log.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) node: NodeId,
    pub(super) raft_id: RaftId,
    pub(super) replica: Replica,
    pub(super) writer: Writer,
    pub(super) replay: Replay,
    pub(super) snapshots: Snapshots,
    /// A snapshot as of this entry is about to take the log's place.
    pub(super) awaited: u64,
    pub(super) quarantine_file: QuarantineFile,
    pub(super) genesis: Genesis,
    /// What the log held when it was opened.
    pub(super) opened: LogEnd,
    /// The entry as of which a membership was handed on last: it is durable.
    pub(super) members_as_of: u64,
    /// Reads that wait until enough is applied.
    pub(super) due: Due,
    pub(super) life: Life,
    pub(super) reader: LogReader,
    pub(super) waiters: Waiters,
    pub(super) addresses: Addresses,
    pub(super) own_introduction: Introduction,
}

impl Running {
    /// Opens the log and starts a replica from it.
    pub(super) fn open(
        context: &mut Context,
        checker: &mut Checker,
        directory: &Directory,
        members: &MemberList,
        (node, life): (NodeId, Life),
        (genesis, raft_id): (Genesis, RaftId),
    ) -> Result<Running, Trouble> {
        let config = LogConfig { segment_bytes: 16 << 10, allocate_bytes: 8 << 10, ..LogConfig::default() };
        let files = directory.files().clone();
        let (log, mut recovered) = Log::open(files, &directory.log_path(), config, genesis.membership())?;
        checker.opened(raft_id, &recovered, context.now_ms)?;
        if !recovered.warnings.is_empty() {
            context.count(Fault::TornTail);
        }
        context.note(recovered.last_index, || {
            let (hard_state, last) = (recovered.hard_state, recovered.last_index);
            format!("node {node} opens its log as {raft_id}: {hard_state:?}, last entry {last}")
        });
        let quarantine_file = directory.quarantine_file();
        let quarantine = quarantine_file.read()?;
        let (cluster, decisions) = (genesis.cluster, quarantine.decisions());
        let snapshots =
            Snapshots::open(context, directory, (node, life), cluster, &mut recovered, decisions)?;
        checker.proven(raft_id, recovered.hard_state.commit)?;
        let opened = LogEnd { term: recovered.hard_state.term, last_index: recovered.last_index };
        let members_as_of = recovered.membership.index;
        let (models, committed) = (context.models.clone(), recovered.hard_state.commit);
        let mut replay = Replay::new(models, node, genesis.limits, committed, quarantine);
        replay.restore(context, checker, &snapshots.store)?;
        let address = members.address(node).unwrap_or_default().to_owned();
        let own = Member { raft_id, birth: directory.birth(), address };
        let config = ReplicaConfig {
            command_bytes_max: context.options.command_bytes_max,
            forwarded_bytes_max: context.options.forwarded_bytes_max,
            recent_bytes_max: context.options.recent_bytes_max,
            snapshot_bytes_per_tick: context.options.snapshot_bytes_per_tick,
            snapshot_piece_bytes: context.options.snapshot_piece_bytes,
            ..ReplicaConfig::new(own, context.word())
        };
        let mut replica = Replica::new(config, start_of(context, recovered, snapshots.newest()))
            .map_err(|error| broken(node, &error))?;
        replica.restore_decisions(replay.quarantine.decisions().clone());
        replay.open(replica.doubtful_index());
        let own_introduction = Introduction {
            birth: directory.birth(),
            members: members.clone(),
            genesis: Some(genesis.clone()),
            asks: false,
        };
        let mut addresses = Addresses::new(node, members);
        addresses.set_membership(replica.membership());
        addresses.changed();
        let reader = log.reader();
        let writer = Writer::new(log, raft_id);
        let waiters = Waiters::default();
        Ok(Running {
            node,
            raft_id,
            replica,
            writer,
            replay,
            snapshots,
            awaited: 0,
            quarantine_file,
            genesis,
            opened,
            members_as_of,
            due: Due::default(),
            life,
            reader,
            waiters,
            addresses,
            own_introduction,
        })
    }
}

fn start_of(context: &Context, recovered: Recovered, snapshot: Option<KeptSnapshot>) -> ReplicaStart {
    let last_term = recovered.last_term;
    let mut start = ReplicaStart::of(recovered, snapshot);
    if context.options.mutant == Some(Mutant::ForgetVote) {
        (start.hard_state.term, start.hard_state.vote) = (last_term, 0);
    }
    start
}

pub(super) fn broken(node: NodeId, fatal: &Fatal) -> Violation {
    Violation { invariant: "no replica is asked for what cannot be", what: format!("node {node}: {fatal}") }
}

pub(super) fn unreadable(node: NodeId, error: &dyn std::fmt::Display) -> Violation {
    Violation { invariant: "committed entries are readable", what: format!("node {node}: {error}") }
}
