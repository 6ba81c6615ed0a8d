//! One turn of the driver: everything that waits in the inbox goes into the replica, and what comes out is carried out.

use std::time::Duration;

use super::lane::Help;
use super::{Driver, Event, fatal, now, wall_ms};
use crate::replica::{Input, Output};
use crate::transport::{Introduction, PeerEvent, PeerMessage, Refusal};
use crate::{Error, MemberList, NodeId};

/// How long a node that stops waits for another to take over leadership.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);

/// Who takes a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// The driver's thread, which may wait for the disk.
    Thread,
    /// Somebody who handed something in, and must not wait.
    Helper,
}

impl Driver {
    /// The driver's thread takes a turn, with or without a tick.
    pub(super) fn turn(&mut self, ticks: bool) {
        self.take_turn(Hand::Thread, ticks);
    }

    /// Somebody else takes a turn.
    pub(super) fn help(&mut self) {
        if !self.has_ended() {
            self.take_turn(Hand::Helper, false);
        }
    }

    /// Keeps the applier's thread asleep for as long as somebody is about to help it.
    pub(super) fn hold_applier(&self) -> Option<Help> {
        self.around.shared.lanes.hold()
    }

    /// How many bytes of entries wait for the applier.
    pub(super) fn bytes_to_apply(&self) -> usize {
        self.around.shared.feed.bytes()
    }

    fn take_turn(&mut self, hand: Hand, ticks: bool) {
        let mut outputs = std::mem::take(&mut self.outputs);
        let result = self.run_turn(hand, ticks, &mut outputs);
        // What an error left there is told at the end.
        self.outputs = outputs;
        match result {
            Ok(()) => {
                let quiet =
                    !self.replica.is_leader() && self.replica.waiting() == 0 && self.outputs.is_empty();
                if self.stop.is_some_and(|deadline| now() >= deadline || quiet) {
                    self.end(Ok(()));
                }
            }
            Err(error) => self.end(Err(error)),
        }
    }

    fn run_turn(&mut self, hand: Hand, ticks: bool, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let shared = self.around.shared.clone();
        shared.inbox.take_answered(&mut self.answered);
        shared.waiters.retain_done(&mut self.answered);
        self.replica.answered(&self.answered);
        self.answered.clear();
        let mut events = std::mem::take(&mut self.events);
        shared.inbox.take(&mut events);
        shared.waiters.retain_waiting(&mut events);
        self.failed = false;
        self.wall_ms = wall_ms();
        while let Some(event) = events.pop_front() {
            if let Err(error) = self.on_event(event, outputs) {
                self.events = events;
                return Err(error);
            }
        }
        self.events = events;
        if ticks {
            let condition = shared.wellbeing.condition(shared.backend().healthy);
            self.step(Input::Condition(Box::new(condition)), outputs)?;
            self.has_ticked = true;
            self.step(Input::Tick, outputs)?;
            self.addresses.tick(self.replica.connected());
        }
        self.replica.flush(outputs).map_err(fatal)?;
        if hand == Hand::Helper && self.waits_for_disk(outputs) {
            // The driver's thread carries all of it out, in this order, before what comes behind it.
            shared.inbox.call();
            return Ok(());
        }
        self.carry_out(outputs)?;
        self.write_log(hand, outputs)?;
        if let Some(peers) = self.addresses.changed() {
            self.around.links.set_peers(peers);
        }
        self.publish();
        Ok(())
    }

    pub(super) fn step(&mut self, input: Input, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let stepped = self.replica.step(self.wall_ms, input, outputs).map_err(fatal);
        self.fail_waiters(outputs);
        stepped
    }

    /// Failures are told before the next input: who asks for the same request again in the meantime must not hear the
    /// failure of the attempt before.
    pub(super) fn fail_waiters(&mut self, outputs: &mut Vec<Output>) {
        outputs.retain(|output| match output {
            Output::Failed { id, failure } => {
                self.around.shared.waiters.fail(id, *failure);
                self.failed = true;
                false
            }
            _ => true,
        });
    }

