//! Inputs go in, and what comes out is carried out.

use boat_core::NodeId;
use boat_core::log::{LogEntry, LogError};
use boat_core::proof::Carried;
use boat_core::replica::{Fatal, Input, Output, RequestId};
use boat_core::transport::PeerMessage;

use super::cluster::Cluster;
use super::links::{Fate, Letter};
use super::node::{Step, Unwritten};

/// How many inputs one step may come to: replicas that answer each other for ever are a bug.
const INPUTS_MAX: usize = 100_000;

impl Cluster {
    pub(crate) fn input(&mut self, node: NodeId, input: Input) {
        self.inputs.push_back((node, input));
        self.run();
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..INPUTS_MAX {
            let Some((id, input)) = self.inputs.pop_front() else { return };
            if self.seekers.contains_key(&id) || self.askers.contains_key(&id) {
                self.found_out(id, input);
                continue;
            }
            if let Some(gathered) = self.paused.get_mut(&id) {
                gathered.push(input);
                continue;
            }
            if let Input::Peer { from, message: PeerMessage::Introduction(asked), .. } = &input
                && self.nodes.contains_key(&id)
            {
                self.answer_introduction(id, *from, asked);
                continue;
            }
            self.turn(id, vec![input]);
        }
        panic!("replicas answer each other for ever");
    }

