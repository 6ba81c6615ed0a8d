//! Three openraft nodes in one process: log in memory, messages handed over as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::future::Future;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use benches::{NODES, Result};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{
    Config, EntryPayload, OptionalSend, Raft, RaftLogReader, RaftSnapshotBuilder, StoredMembership,
};

use crate::{Asks, call};

/// How many entries openraft sends at once, as its own benchmark has it.
const PAYLOAD_ENTRIES_MAX: u64 = 1_024;

/// What a caller asks.
#[derive(Debug, Clone)]
pub(crate) struct One;

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1")
    }
}

openraft::declare_raft_types!(
    /// The types of this cluster.
    pub(crate) Types:
        D = One,
        R = (),
        Node = (),
);

type Entry = openraft::alias::EntryOf<Types>;
type Node = Raft<Types, Count>;

/// A log in memory.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<LogContents>>);

#[derive(Debug, Default)]
struct LogContents {
    entries: BTreeMap<u64, Entry>,
    vote: Option<VoteOf<Types>>,
    purged: Option<LogIdOf<Types>>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogContents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.lock().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Log;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let contents = self.lock();
        let last = contents.entries.last_key_value().map(|(_, entry)| entry.log_id());
        Ok(LogState { last_purged_log_id: contents.purged, last_log_id: last.or(contents.purged) })
    }

    async fn get_log_reader(&mut self) -> Log {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.lock().entries.extend(entries.into_iter().map(|entry| (entry.index(), entry)));
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        let first_gone = last.map_or(0, |last| last.index() + 1);
        self.lock().entries.split_off(&first_gone);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogIdOf<Types>) -> io::Result<()> {
        let mut contents = self.lock();
        contents.purged = Some(log_id);
        contents.entries = contents.entries.split_off(&(log_id.index() + 1));
        Ok(())
    }
}

/// The state machine: what was applied last.
#[derive(Debug, Clone, Default)]
struct Count(Arc<Mutex<Applied>>);

type Applied = (Option<LogIdOf<Types>>, StoredMembershipOf<Types>);

impl Count {
    fn lock(&self) -> MutexGuard<'_, Applied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftSnapshotBuilder<Types> for Count {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, Vec<u8>>> {
        let (last_log_id, last_membership) = self.lock().clone();
        let meta = SnapshotMetaOf::<Types> { last_log_id, last_membership };
        Ok(SnapshotOf::<Types, Vec<u8>> { meta, snapshot: Vec::new() })
    }
}

impl RaftStateMachine<Types> for Count {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Count;

    async fn applied_state(&mut self) -> io::Result<Applied> {
        Ok(self.lock().clone())
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut applied = self.lock();
            applied.0 = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                applied.1 = StoredMembership::new(Some(entry.log_id), membership);
            }
            drop(applied);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Count {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, _data: Vec<u8>) -> io::Result<()> {
        *self.lock() = (meta.last_log_id, meta.last_membership.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, Vec<u8>>>> {
        Ok(None)
    }
}

/// Who is there.
#[derive(Clone, Default)]
struct Network(Arc<Mutex<BTreeMap<u64, Node>>>);

/// The way to one node.
struct Way {
    network: Network,
    to: u64,
}

impl Way {
    fn peer(&self) -> std::result::Result<Node, Unreachable<Types>> {
        let nodes = self.network.0.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&self.to).cloned().ok_or_else(|| Unreachable::from_string("not started yet"))
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, to: u64, _: &()) -> Way {
        Way { network: self.clone(), to }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> std::result::Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.peer()?.append_entries(request).await;
        Ok(answer.map_err(|error| Unreachable::new(&error))?)
    }

    /// Requests follow each other without waiting: the fastest way that openraft has.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<
        's,
        std::result::Result<
            BoxStream<'s, std::result::Result<StreamAppendResult<Types>, RPCError<Types>>>,
            RPCError<Types>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let answers = self.peer()?.stream_append(input);
            Ok(answers.map(|answer| answer.map_err(|error| Unreachable::new(&error).into())).boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        _: RPCOption,
    ) -> std::result::Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.peer()?.vote(request).await.map_err(|error| Unreachable::new(&error))?)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<Types>,
        snapshot: SnapshotOf<Types, Vec<u8>>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> std::result::Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let answer = self.peer()?.install_full_snapshot(vote, snapshot).await;
        Ok(answer.map_err(|error| Unreachable::new(&error))?)
    }
}

impl Asks for Node {
    async fn ask(&self) -> std::result::Result<(), String> {
        self.client_write(One).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Starts nodes, lets so many callers ask the leader, and gives the answers per second.
pub(crate) async fn run(callers: usize, turn: Duration) -> Result<f64> {
    let config = Config {
        election_timeout_min: 200,
        election_timeout_max: 2_000,
        purge_batch_size: 1_024,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        ..Config::default()
    };
    let config = Arc::new(config.validate()?);
    let network = Network::default();
    let voters: BTreeSet<u64> = (0..u64::from(NODES)).collect();
    let mut nodes = Vec::new();
    for id in &voters {
        let node = Node::new(*id, config.clone(), network.clone(), Log::default(), Count::default()).await?;
        network.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, node.clone());
        nodes.push(node);
    }
    let leader = nodes.first().ok_or("no node")?;
    leader.initialize(voters).await?;
    leader.wait(Some(Duration::from_secs(10))).current_leader(0, "node 0 leads").await?;
    let per_second = call(callers, turn, leader).await?;
    for node in &nodes {
        node.shutdown().await?;
    }
    network.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    Ok(per_second)
}
