//! A steady load, and what must hold for its answers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boat_clipper::HashChain;
use boat_core::history::{Record, check};

use super::client::{Client, Reply};
use super::cluster::{Cluster, NODES};
use super::records::Records;
use super::{LOOK_AGAIN, WAIT_MAX};

/// How many clients ask at the same time.
const CLIENTS: u16 = 4;

/// How long a client rests after each answer: the history stays short enough to be asked for again on each node.
const PACE: Duration = Duration::from_millis(15);

/// How many ask at the same time for the history again, on each node.
const READERS: usize = 4;

/// A request and its answer. Its key is also its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answered {
    key: String,
    position: u64,
    body: String,
}

impl Answered {
    #[track_caller]
    fn read(key: &str, reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{key}: {reply:?}");
        let position = reply.header("boat-position").unwrap().parse().unwrap();
        Answered { key: key.to_owned(), position, body: String::from_utf8(reply.body.to_vec()).unwrap() }
    }
}

/// Clients that ask one request after the other, each on the next node, until they are told to stop. Who gets no answer asks
/// the next node with the same key; who is told that a request will never be applied asks with another.
#[derive(Debug)]
pub(crate) struct Load {
    progress: Arc<Progress>,
    clients: Vec<JoinHandle<Vec<Answered>>>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// The highest position of which any client knows.
    highest: AtomicU64,
    answered: Mutex<usize>,
    /// What everybody asked and was told.
    records: Arc<Records>,
    changed: Condvar,
}

impl Load {
    pub(crate) fn start(cluster: &Cluster<'_>) -> Self {
        let progress = Arc::<Progress>::default();
        let client = |number| {
            let (nodes, progress) = (cluster.clients(), progress.clone());
            std::thread::spawn(move || run(number, nodes, &progress))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Load { progress, clients }
    }

    /// Waits for so many more answers.
    #[track_caller]
    pub(crate) fn expect_more(&self, more: usize) {
        let answered = self.progress.answered.lock().unwrap();
        let enough = *answered + more;
        let (answered, waited) =
            self.progress.changed.wait_timeout_while(answered, WAIT_MAX, |count| *count < enough).unwrap();
        let count = *answered;
        drop(answered);
        assert!(!waited.timed_out(), "{count} answers, {enough} wanted");
    }

    /// Lets each client get its last answer.
    pub(crate) fn stop(mut self) -> History {
        self.progress.stop.store(true, Ordering::Relaxed);
        let answers = self.clients.drain(..).flat_map(|client| client.join().expect("a client failed"));
        History { answers: answers.collect(), records: self.progress.records.clone() }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.progress.stop.store(true, Ordering::Relaxed);
    }
}

fn run(client: u16, mut nodes: Vec<Client>, progress: &Progress) -> Vec<Answered> {
    let mut all = Vec::new();
    while !progress.stop.load(Ordering::Relaxed) {
        let key = format!("client-{client}/{}", all.len());
        let before = progress.highest.load(Ordering::SeqCst);
        let answered =
            ask_until_answered(&mut nodes, usize::from(client) + all.len(), &key, &progress.records);
        assert!(answered.position > before, "{answered:?} was asked when {before} had been answered");
        progress.highest.fetch_max(answered.position, Ordering::SeqCst);
        all.push(answered);
        *progress.answered.lock().unwrap() += 1;
        progress.changed.notify_all();
        std::thread::park_timeout(PACE);
    }
    all
}

/// One asking, with a record of how it began and ended.
fn ask(client: &mut Client, key: &str, records: &Records) -> Option<Reply> {
    let operation = || key.to_owned();
    records.push(Record::Sent { at_us: records.now_us(), operation: operation() });
    let reply = client.predict(key, key).ok();
    let at_us = records.now_us();
    records.push(match &reply {
        Some(reply) if reply.status == 200 => {
            let Answered { position, body, .. } = Answered::read(key, reply);
            Record::Answered { at_us, operation: operation(), position, outcome: body }
        }
        Some(reply) => {
            Record::Failed { at_us, operation: operation(), definite: reply.json()["retry"] == "safe" }
        }
        None => Record::Failed { at_us, operation: operation(), definite: false },
    });
    reply
}

fn ask_until_answered(nodes: &mut [Client], first: usize, name: &str, records: &Records) -> Answered {
    let asked = Instant::now();
    let mut key = name.to_owned();
    let mut may_be_applied = false;
    for attempt in first.. {
        let place = attempt % nodes.len();
        match ask(&mut nodes[place], &key, records) {
            Some(reply) if reply.status == 503 => {
                assert_eq!(reply.json()["retry"], "safe", "{reply:?}");
                // That it was never applied is checked by not asking for it again: the others would show it.
                if !may_be_applied {
                    key = format!("{name}+{attempt}");
                }
            }
            Some(reply) if reply.status == 504 => {
                assert_eq!(reply.json()["retry"], "same_key", "{reply:?}");
                may_be_applied = true;
            }
            Some(reply) => return Answered::read(&key, &reply),
            None => may_be_applied = true,
        }
        assert!(asked.elapsed() < WAIT_MAX, "nobody answered {key}");
        std::thread::park_timeout(LOOK_AGAIN);
    }
    unreachable!("attempts do not end")
}

/// Everything that was ever asked, with its answer.
#[derive(Debug)]
pub(crate) struct History {
    answers: Vec<Answered>,
    pub(crate) records: Arc<Records>,
}

impl History {
    /// Asks each node for something new: its answer shows the state of that node's own model.
    #[track_caller]
    pub(crate) fn probe(&mut self, cluster: &Cluster<'_>, name: &str) {
        for node in 0..NODES {
            let key = format!("{name}/{node}");
            let reply = ask(&mut cluster.client(node), &key, &self.records).unwrap();
            assert_eq!(reply.header("boat-node"), Some(node.to_string().as_str()));
            assert_eq!(reply.header("boat-replayed"), None);
            self.answers.push(Answered::read(&key, &reply));
        }
    }

