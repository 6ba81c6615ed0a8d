//! Inputs go in, and what comes out is carried out.

use boat_core::NodeId;
use boat_core::log::LogEntry;
use boat_core::replica::{Fatal, Input, Output, RequestId};
use boat_core::transport::PeerMessage;
use bytes::Bytes;

use super::cluster::Cluster;
use super::links::{Fate, Letter};
use super::node::Step;

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
            if self.seekers.contains_key(&id) {
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
            self.nodes.remove(&id);
            assert!(matches!(fatal, Fatal::Removed { .. } | Fatal::WentBack { .. }), "{fatal}");
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        let node = self.nodes.get_mut(&id).unwrap();
        let disk = self.disks.get_mut(&id).unwrap();
        self.trace.output(node, &output);
        match output {
            Output::Send { to, message } => {
                let letter = Letter { from: node.own.raft_id, to, message };
                self.send(letter);
            }
            Output::Append { mark, write, .. } if node.hangs => node.unwritten.push_back((mark, write)),
            Output::Append { mark, write, .. } => {
                disk.write(write);
                self.inputs.push_back((id, Input::Persisted(mark)));
            }
            Output::Committed(entries) => node.committed = last_of(&entries, node.committed),
            Output::Fetch { low, high, .. } => {
                self.inputs.push_back((id, Input::Fetched { low, entries: disk.entries(low, high) }));
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

    fn carry_out_snapshot(&mut self, id: NodeId, output: Output) {
        let node = self.nodes.get_mut(&id).unwrap();
        let input = match output {
            Output::ReadSnapshot { to, snapshot, offset, bytes } => {
                let bytes = Some(Bytes::from(vec![7; bytes]));
                Input::SnapshotRead { to, snapshot, offset, bytes }
            }
            Output::BeginSnapshot(snapshot) => {
                node.incoming = Some((snapshot, 0));
                Input::SnapshotWritten { snapshot, bytes: Some(0) }
            }
            Output::WriteSnapshot { snapshot, offset, bytes } => {
                let end = offset + bytes.len() as u64;
                node.incoming = Some((snapshot, end));
                Input::SnapshotWritten { snapshot, bytes: Some(end) }
            }
            Output::FinishSnapshot(snapshot) => {
                if std::mem::take(&mut node.pauses_verifying) {
                    self.pause(id);
                }
                let kept = self.saved[&snapshot].0.clone();
                Input::SnapshotFinished { snapshot, kept: Some(kept) }
            }
            Output::Installed(kept) => {
                node.quarantine.decided(kept.decisions.clone());
                node.restore(self.saved[&kept.name].1.clone());
                self.disks.get_mut(&id).unwrap().snapshot = Some(kept);
                return;
            }
            _ => return,
        };
        self.inputs.push_back((id, input));
    }

    /// The model of a node begins anew, from the newest snapshot if there is one.
    pub(crate) fn reset(&mut self, id: NodeId) {
        let saved = self.saved_of(&self.disks[&id]);
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
                        let saved = self.disks[&id].snapshot.as_ref();
                        let saved = saved.map(|kept| self.saved[&kept.name].1.clone());
                        node.reset(saved);
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
