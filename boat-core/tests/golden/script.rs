//! The steps of a scenario.
//!
//! | step | what happens |
//! |---|---|
//! | `limits COMMAND RECENT` | entries hold so many bytes of requests, and so many bytes of recent entries are kept in memory |
//! | `found N` | nodes 0 to N-1 start, and found a cluster |
//! | `dial` | from now on nodes reach only whom they dial where it is |
//! | `elect N` | time passes for node N alone until it leads, once the others have missed a leader that they know |
//! | `tick COUNT [N]` | time passes for all, or for node N alone |
//! | `until TEXT` | time passes for all until a line with this text comes |
//! | `predict N NAME [BODY]` | a client asks node N under this key; the body is its name otherwise |
//! | `many N COUNT` | a client asks node N under so many keys: `r1`, `r2` and so on |
//! | `read N NUMBER` | a client asks node N for a linearizable read |
//! | `cut N [M]` | everything from and to N is lost, or what N sends to M |
//! | `delay N M`, `late [N M]` | what N sends to M is kept back, and what was comes now: all, or on that link |
//! | `twice N M` | what N sends to M comes twice |
//! | `heal` | all links are well |
//! | `hang N`, `go N` | the disk of N hangs, and does not any more |
//! | `sync N` | the disk of N, which hangs, takes the oldest write all the same |
//! | `pause N`, `resume N` | the process of N stands still, and takes all that has gathered in one turn |
//! | `pause N verifying` | the process of N will stand still as soon as it verifies a snapshot |
//! | `stop N`, `crash N` | the process of N ends; its machine is silent, or refuses connections |
//! | `start N [ADDRESS]` | it starts again from its disk, or for the first time from nothing; there, if it has moved |
//! | `wipe N [ADDRESS]` | it comes back without its disk |
//! | `lose N` | the same, and it has to find the cluster first, from the list of its founders |
//! | `damage N [ADDRESS]` | its next process finds that the disk lost what was acknowledged, and asks whether it may begin anew |
//! | `copy N`, `restore N` | the disk of N is copied; N ends, and its disk is what was copied |
//! | `snapshot N [keeping]` | N takes a snapshot, and cuts its log behind it, or behind the one before |
//! | `power N` | the machine of N loses power, and what was not synced; it is silent |
//! | `failsync N` | the disk of N will fail at the next sync |
//! | `busy N`, `ready N` | the model of N takes no more requests, and takes them again |
//! | `taint N` | the model of N goes another way from the next request on |
//! | `force N POSITION` | an operator wants the request there quarantined |
//! | `handover N`, `leave N` | N hands leadership over, or asks whether its disk may be wiped |
//! | `add`, `replace`, `promote`, `remove`, `transfer` `N M [ADDRESS]` | an operator asks node N for this change of node M |
//! | `show` | one line about each node |
//! | `quietly STEP` | the step, and nothing of what happened |

use boat_core::replica::{Input, ReadId, RequestId};
use boat_core::{MembershipOperation, NodeId, Origin, Request, RequestKind};

use super::cluster::Cluster;
use super::node::Limits;

/// How much time passes at most until something happens.
const TICKS_MAX: usize = 2_000;
/// For how long a follower takes a leader for alive that it has heard of.
const LEASE_TICKS: usize = 15;
/// How long a request may take, and how much of that it waits for a leader.
const WITHIN_TICKS: u64 = 100;
const LEADER_WITHIN_TICKS: u64 = 50;
const OPERATION_WITHIN_TICKS: u64 = 400;

/// Runs the steps of a scenario, and gives it with what happened.
pub(crate) fn run(text: &str) -> String {
    let mut cluster = Cluster::default();
    let mut out = String::new();
    let mut is_empty = true;
    for line in text.lines() {
        let Some(step) = line.strip_prefix('>') else {
            if line.starts_with('#') {
                out += &format!("{line}\n");
            }
            continue;
        };
        if std::mem::take(&mut is_empty) {
            out.push('\n');
        }
        out += &format!("{line}\n");
        cluster.trace.next_step();
        let words: Vec<_> = step.split_whitespace().collect();
        let is_quiet = words.first() == Some(&"quietly");
        cluster.step(words.get(usize::from(is_quiet)..).unwrap_or_default());
        for line in cluster.trace.lines.drain(..).filter(|_| !is_quiet) {
            out += &format!("{line}\n");
        }
    }
    out
}

fn node(word: &str) -> NodeId {
    word.parse().unwrap_or_else(|_| panic!("{word} is no node"))
}

impl Cluster {
    fn step(&mut self, words: &[&str]) {
        match *words {
            ["limits", command, recent] => {
                let (command_bytes, recent_bytes) = (command.parse().unwrap(), recent.parse().unwrap());
                self.limits = Some(Limits { command_bytes, recent_bytes });
            }
            ["found", count] => self.found(count.parse().unwrap()),
            ["dial"] => self.all_dial(),
            ["elect", id] => self.elect(node(id)),
            ["tick", count] => self.ticks(count, None),
            ["tick", count, id] => self.ticks(count, Some(node(id))),
            ["until", ..] => self.until(&words[1..].join(" ")),
            ["predict", id, name] => self.predict(node(id), name, name),
            ["predict", id, name, body] => self.predict(node(id), name, body),
            ["many", id, count] => {
                (1..=count.parse().unwrap()).map(|number: u32| format!("r{number}")).for_each(|name| {
                    self.predict(node(id), &name, &name);
                });
            }
            ["read", id, number] => {
                let (within_ticks, leader_within_ticks) = (WITHIN_TICKS, LEADER_WITHIN_TICKS);
                let id_of_read = ReadId(number.parse().unwrap());
                self.input(node(id), Input::Read { id: id_of_read, within_ticks, leader_within_ticks });
            }
            ["cut", id] => self.links.cut_off(node(id)),
            ["cut", from, to] => self.links.cut((node(from), node(to))),
            ["delay", from, to] => self.links.delay((node(from), node(to))),
            ["twice", from, to] => self.links.repeat((node(from), node(to))),
            ["late"] => self.deliver_late(None),
            ["late", from, to] => self.deliver_late(Some((node(from), node(to)))),
            ["heal"] => self.links.heal(),
            ["show"] => self.show(),
            _ => self.step_of_node(words),
        }
    }

