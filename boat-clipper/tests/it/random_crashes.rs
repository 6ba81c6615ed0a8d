//! Nodes whose models crash at random while they are asked: no answer is lost, and none is given twice.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boat_clipper::{
    ContainerConfig, ContainerError, EngineModel, HashChain, Input, ModelFactory, begin_deployment,
    serve_container,
};
use boat_core::transport::local::LocalNetwork;
use boat_core::{MemberList, Node, NodeId, PredictError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::crashes::{beginning, connectable};
use crate::input;

const NODES: usize = 3;
const CLIENTS: usize = 4;
/// How many crashes there are.
const CRASHES: usize = 60;
/// How many answers come between two of them.
const BETWEEN: std::ops::Range<usize> = 1..12;
/// How long one asking may take, and the whole of it.
const ASKED_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(120);

const BEFORE_THE_STEP: u8 = 1;
const BEHIND_THE_STEP: u8 = 2;

/// One node's model: how it is to crash, and what it has run in each of its lives.
#[derive(Default)]
struct Fate {
    /// Cuts the container off, whatever it is at.
    cut: Notify,
    /// Has the model crash over the next input.
    armed: AtomicU8,
    lives: Mutex<Vec<Vec<String>>>,
}

struct Mortal {
    chain: HashChain,
    fate: Arc<Fate>,
    life: usize,
}

impl EngineModel for Mortal {
    fn predict(&mut self, inputs: &[Input]) -> Vec<String> {
        let mut step = |input: &Input| {
            let how = self.fate.armed.swap(0, Ordering::SeqCst);
            assert_ne!(how, BEFORE_THE_STEP, "the model crashes, as it was told");
            self.fate.lives.lock().unwrap()[self.life].push(input.to_string());
            let output = self.chain.step(&input.to_bytes());
            assert_ne!(how, BEHIND_THE_STEP, "the model crashes, as it was told");
            output
        };
        inputs.iter().map(&mut step).collect()
    }
}

fn mortal(fate: &Arc<Fate>) -> ModelFactory {
    let fate = Arc::clone(fate);
    Arc::new(move || {
        let mut lives = fate.lives.lock().unwrap();
        lives.push(Vec::new());
        Box::new(Mortal { chain: HashChain::default(), fate: Arc::clone(&fate), life: lives.len() - 1 })
    })
}

/// Starts the container again whenever it is gone.
async fn supervise(frontend: SocketAddr, fate: Arc<Fate>) {
    loop {
        let config = ContainerConfig { reconnect_ms: 5, ..ContainerConfig::at(frontend) };
        tokio::select! {
            ended = serve_container(config, mortal(&fate)) => {
                assert!(matches!(ended, Err(ContainerError::ModelPanicked)), "{ended:?}");
            }
            () = fate.cut.notified() => {}
        }
    }
}

/// A request that was answered: its input is its key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    position: u64,
    input: String,
    output: Vec<u8>,
}

struct Clients {
    nodes: Vec<Node>,
    stop: AtomicBool,
    /// The highest position of which anybody knows.
    highest: AtomicU64,
    answered: watch::Sender<usize>,
}

impl Clients {
    /// Asks one request after the other, until told to stop, each until it is answered.
    async fn run(self: Arc<Self>, client: usize) -> Vec<Answered> {
        let mut all = Vec::new();
        while !self.stop.load(Ordering::SeqCst) {
            let text = format!("client-{client}/{}", all.len());
            let before = self.highest.load(Ordering::SeqCst);
            let answered = self.ask(client + all.len(), &text).await;
            assert!(answered.position > before, "{answered:?} was asked when {before} had been answered");
            self.highest.fetch_max(answered.position, Ordering::SeqCst);
            all.push(answered);
            self.answered.send_modify(|count| *count += 1);
        }
        all
    }

    async fn ask(&self, first: usize, text: &str) -> Answered {
        let mut nodes = self.nodes.iter().cycle().skip(first);
        loop {
            let node = nodes.next().unwrap();
            match node.predict(input(text).into()).key(text).within(ASKED_MAX).await {
                Ok(answer) => {
                    let (position, output) = (answer.position, answer.output.to_vec());
                    return Answered { position, input: text.to_owned(), output };
                }
                // Under its key it is applied once, whatever became of it.
                Err(PredictError::Unknown { .. } | PredictError::NoLeader(_)) => {}
                Err(other) => panic!("{text}: {other}"),
            }
        }
    }
}

