//! Three openraft nodes in one process: the peer. Its log, its state machine and its network are in memory, as Boat's are.
#![allow(clippy::result_large_err, reason = "openraft's errors are as long as they are")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Cursor;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use benches::{Caller, NODES, Result, call};
use bytes::Bytes;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::{LogFlushed, LogState, RaftLogStorage, RaftStateMachine, Snapshot};
use openraft::{
    AnyError, BasicNode, Config, Entry, EntryPayload, LogId, OptionalSend, Raft, RaftLogReader, RaftNetwork,
    RaftNetworkFactory, RaftSnapshotBuilder, SnapshotMeta, SnapshotPolicy, StorageError, StoredMembership,
    Vote,
};

use crate::BODY;

openraft::declare_raft_types!(
    /// What its nodes replicate: bytes, and the number of requests as the answer.
    pub(crate) Types: D = Bytes, R = u64, NodeId = u64, Node = BasicNode, SnapshotData = Cursor<Vec<u8>>
);

type Stored<T> = std::result::Result<T, StorageError<u64>>;
type Called<T, E = RaftError<u64>> = std::result::Result<T, RPCError<u64, BasicNode, E>>;

/// Elections are as rare as with Boat: nothing else is to be measured than what nodes do under one leader.
const HEARTBEAT_MS: u64 = 100;
const ELECTION_MS: (u64, u64) = (1_000, 2_000);
/// How long the first election may take.
const ELECTED_WITHIN: Duration = Duration::from_secs(20);

/// Asks a node.
struct Asks(Raft<Types>);

impl Caller for Asks {
    async fn ask(&self) -> std::result::Result<(), String> {
        let answer = self.0.client_write(Bytes::from_static(BODY)).await;
        answer.map(drop).map_err(|error| error.to_string())
    }
}

/// Starts nodes, lets so many callers ask the leader, and gives the answers per second.
pub(crate) async fn run(callers: usize, turn: Duration) -> Result<f64> {
    let config = Config {
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        // Boat's model keeps its whole log here, too.
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    };
    let (config, network) = (Arc::new(config.validate()?), Network::default());
    let mut nodes = Vec::new();
    for node in 0..u64::from(NODES) {
        let (log, machine) = (Log::default(), Machine::default());
        let raft = Raft::new(node, config.clone(), network.clone(), log, machine).await?;
        network.nodes().insert(node, raft.clone());
        nodes.push(raft);
    }
    let first = nodes.first().ok_or("no nodes")?;
    let members: BTreeMap<u64, BasicNode> =
        (0..u64::from(NODES)).map(|node| (node, BasicNode::default())).collect();
    first.initialize(members).await?;
    first.wait(Some(ELECTED_WITHIN)).current_leader(0, "the node that begins leads").await?;
    let per_second = call((0..callers).map(|_| Asks(first.clone())), turn).await?;
    network.nodes().clear();
    for node in &nodes {
        node.shutdown().await?;
    }
    Ok(per_second)
}

/// All nodes, each within reach of the others.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<u64, Raft<Types>>>>);

impl Network {
    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Raft<Types>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, _: &BasicNode) -> Link {
        Link { target, network: self.clone(), peer: None }
    }
}

/// The way to one node.
struct Link {
    target: u64,
    network: Network,
    peer: Option<Raft<Types>>,
}

impl Link {
    fn peer<E: std::error::Error>(&mut self) -> Called<Raft<Types>, E> {
        if self.peer.is_none() {
            self.peer = self.network.nodes().get(&self.target).cloned();
        }
        self.peer.clone().ok_or_else(|| Unreachable::new(&AnyError::error("it has not started")).into())
    }

    fn answer<T, E: std::error::Error>(&self, answer: std::result::Result<T, E>) -> Called<T, E> {
        answer.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Called<AppendEntriesResponse<u64>> {
        let answer = self.peer::<RaftError<u64>>()?.append_entries(request).await;
        self.answer(answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Called<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>> {
        let answer = self.peer::<RaftError<u64, InstallSnapshotError>>()?.install_snapshot(request).await;
        self.answer(answer)
    }

    async fn vote(&mut self, request: VoteRequest<u64>, _: RPCOption) -> Called<VoteResponse<u64>> {
        let answer = self.peer::<RaftError<u64>>()?.vote(request).await;
        self.answer(answer)
    }
}

/// What a log holds.
#[derive(Default)]
struct Kept {
    entries: BTreeMap<u64, Entry<Types>>,
    purged: Option<LogId<u64>>,
    vote: Option<Vote<u64>>,
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Kept>>);

impl Log {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Stored<Vec<Entry<Types>>> {
        Ok(self.kept().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> Stored<LogState<Types>> {
        let kept = self.kept();
        let last_log_id = kept.entries.last_key_value().map(|(_, entry)| entry.log_id).or(kept.purged);
        Ok(LogState { last_purged_log_id: kept.purged, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Stored<()> {
        self.kept().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Stored<Option<Vote<u64>>> {
        Ok(self.kept().vote)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Stored<()>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.kept().entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<u64>) -> Stored<()> {
        self.kept().entries.split_off(&log_id.index);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId<u64>) -> Stored<()> {
        let mut kept = self.kept();
        kept.entries = kept.entries.split_off(&(log_id.index + 1));
        kept.purged = Some(log_id);
        Ok(())
    }
}

/// Counts requests.
#[derive(Clone, Default)]
struct Machine {
    requests: u64,
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> Stored<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Stored<Vec<u64>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let apply = |entry: Entry<Types>| {
            self.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(_) => self.requests += 1,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            self.requests
        };
        Ok(entries.into_iter().map(apply).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Stored<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, BasicNode>,
        _: Box<Cursor<Vec<u8>>>,
    ) -> Stored<()> {
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Stored<Option<Snapshot<Types>>> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Stored<Snapshot<Types>> {
        let meta = SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: String::new(),
        };
        Ok(Snapshot { meta, snapshot: Box::default() })
    }
}
