//! The end of a run: faults stop, everything is started, and the cluster must heal (promises L1 and L2).

use super::check::{Violation, require};
use super::context::Checked;
use super::death::Death;
use super::node::Node;
use super::options::TICK_MS;
use super::queue::{Event, Life};
use super::replay::Trouble;
use super::world::World;
use crate::{NodeId, RaftId};

/// The ticks of the shortest election timeout; the longest is twice that.
const ELECTION_TICKS: u64 = 15;
/// How often the healing is looked at, in milliseconds.
const LOOK_MS: u64 = 20;
/// How many election timeouts may pass until a fresh request is answered.
const TIMEOUTS_MAX: u64 = 10;
/// How often the operator looks for nodes whose places are held at other addresses, in milliseconds.
const SETTLE_MS: u64 = 500;
/// For how long whoever was removed may look for somebody who tells it, in milliseconds.
const FORGOTTEN_MS: u64 = 10_000;
/// How long it may take until all nodes are alike, lost disks replaced, in milliseconds.
const ALIKE_MS_MAX: u64 = 30_000;

/// How far the healing is.
#[derive(Debug)]
pub(super) struct Healing {
    began_ms: u64,
    /// Until when only the operator could tell the cluster how to go on, or a majority replayed.
    blocked_ms: u64,
    probe: Option<usize>,
    /// How long the probe took.
    pub(super) served_ms: Option<u64>,
    /// How long everything took.
    pub(super) alike_ms: Option<u64>,
    /// The reads that must be served, one on each node.
    pub(super) reads: Vec<(u64, NodeId, Life)>,
}