/// Every answer is that of one model that was given everything once, in the order of the positions.
fn expect_one_chain(all: &[Answered]) {
    let mut chain = HashChain::default();
    for (query_id, answered) in all.iter().enumerate() {
        let output = chain.step(answered.input.as_bytes());
        let expected = format!("{{\"query_id\":{query_id},\"output\":{output:?},\"default\":false}}");
        assert_eq!(String::from_utf8_lossy(&answered.output), expected, "{answered:?}");
    }
}

/// In each of its lives a model has run what there is from the first request on, each once, up to its end.
fn expect_whole_lives(fate: &Fate, all: &[Answered]) -> usize {
    let lives = fate.lives.lock().unwrap();
    for life in lives.iter() {
        let ran = life.iter().map(String::as_str);
        let order = all.iter().map(|answered| answered.input.as_str()).take(life.len());
        assert!(ran.eq(order), "a life that ran {} inputs ran others, or some twice", life.len());
    }
    lives.len()
}

async fn start(fates: &[Arc<Fate>], directory: &tempfile::TempDir) -> (Vec<Node>, JoinSet<()>) {
    let network = LocalNetwork::new();
    let members = (0..NODES as u16).map(|node| (NodeId(node), format!("local:{node}")));
    let members = MemberList::new(members).unwrap();
    let (mut nodes, mut containers) = (Vec::new(), JoinSet::new());
    for (id, fate) in (0..).zip(fates) {
        let (backend, frontend) = connectable().await;
        containers.spawn(supervise(frontend, Arc::clone(fate)));
        let view = backend.deployment_view().unwrap();
        let builder = Node::builder(id).data_dir(directory.path().join(id.to_string()));
        let builder = builder.members(members.clone()).transport(network.transport());
        let node = builder.start_predictor(backend).await.unwrap();
        begin_deployment(&node, view, beginning());
        nodes.push(node);
    }
    for node in &nodes {
        node.ready().await.unwrap();
    }
    (nodes, containers)
}

/// Crashes one model after the other, now and then several at once.
async fn crash_at_random(seed: u64, fates: &[Arc<Fate>], clients: &Clients) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut answered = clients.answered.subscribe();
    for _ in 0..CRASHES {
        let enough = *answered.borrow() + random.gen_range(BETWEEN);
        answered.wait_for(|count| *count >= enough).await.unwrap();
        let fate = &fates[random.gen_range(0..NODES)];
        match random.gen_range(0..3) {
            0 => fate.cut.notify_one(),
            1 => fate.armed.store(BEFORE_THE_STEP, Ordering::SeqCst),
            _ => fate.armed.store(BEHIND_THE_STEP, Ordering::SeqCst),
        }
    }
}

async fn agreement(nodes: &[Node], position: u64) {
    let are_there = || nodes.iter().all(|node| node.status().position == position);
    while !are_there() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let digests: Vec<String> = nodes.iter().map(|node| node.status().digest).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

async fn survives(seed: u64) {
    let directory = tempfile::tempdir().unwrap();
    let fates: Vec<Arc<Fate>> = (0..NODES).map(|_| Arc::default()).collect();
    let (nodes, _containers) = start(&fates, &directory).await;
    let clients = Arc::new(Clients {
        nodes: nodes.clone(),
        stop: AtomicBool::new(false),
        highest: AtomicU64::new(0),
        answered: watch::Sender::new(0),
    });
    let mut asking = JoinSet::new();
    (0..CLIENTS).for_each(|client| drop(asking.spawn(Arc::clone(&clients).run(client))));
    crash_at_random(seed, &fates, &clients).await;
    clients.stop.store(true, Ordering::SeqCst);
    let mut all = asking.join_all().await.concat();
    all.sort_by_key(|answered| answered.position);
    expect_one_chain(&all);

    agreement(&nodes, all.last().unwrap().position).await;
    for node in &nodes {
        for answered in &all {
            let text = &answered.input;
            let again = node.predict(input(text).into()).key(text).await.unwrap();
            assert_eq!((again.position, again.output.as_ref()), (answered.position, &answered.output[..]));
        }
    }
    agreement(&nodes, all.last().unwrap().position).await;
    let lives: Vec<usize> = fates.iter().map(|fate| expect_whole_lives(fate, &all)).collect();
    assert!(lives.iter().all(|lives| *lives > CRASHES / 10), "{lives:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_crash_at_random_under_load_lose_nothing_and_run_nothing_twice() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("BOAT_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or(u64::from(now.subsec_nanos()));
    // Shown when it fails.
    println!("BOAT_SEED={seed}");
    tokio::time::timeout(PATIENCE, survives(seed)).await.expect("it takes too long");
}
