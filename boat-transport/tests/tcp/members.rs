//! A cluster on real sockets that grows, has a machine replaced, and shrinks, while clients ask.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boat_core::{Context, Error, Json, MemberList, Model, Node, NodeId};
use boat_transport::TcpTransport;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::peer::WITHIN;

const CLIENTS: usize = 3;
/// How many answers must come between two changes.
const BETWEEN: usize = 40;
/// How long one asking may take before the next node is asked.
const ASKED_MAX: Duration = Duration::from_millis(500);
/// How long a client rests after each answer: in the end everything is asked again on each node.
const PACE: Duration = Duration::from_millis(10);
/// How long the whole may take.
const PATIENCE: Duration = WITHIN.saturating_mul(6);

/// Every answer depends on every request so far, and on nothing else.
#[derive(Default, Serialize, Deserialize)]
struct Chain(u64);

impl Chain {
    fn step(&mut self, request: &str) -> u64 {
        for byte in request.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).wrapping_add(1);
        }
        self.0
    }
}

impl Model for Chain {
    type Request = String;
    type Response = u64;

    fn predict(&mut self, _: &Context, request: String) -> u64 {
        self.step(&request)
    }
}

type ChainNode = Node<Json<String, u64>>;

/// The nodes by number, as clients find them, and what clients were told.
#[derive(Clone, Default)]
struct Cluster {
    nodes: Arc<Mutex<BTreeMap<u16, ChainNode>>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

/// A request that was answered: its text is its key.
struct Answered {
    position: u64,
    request: String,
    output: u64,
}

impl Cluster {
    fn node(&self, id: u16) -> ChainNode {
        self.nodes.lock().unwrap().get(&id).unwrap().clone()
    }

    fn all(&self) -> Vec<ChainNode> {
        self.nodes.lock().unwrap().values().cloned().collect()
    }

    /// Asks one request after the other, each until any node has answered it.
    async fn ask(self, client: usize) -> Vec<Answered> {
        let mut all = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let request = format!("{client}/{}", all.len());
            for attempt in client + all.len().. {
                let nodes = self.all();
                let node = &nodes[attempt % nodes.len()];
                if let Ok(answer) = node.predict(request.clone()).key(request.clone()).within(ASKED_MAX).await
                {
                    all.push(Answered { position: answer.position, request, output: answer.output });
                    break;
                }
                tokio::task::yield_now().await;
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(PACE).await;
        }
        all
    }

    async fn expect_more(&self, more: usize) {
        let enough = self.answered.load(Ordering::SeqCst) + more;
        until("answers", || self.answered.load(Ordering::SeqCst) >= enough).await;
    }

    /// Starts a node with an empty directory; where it is reached.
    async fn start(&self, id: u16, directory: &tempfile::TempDir, name: &str) -> String {
        let transport = TcpTransport::bind("127.0.0.1:0").await.unwrap();
        let address = transport.local_address().to_string();
        let known = self.nodes.lock().unwrap().values().next().map(ChainNode::members);
        let joins = known.is_some();
        let known = known.into_iter().flatten().map(|member| (member.node, member.address));
        let members = known.filter(|(node, _)| node.0 != id).chain([(NodeId(id), address.clone())]);
        let builder = Node::builder(id).data_dir(directory.path().join(name)).join(joins);
        let builder = builder.members(MemberList::new(members).unwrap()).transport(transport);
        let node = builder.start(Chain::default()).await.unwrap();
        if joins {
            // Clients do not ask it before it is a member.
            let first = self.all().remove(0);
            if first.members().iter().any(|member| member.node.0 == id) {
                first.replace(id, address.clone()).await.unwrap();
            } else {
                first.add(id, address.clone()).await.unwrap();
            }
            first.promote(id).await.unwrap();
        }
        node.ready().await.unwrap();
        self.nodes.lock().unwrap().insert(id, node);
        address
    }

    fn voters(&self) -> Vec<u16> {
        let members = self.all().remove(0).members();
        members.iter().filter(|member| member.role == "voter").map(|member| member.node.0).collect()
    }

    /// Whoever leads hands over first.
    async fn remove(&self, id: u16) {
        let leaving = self.node(id);
        leaving.transfer_leader(id).await.unwrap();
        // Clients find it until it has ended.
        let other = self.all().into_iter().find(|node| node.id() != leaving.id()).unwrap();
        other.remove(id).await.unwrap();
        let ended = leaving.stopped().await.unwrap_err();
        assert!(matches!(ended, Error::Removed(_)), "{ended}");
        self.nodes.lock().unwrap().remove(&id);
    }

    async fn agreement(&self) -> u64 {
        let nodes = self.all();
        let position = || nodes.iter().map(|node| node.status().position).max().unwrap();
        until("one position", || nodes.iter().all(|node| node.status().position == position())).await;
        let digests: Vec<String> = nodes.iter().map(|node| node.status().digest).collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        position()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what} did not come"));
}

/// Each answer is that of one model which was given everything once, in the order of positions, and stands on every node.
async fn expect_all_kept(cluster: &Cluster, mut all: Vec<Answered>) {
    all.sort_by_key(|answered| answered.position);
    let mut chain = Chain::default();
    for answered in &all {
        assert_eq!(answered.output, chain.step(&answered.request), "at position {}", answered.position);
    }
    let position = cluster.agreement().await;
    for node in cluster.all() {
        for answered in &all {
            let again = node.predict(answered.request.clone()).key(answered.request.clone()).await.unwrap();
            assert_eq!(
                (again.position, again.output, again.replayed),
                (answered.position, answered.output, true)
            );
        }
    }
    assert_eq!(cluster.agreement().await, position, "nothing was applied again");
}

async fn changes() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::default();
    cluster.start(0, &directory, "0").await;
    let mut asking = JoinSet::new();
    (0..CLIENTS).for_each(|client| drop(asking.spawn(cluster.clone().ask(client))));
    for id in 1..5 {
        cluster.expect_more(BETWEEN).await;
        cluster.start(id, &directory, &id.to_string()).await;
    }
    assert_eq!(cluster.voters(), [0, 1, 2, 3, 4]);

    // A machine is gone with its disk; another takes its number at another address.
    cluster.expect_more(BETWEEN).await;
    let gone = cluster.nodes.lock().unwrap().remove(&3).unwrap();
    let former = gone.members().into_iter().find(|member| member.node.0 == 3).unwrap().address;
    gone.shutdown().await.unwrap();
    drop(gone);
    cluster.expect_more(BETWEEN).await;
    let address = cluster.start(3, &directory, "another-3").await;
    assert_ne!(address, former);
    until("five vote", || cluster.voters() == [0, 1, 2, 3, 4]).await;

    // The node with which it all began leaves, too, and leads when it does.
    for id in [4, 0] {
        cluster.expect_more(BETWEEN).await;
        cluster.remove(id).await;
    }
    cluster.expect_more(BETWEEN).await;
    cluster.stop.store(true, Ordering::SeqCst);
    let all: Vec<Answered> = asking.join_all().await.into_iter().flatten().collect();
    until("three are left", || cluster.voters() == [1, 2, 3]).await;
    expect_all_kept(&cluster, all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_grows_to_five_has_one_replaced_and_shrinks_to_three_under_load() {
    tokio::time::timeout(PATIENCE, changes()).await.expect("it takes too long");
}