    fn step_of_node(&mut self, words: &[&str]) {
        let id = words.get(1).map(|id| node(id)).unwrap_or_else(|| panic!("no such step: {words:?}"));
        if let (["start" | "wipe" | "damage", _, address], true) = (words, words.len() == 3) {
            self.move_to(id, address);
        }
        match (words[0], &words[2..]) {
            ("hang", []) => self.nodes.get_mut(&id).unwrap().hangs = true,
            ("go", []) => self.go_on(id),
            ("pause", []) => self.pause(id),
            ("pause", ["verifying"]) => self.nodes.get_mut(&id).unwrap().pauses_verifying = true,
            ("resume", []) => self.resume(id),
            ("sync", []) => self.sync_oldest(id),
            ("stop", []) => self.stop(id, false),
            ("crash", []) => self.stop(id, true),
            ("start", _) if self.disks.contains_key(&id) => self.start(id),
            ("start", _) => self.start_empty(id),
            ("wipe", _) => self.wipe(id),
            ("lose", []) => self.lose(id),
            ("damage", _) => self.damage(id),
            ("copy", []) => self.copy_disk(id),
            ("restore", []) => self.restore_disk(id),
            ("snapshot", []) => self.take_snapshot(id, false),
            ("snapshot", ["keeping"]) => self.take_snapshot(id, true),
            ("power", []) => self.lose_power(id),
            ("failsync", []) => self.disks[&id].fail_sync(),
            ("busy", []) => self.nodes.get_mut(&id).unwrap().is_busy = true,
            ("ready", []) => self.make_ready(id),
            ("taint", []) => self.nodes.get_mut(&id).unwrap().model.taint(),
            ("force", [position]) => {
                let (position, within_ticks) = (position.parse().unwrap(), OPERATION_WITHIN_TICKS);
                self.input(id, Input::Force { position, within_ticks });
            }
            ("handover", []) => self.input(id, Input::HandOver),
            ("leave", []) => self.input(id, Input::MayLeave { within_ticks: WITHIN_TICKS }),
            (what, rest) => self.operate(id, operation(what, rest)),
        }
    }

    fn elect(&mut self, id: NodeId) {
        // As long as a follower takes its leader for alive it gives nobody else its vote.
        if self.nodes.values().any(|node| node.replica.leader().is_some()) {
            (0..LEASE_TICKS).for_each(|_| self.tick(None));
        }
        for _ in 0..TICKS_MAX {
            let replica = &self.nodes[&id].replica;
            if replica.is_leader() && replica.caught_up_index().is_some() {
                return;
            }
            self.tick(Some(id));
        }
        panic!("{id} does not come to lead: {:#?}", self.trace.lines);
    }

    fn ticks(&mut self, count: &str, only: Option<NodeId>) {
        (0..count.parse().unwrap()).for_each(|_: usize| self.tick(only));
    }

    fn until(&mut self, text: &str) {
        for _ in 0..TICKS_MAX {
            if self.trace.lines.iter().any(|line| line.contains(text)) {
                return;
            }
            self.tick(None);
        }
        panic!("it does not come to \"{text}\": {:#?}", self.trace.lines);
    }

    fn predict(&mut self, id: NodeId, name: &str, body: &str) {
        let (key, body) = (name.as_bytes().to_vec(), body.as_bytes().to_vec());
        let request =
            Request { kind: RequestKind::Predict, origin: Origin::Key(key.into()), body: body.into() };
        let mut encoded = Vec::new();
        request.encode(&mut encoded);
        let asked = RequestId::of(&request.origin, request.hash());
        self.nodes.get_mut(&id).unwrap().waiting.insert(asked.clone(), name.to_owned());
        let (within_ticks, leader_within_ticks) = (WITHIN_TICKS, LEADER_WITHIN_TICKS);
        let encoded = encoded.into();
        self.input(id, Input::Propose { id: asked, encoded, within_ticks, leader_within_ticks });
    }

    fn operate(&mut self, id: NodeId, operation: MembershipOperation) {
        let token = self.operation(operation.to_string());
        self.input(id, Input::Operate { token, operation, within_ticks: OPERATION_WITHIN_TICKS });
    }
}

fn operation(what: &str, rest: &[&str]) -> MembershipOperation {
    match (what, rest) {
        ("add", [id]) => MembershipOperation::Add { node: node(id), address: format!("host-{id}:1") },
        ("add", [id, address]) => MembershipOperation::Add { node: node(id), address: (*address).to_owned() },
        ("replace", [id, address]) => {
            MembershipOperation::Replace { node: node(id), address: (*address).to_owned() }
        }
        ("promote", [id]) => MembershipOperation::Promote { node: node(id) },
        ("remove", [id]) => MembershipOperation::Remove { node: node(id) },
        ("transfer", []) => MembershipOperation::TransferLeader { to: None },
        ("transfer", [id]) => MembershipOperation::TransferLeader { to: Some(node(id)) },
        _ => panic!("no such step: {what} {rest:?}"),
    }
}