    /// A node takes what has gathered, and does what comes of all that.
    pub(crate) fn turn(&mut self, id: NodeId, inputs: Vec<Input>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut outputs = Vec::new();
        let stepped = inputs.into_iter().try_for_each(|input| node.replica.step(1_000, input, &mut outputs));
        let ended = stepped.and_then(|()| node.replica.flush(&mut outputs));
        if ended.is_err() {
            node.replica.abandon(&mut outputs);
        }
        self.trace.state(node);
        outputs.into_iter().for_each(|output| self.carry_out(id, output));
        self.apply(id);
        if let Err(fatal) = ended {
            self.trace.ended(id, &fatal);
            self.end(id);
            assert!(matches!(fatal, Fatal::Removed { .. } | Fatal::WentBack { .. }), "{fatal}");
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        // What comes behind an error of the disk is not carried out any more.
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let disk = self.disks.get_mut(&id).unwrap();
        self.trace.output(node, &output);
        match output {
            Output::Send { to, message } => {
                let letter = Letter { from: node.own.raft_id, to, message };
                self.send(letter);
            }
            Output::Append { mark, write, sync } if node.hangs => {
                node.unwritten.push_back(Unwritten { mark, write, sync });
            }
            Output::Append { mark, write, sync } => self.write(id, Unwritten { mark, write, sync }),
            Output::Committed(entries) => node.committed = last_of(&entries, node.committed),
            Output::Fetch { low, high, bytes_max } => {
                let entries = disk.entries(low, high, bytes_max);
                self.trace.read(id, &entries);
                self.inputs.push_back((id, Input::Fetched { low, entries }));
            }
            Output::Decided(decisions) => {
                node.quarantine.decided(decisions);
                disk.keep(&node.quarantine);
                node.is_held = false;
                if node.quarantine.is_outdated() {
                    self.reset(id);
                }
            }
            Output::Hold { position, round } => {
                if node.quarantine.hold(position, round) {
                    disk.keep(&node.quarantine);
                    self.trace.line(format!("{id} holds position {position} as the leader asks"));
                }
            }
            Output::Diverged { rebuild: true, .. } => self.reset(id),
            Output::Failed { id: request, .. } => drop(node.waiting.remove(&request)),
            Output::Membership(membership) => {
                node.open();
                node.addresses.iter_mut().for_each(|known| known.set_membership(&membership));
            }
            Output::Reach { node: peer, address, urgent } => {
                node.addresses.iter_mut().for_each(|known| known.hear(peer, address.clone(), urgent));
            }
            snapshot => self.carry_out_snapshot(id, snapshot),
        }
    }

    /// One write comes to the disk.
    pub(crate) fn write(&mut self, id: NodeId, Unwritten { mark, write, sync }: Unwritten) {
        if !self.nodes.contains_key(&id) {
            return;
        }
        match self.disks.get_mut(&id).unwrap().write(&write, sync) {
            Ok(()) => self.inputs.push_back((id, Input::Persisted(mark))),
            Err(error) => self.disk_failed(id, &error),
        }
    }

    /// A node ends of its disk.
    fn disk_failed(&mut self, id: NodeId, error: &LogError) {
        self.trace.line(format!("{id} ends: {error}"));
        self.end(id);
    }

    fn carry_out_snapshot(&mut self, id: NodeId, output: Output) {
        let node = self.nodes.get_mut(&id).unwrap();
        if matches!(output, Output::FinishSnapshot(_)) && std::mem::take(&mut node.pauses_verifying) {
            self.pause(id);
        }
        let decisions =
            if let Output::Installed(kept) = &output { Some(kept.decisions.clone()) } else { None };
        let disk = self.disks.get_mut(&id).unwrap();
        match (disk.carry_out(output), decisions) {
            (Err(error), _) => self.disk_failed(id, &error),
            (Ok(Carried::Tell(input)), _) => self.inputs.push_back((id, *input)),
            (Ok(Carried::Installed), Some(decisions)) => {
                let (saved, node) = (disk.saved().unwrap(), self.nodes.get_mut(&id).unwrap());
                node.quarantine.decided(decisions);
                node.restore(saved);
            }
            (Ok(Carried::Installed | Carried::Nothing), _) => {}
        }
    }

    /// The model of a node begins anew, from the newest snapshot if there is one.
    pub(crate) fn reset(&mut self, id: NodeId) {
        let saved = self.disks[&id].saved();
        self.trace.line(format!("{id} rebuilds its model"));
        self.nodes.get_mut(&id).unwrap().reset(saved);
    }

    pub(crate) fn send(&mut self, letter: Letter) {
        if !self.reaches(letter.from.node(), letter.to) {
            return;
        }
        let fate = self.links.send(&letter);
        self.trace.sent(&letter, fate);
        match fate {
            Fate::Arrives => self.arrive(letter),
            Fate::ArrivesTwice => {
                self.arrive(letter.clone());
                self.arrive(letter);
            }
            Fate::Lost | Fate::Late => {}
        }
    }

    pub(crate) fn arrive(&mut self, letter: Letter) {
        let Letter { from, to, message } = letter;
        self.inputs.push_back((to, Input::Peer { from: from.node(), from_raft_id: Some(from), message }));
    }

    /// The model of a node takes requests again.
    pub(crate) fn make_ready(&mut self, id: NodeId) {
        self.nodes.get_mut(&id).unwrap().is_busy = false;
        self.apply(id);
        self.run();
    }

    /// Applies what is committed.
    fn apply(&mut self, id: NodeId) {
        while let Some(node) = self.nodes.get_mut(&id)
            && let Some(steps) = node.apply(&self.disks[&id])
        {
            let mut answered: Vec<RequestId> = Vec::new();
            for step in steps {
                match step {
                    Step::Applied(request, applied) => {
                        let waits = node.waiting.remove(&request).is_some();
                        self.trace.applied(id, &request, &applied, waits);
                        answered.push(request);
                    }
                    Step::Crashed(position) => {
                        self.trace.line(format!("{id} loses its model to position {position}"));
                        self.disks.get_mut(&id).unwrap().keep(&node.quarantine);
                        node.reset(self.disks[&id].saved());
                    }
                    Step::Held(position) => self.trace.line(format!("{id} does not run position {position}")),
                }
            }
            if !answered.is_empty() {
                self.inputs.push_back((id, Input::Answered(answered)));
            }
        }
    }
}

fn last_of(entries: &[LogEntry], before: u64) -> u64 {
    entries.last().map_or(before, |entry| entry.index)
}
