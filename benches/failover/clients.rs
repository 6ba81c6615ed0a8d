//! Clients that are answered by whichever node does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use benches::{Result, exchange, request};
use tokio::net::TcpStream;

/// How many clients ask each node first.
const CLIENTS_PER_NODE: usize = 3;
/// After how long without an answer a client asks the next node, with the same key.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client rests when a node cannot be reached, or says that it cannot answer.
const REST: Duration = Duration::from_millis(1);

/// How often clients were started: their keys tell the runs apart.
static RUNS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
struct Shared {
    run: u64,
    stop: AtomicBool,
    answered: AtomicU64,
    last: Mutex<Option<Instant>>,
}

/// Clients at work, in one thread.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<std::result::Result<History, String>>>,
}

/// What all clients saw.
#[derive(Debug, Default)]
pub(crate) struct History {
    answers: Vec<Instant>,
    /// Requests that were sent and got another answer than an outcome, or none.
    pub(crate) lost: u32,
}

impl Clients {
    pub(crate) fn start(addresses: Vec<SocketAddr>) -> Clients {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared { run, ..Shared::default() });
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(run_all(addresses, own))
        });
        Clients { shared, thread: Some(thread) }
    }

    /// How many answers came so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Whether an answer came after `time`.
    pub(crate) fn answered_after(&self, time: Instant) -> bool {
        let last = self.shared.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last > time)
    }

    pub(crate) fn stop(mut self) -> Result<History> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("stopped before")?;
        Ok(thread.join().map_err(|_| "a client panicked")??)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl History {
    /// The longest time without an answer that ended after `from`.
    pub(crate) fn longest_gap(&self, from: Instant) -> Duration {
        let mut answers = self.answers.clone();
        answers.sort();
        let pairs = answers.iter().zip(answers.iter().skip(1));
        pairs.filter(|(_, next)| **next >= from).map(|(last, next)| *next - *last).max().unwrap_or_default()
    }
}

async fn run_all(addresses: Vec<SocketAddr>, shared: Arc<Shared>) -> std::result::Result<History, String> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..addresses.len() * CLIENTS_PER_NODE {
        tasks.spawn(client(number, addresses.clone(), shared.clone()));
    }
    let mut history = History::default();
    while let Some(seen) = tasks.join_next().await {
        let mut seen = seen.map_err(|error| error.to_string())?;
        history.answers.append(&mut seen.answers);
        history.lost += seen.lost;
    }
    Ok(history)
}

async fn client(number: usize, addresses: Vec<SocketAddr>, shared: Arc<Shared>) -> History {
    let mut history = History::default();
    let (mut place, mut asked) = (number, 0_u64);
    let mut stream = None;
    let mut received = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(address) = addresses.get(place % addresses.len()) else { break };
        let Some(connected) = stream.as_mut() else {
            stream = TcpStream::connect(address).await.ok();
            if stream.is_none() {
                place += 1;
                tokio::time::sleep(REST).await;
            }
            continue;
        };
        let key = format!("{}-{number}-{asked}", shared.run);
        let fields = format!("content-type: application/json\r\nidempotency-key: {key}\r\n");
        let bytes = request("POST", "/predict", *address, &fields, b"{\"input\":\"x\"}");
        let answered = tokio::time::timeout(PATIENCE, exchange(connected, &bytes, &mut received)).await;
        let head = answered.ok().and_then(Result::ok).filter(|head| head.status == 200);
        if let Some(head) = head {
            let now = Instant::now();
            history.answers.push(now);
            *shared.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            shared.answered.fetch_add(1, Ordering::Relaxed);
            asked += 1;
            if head.closes {
                // The node ends in order, and takes nothing more on this connection.
                stream = None;
                place += 1;
            }
            continue;
        }
        history.lost += 1;
        stream = None;
        place += 1;
        tokio::time::sleep(REST).await;
    }
    history
}