    /// Checks that the answers are those of one model that was given all requests in the order of their positions, each
    /// once and without an end: then every model's state is that of one that never stopped.
    #[track_caller]
    pub(crate) fn expect_one_chain(&mut self) {
        self.answers.sort_by_key(|answered| answered.position);
        let positions: BTreeSet<u64> = self.answers.iter().map(|answered| answered.position).collect();
        assert_eq!(positions.len(), self.answers.len(), "two keys have one position");
        let mut model = HashChain::default();
        for (query_id, answered) in self.answers.iter().enumerate() {
            let output = model.step(answered.key.as_bytes());
            let expected = format!(r#"{{"query_id":{query_id},"output":"{output}","default":false}}"#);
            assert_eq!(answered.body, expected, "{answered:?}");
        }
    }

    /// Asks for every key again on every node: the answers are the first ones, and nothing is applied again.
    #[track_caller]
    pub(crate) fn expect_on_every_node(&self, cluster: &Cluster<'_>) {
        let before = cluster.expect_agreement();
        std::thread::scope(|scope| {
            for node in 0..NODES {
                for part in self.answers.chunks(self.answers.len().div_ceil(READERS)) {
                    scope.spawn(move || expect_again(cluster.client(node), part, &self.records));
                }
            }
        });
        assert_eq!(cluster.expect_agreement(), before);
        let last = self.answers.iter().map(|answered| answered.position).max();
        assert_eq!(Some(before.0), last, "something was applied that nobody asked for");
        let (position, digest) = before;
        self.expect_sound((0..NODES).map(|node| Record::Ended { node, position, digest: digest.clone() }));
    }

    /// Has everything judged that was asked and told, and what nodes are known to have come to.
    #[track_caller]
    pub(crate) fn expect_sound(&self, ended: impl Iterator<Item = Record>) {
        let records: Vec<Record> = self.records.all().into_iter().chain(ended).collect();
        if let Err(violations) = check(&records) {
            let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"));
        }
    }
}

fn expect_again(mut client: Client, part: &[Answered], records: &Records) {
    for answered in part {
        let reply = ask(&mut client, &answered.key, records).unwrap();
        assert_eq!(Answered::read(&answered.key, &reply), *answered);
        assert_eq!(reply.header("boat-replayed"), Some("true"), "{reply:?}");
    }
}