    fn on_event(&mut self, event: Event, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match event {
            Event::Peer(event) => self.on_peer_event(event, outputs),
            // All who waited for it were told a moment ago that it failed: it must not be applied after all.
            Event::Propose { id, .. } if self.failed && !self.around.shared.waiters.is_waiting(&id) => Ok(()),
            Event::Propose { id, encoded, within, .. } => {
                let (within_ticks, leader_within_ticks) =
                    (self.ticks(within), self.ticks(self.around.leader_wait.min(within)));
                self.step(Input::Propose { id, encoded, within_ticks, leader_within_ticks }, outputs)
            }
            Event::Read { id, within } => {
                let (within_ticks, leader_within_ticks) =
                    (self.ticks(within), self.ticks(self.around.leader_wait.min(within)));
                self.step(Input::Read { id, within_ticks, leader_within_ticks }, outputs)
            }
            Event::Persisted(mark) => self.step(Input::Persisted(mark), outputs),
            Event::DiskFull(full) => self.step(Input::DiskFull(full), outputs),
            Event::Fetched { low, entries } => self.step(Input::Fetched { low, entries }, outputs),
            Event::Snapshot(input) => self.step(*input, outputs),
            Event::MayLeave { within, verdict } => {
                self.leave_verdict = Some(verdict);
                self.step(Input::MayLeave { within_ticks: self.ticks(within) }, outputs)
            }
            Event::Force { position, within, known } => {
                let is_held = self.replica.is_held(position);
                // Who asked may have gone away.
                let _ = known.send(is_held);
                let within_ticks = self.ticks(within);
                if is_held { self.step(Input::Force { position, within_ticks }, outputs) } else { Ok(()) }
            }
            Event::Operate { token, operation, within, result } => {
                self.operators.entry(token).or_default().push(result);
                let within_ticks = self.ticks(within);
                self.step(Input::Operate { token, operation, within_ticks }, outputs)
            }
            Event::StorageFailed(why) => Err(Error::Storage(why)),
            Event::LogDamaged(why) => Err(Error::Damaged(why)),
            Event::ApplierFailed(why) => Err(Error::Internal(why)),
            #[cfg(all(feature = "http", feature = "supervisor"))]
            Event::HandOver => self.step(Input::HandOver, outputs),
            Event::Stop { gracefully } => {
                let wait = if gracefully { HAND_OVER_MAX } else { Duration::ZERO };
                self.stop.get_or_insert(now() + wait);
                self.step(Input::HandOver, outputs)
            }
        }
    }

    fn on_peer_event(&mut self, event: PeerEvent, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match event {
            PeerEvent::Connected(hello) => self.step(Input::Connected(hello.node), outputs),
            PeerEvent::Disconnected { node, refused } => {
                self.step(Input::Disconnected { node, refused }, outputs)
            }
            PeerEvent::Refused { node, reason: Refusal::StaleDirectory } => {
                Err(Error::StaleDirectory(format!(
                    "node {node} has seen a later start of this directory, or more in it: it is a copy, or it was restored \
                 from a backup. Move it aside and start this node with an empty one: it will join anew"
                )))
            }
            PeerEvent::Refused { node, reason: Refusal::Superseded } => Err(Error::StaleDirectory(format!(
                "node {node} belongs to the cluster that this one was recovered as, without this node. What is here and not \
                     there is lost to it: keep this directory, and start this node with an empty one; then add it"
            ))),
            PeerEvent::Refused { node, reason } => {
                log::warn!("node {node} refuses this node: {reason}");
                Ok(())
            }
            PeerEvent::Message { from, message: PeerMessage::Introduction(introduction), .. } => {
                self.answer_introduction(from, &introduction);
                Ok(())
            }
            PeerEvent::Message { from, from_raft_id, message } => {
                self.around.desk.heard(from_raft_id, &message);
                self.step(Input::Peer { from, from_raft_id, message }, outputs)
            }
        }
    }

    /// Whoever looks for the cluster is told of its genesis.
    fn answer_introduction(&mut self, to: NodeId, introduction: &Introduction) {
        if let Some(address) = introduction.members.address(to) {
            // Whoever holds its place must not be cut off.
            let urgent = self.replica.membership().incarnation(to).is_none();
            self.addresses.hear(to, address.to_owned(), urgent);
        }
        if introduction.asks {
            let members = self.replica.membership().members.values();
            let members = members.map(|member| (member.raft_id.node(), member.address.clone()));
            let answer = Introduction {
                birth: self.around.birth,
                // While a place is handed over it stands there twice.
                members: MemberList::new(members).unwrap_or_else(|_| self.around.members.clone()),
                genesis: Some(self.around.genesis.clone()),
                asks: false,
            };
            self.around.links.send(to, vec![PeerMessage::Introduction(Box::new(answer))]);
        }
    }

    pub(super) fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(self.around.tick.as_nanos().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}