impl World {
    /// Ends all faults and starts whatever does not run.
    pub(super) fn heal(&mut self) -> Checked {
        self.context.note(0, || "faults end".to_owned());
        self.context.faulty = false;
        self.network.heal();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.paused_until_ms = 0;
            if node.is_full() {
                node.make_space();
                self.context.after(1, Event::LookAtSpace(id));
            }
            if let Some(running) = node.running_mut() {
                running.replay.trouble = Trouble::default();
                running.schedule(&mut self.context);
            }
            if node.is_armed() {
                // A fault that has not struck yet would strike now.
                self.die(id, Death::Kill);
            } else if node.is_down() {
                self.context.after(1, Event::Start(id));
            }
        }
        let probe =
            self.clients.last_mut().and_then(|client| client.act(&mut self.context, &mut self.checker));
        let operation = probe.as_ref().map(|sending| sending.attempt.operation);
        if let Some(sending) = probe {
            self.send(sending);
        }
        let began_ms = self.context.now_ms;
        self.healing = Some(Healing {
            began_ms,
            blocked_ms: 0,
            probe: operation,
            served_ms: None,
            alike_ms: None,
            reads: Vec::new(),
        });
        self.context.after(LOOK_MS, Event::Healed);
        Ok(())
    }

    /// True: the cluster has healed.
    pub(super) fn look_at_healing(&mut self) -> Checked<bool> {
        self.context.after(LOOK_MS, Event::Healed);
        let since_ms = self.healing.as_ref().map_or(0, |healing| self.context.now_ms - healing.began_ms);
        let is_blocked = !self.blocking().is_empty() || self.is_replaying();
        if since_ms % SETTLE_MS < LOOK_MS {
            self.settle_places();
            self.remove_blocking();
            if since_ms >= FORGOTTEN_MS {
                self.end_forgotten();
            }
        }
        let Some(healing) = &mut self.healing else { return Ok(false) };
        let passed_ms = self.context.now_ms - healing.began_ms;
        if is_blocked {
            healing.blocked_ms = passed_ms;
        }
        let waits = |probe: usize| self.checker.book.get(probe).is_some_and(|probe| probe.waits);
        if healing.served_ms.is_none() && !healing.probe.is_some_and(waits) {
            healing.served_ms = Some(passed_ms);
        }
        let election_ms = 2 * ELECTION_TICKS * TICK_MS;
        let waited_ms = passed_ms - healing.blocked_ms;
        let served = healing.served_ms.is_some() || waited_ms <= TIMEOUTS_MAX * election_ms;
        let apart = self.apart();
        let state =
            || format!("{passed_ms} ms after the faults ended: {}", apart.clone().unwrap_or_default());
        require(served, "L1 a fresh request is served", state)?;
        require(apart.is_none() || passed_ms <= ALIKE_MS_MAX, "L2 all nodes are alike", state)?;
        if apart.is_some() || self.healing.as_ref().is_none_or(|healing| healing.served_ms.is_none()) {
            return Ok(false);
        }
        let reads = || format!("{passed_ms} ms after the faults ended reads wait; {}", self.describe());
        require(passed_ms <= ALIKE_MS_MAX, "L1 reads are served", reads)?;
        if !self.reads_healed() {
            return Ok(false);
        }
        if let Some(healing) = &mut self.healing {
            healing.alike_ms = Some(passed_ms);
        }
        self.end()?;
        Ok(true)
    }

    /// Whether a majority of the voters replays: promise L1 counts from when that is over. Requests that crash models are found
    /// one after the other, and each costs some replays.
    fn is_replaying(&self) -> bool {
        let voters = self.latest_membership().unwrap_or_default().voters;
        let replays = |voter: &&RaftId| {
            let running = self.nodes.get(&voter.node()).and_then(Node::running);
            running.is_some_and(|running| running.raft_id == **voter && running.replay.is_replaying())
        };
        voters.iter().filter(replays).count() > voters.len() / 2
    }

    /// How nodes still differ; `None` once they are alike and nobody waits for an answer.
    fn apart(&self) -> Option<String> {
        let waiting = self.checker.book.waiting();
        if waiting > 0 {
            return Some(format!("{waiting} operations wait; {}", self.describe()));
        }
        let Some(latest) = self.latest_membership() else { return Some(self.describe()) };
        let (position, commit) = (self.checker.position(), self.checker.commit());
        let settled = latest.learners.is_empty() && !latest.is_joint();
        let member = |id: &RaftId| {
            let running = self.nodes.get(&id.node()).and_then(|node| node.running());
            running.filter(|running| running.raft_id == *id).is_some_and(|running| {
                let applier = &running.replay.applier;
                *running.replica.membership() == latest
                    && latest.members.get(id).is_some_and(|member| {
                        self.nodes.get(&id.node()).is_some_and(|node| node.address == member.address)
                    })
                    && !running.replay.is_tainted
                    && applier.position() == position
                    && applier.index() == commit
            })
        };
        // Nodes outside do not take themselves for members.
        let outsider = |node: &Node| {
            node.running()
                .is_none_or(|running| latest.is_voter(running.raft_id) || !running.replica.is_member())
        };
        let alike = settled && latest.voters.iter().all(member) && self.nodes.values().all(outsider);
        (!alike).then(|| self.describe())
    }

    fn describe(&self) -> String {
        let mut all = format!("position {}, commit {}", self.checker.position(), self.checker.commit());
        for node in self.nodes.values() {
            let state = match node.running() {
                None => "is not a member".to_owned(),
                Some(running) => {
                    let membership = running.replica.membership();
                    let names = |ids: &[RaftId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
                    let replay = &running.replay;
                    format!(
                        "{} {:?} ({}, holds {:?}) applied {} position {}{} voters {:?} learners {:?}",
                        running.raft_id,
                        running.replica,
                        running.replica.ailments(),
                        replay.quarantine.holds(),
                        replay.applier.index(),
                        replay.applier.position(),
                        if replay.is_tainted { " differs" } else { "" },
                        names(&membership.voters),
                        names(&membership.learners)
                    )
                }
            };
            all.push_str(&format!("\n  node {}: {state}", node.id));
        }
        all
    }

    /// What must hold at the end.
    fn end(&self) -> Result<(), Violation> {
        let latest = self.latest_membership().unwrap_or_default();
        for node in self.nodes.values() {
            if let Some(running) = node.running().filter(|running| latest.is_voter(running.raft_id)) {
                let applier = &running.replay.applier;
                self.checker.ended(node.id, applier.position())?;
                self.checker.digested(node.id, applier.position(), applier.digest())?;
            }
        }
        Ok(())
    }
}
