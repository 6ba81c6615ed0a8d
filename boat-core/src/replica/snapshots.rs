//! Snapshots between replicas: what the log does not hold any more travels as a file, piece by piece.
//!
//! The leader offers its newest snapshot to whoever is behind its log. The follower asks for one piece after the other, and
//! again for what it did not get: so it decides the pace, resumes wherever it stopped, and the sender keeps no more than a
//! place in a queue. Pieces leave within a budget of bytes for each tick. What was received is verified as a whole before
//! Raft hears of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, SnapshotStatus};

use super::store::conf_state_of;
use super::{Output, Replica};
use crate::log::LogStart;
use crate::quarantine::Decisions;
use crate::snapshot::SnapshotName;
use crate::transport::{PeerMessage, SnapshotAnswer, SnapshotOffer, SnapshotPiece};
use crate::{Membership, RaftId};

/// How often an offer is repeated, and a piece asked for again, in ticks.
const AGAIN_TICKS: u64 = 10;
/// After how many ticks without a word the other side of a transfer is given up.
const SILENT_TICKS: u64 = 250;
/// How many followers a snapshot is sent to at one time.
const SENDING_MAX: usize = 64;

/// A snapshot that this node keeps, as far as Raft has to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// Which one.
    pub name: SnapshotName,
    /// The membership as of its index.
    pub membership: Membership,
    /// What the log had decided by then, or later.
    pub decisions: Decisions,
}

/// Transfers in both directions.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    sending: BTreeMap<RaftId, Sending>,
    /// Who asked for a piece and did not get it yet, in order.
    asked: VecDeque<RaftId>,
    /// How much may leave now; below zero where a piece was longer than what was left.
    budget_bytes: i64,
    receiving: Option<Receiving>,
    /// Whole and durable, and not yet known to Raft.
    arrived: Option<KeptSnapshot>,
}

#[derive(Debug)]
struct Sending {
    name: SnapshotName,
    offered_tick: u64,
    heard_tick: u64,
    /// From where on it wants the next piece.
    wants: Option<u64>,
}

#[derive(Debug)]
struct Receiving {
    offer: SnapshotOffer,
    /// From where on the next piece is needed, once that is known.
    offset: Option<u64>,
    asked_tick: u64,
    heard_tick: u64,
}

impl Replica {
    /// Raft wants to send a snapshot: the newest is offered, which may be newer than the one that Raft has heard of. Where it
    /// cannot be, [`Replica::tick_transfers`] finds that Raft waits in vain.
    ///
    /// `term` is the one that Raft wants to send it in. By the time that it may be sent another one may lead: whoever heard
    /// of the new term from this node would take it for the leader.
    pub(super) fn offer(&mut self, to: RaftId, term: u64, outputs: &mut Vec<Output>) {
        if term != self.term() || !self.is_leader() {
            return;
        }
        let room = self.transfers.sending.len() < SENDING_MAX || self.transfers.sending.contains_key(&to);
        // What may be wrong is not passed on.
        let may_send = room && !self.is_diverged();
        let Some(kept) = self.raw.raft.store().snapshot_kept().filter(|_| may_send) else { return };
        let name = kept.name;
        let sending = Sending { name, offered_tick: self.tick, heard_tick: self.tick, wants: None };
        self.transfers.sending.insert(to, sending);
        self.send_offer(to, name, outputs);
    }

    fn send_offer(&self, to: RaftId, snapshot: SnapshotName, outputs: &mut Vec<Output>) {
        let (from, term) = (self.config.own.raft_id, self.term());
        let message = PeerMessage::SnapshotOffer(SnapshotOffer { to, from, term, snapshot });
        outputs.push(Output::Send { to: to.node(), message });
    }

    pub(super) fn tick_transfers(&mut self, outputs: &mut Vec<Output>) {
        let per_tick = i64::try_from(self.config.snapshot_bytes_per_tick.max(1)).unwrap_or(i64::MAX);
        self.transfers.budget_bytes = self.transfers.budget_bytes.saturating_add(per_tick).min(per_tick);
        let tick = self.tick;
        let (mut offers, mut ended) = (Vec::new(), Vec::new());
        for (to, sending) in &mut self.transfers.sending {
            let progress = self.raw.raft.prs().get(to.0);
            let is_wanted = progress.is_some_and(|progress| progress.state == ProgressState::Snapshot);
            if tick >= sending.heard_tick + SILENT_TICKS
                || (self.raw.raft.state == raft::StateRole::Leader && !is_wanted)
            {
                ended.push(*to);
            } else if is_wanted && tick >= sending.offered_tick.max(sending.heard_tick) + AGAIN_TICKS {
                sending.offered_tick = tick;
                offers.push((*to, sending.name));
            }
        }
        let sending = &self.transfers.sending;
        let waits = |(id, progress): (&u64, &raft::Progress)| {
            let waits = progress.state == ProgressState::Snapshot && !sending.contains_key(&RaftId(*id));
            waits.then_some(*id)
        };
        let in_vain: Vec<u64> = self.raw.raft.prs().iter().filter_map(waits).collect();
        in_vain.into_iter().for_each(|id| self.raw.report_snapshot(id, SnapshotStatus::Failure));
        offers.into_iter().for_each(|(to, name)| self.send_offer(to, name, outputs));
        ended.into_iter().for_each(|to| self.end_sending(to));
        self.ask_again(outputs);
        self.send_pieces(outputs);
    }

    /// A transfer is over, or given up: where Raft still waits for it, it may try again.
    fn end_sending(&mut self, to: RaftId) {
        if self.transfers.sending.remove(&to).is_some() {
            self.raw.report_snapshot(to.0, SnapshotStatus::Failure);
        }
    }

    /// Up to here the log may be cut, as far as transfers are concerned: whoever gets a snapshot needs what comes behind it.
    pub(super) fn cut_limit(&self) -> u64 {
        self.transfers.sending.values().map(|sending| sending.name.index).min().unwrap_or(u64::MAX)
    }

    pub(super) fn on_snapshot_answer(
        &mut self,
        from: Option<RaftId>,
        answer: &SnapshotAnswer,
        outputs: &mut Vec<Output>,
    ) {
        if from != Some(answer.from) || answer.to != self.config.own.raft_id {
            return;
        }
        let (to, tick) = (answer.from, self.tick);
        let sending = self.transfers.sending.get_mut(&to).filter(|sending| sending.name == answer.snapshot);
        let Some(sending) = sending else { return };
        sending.heard_tick = tick;
        match answer.offset {
            None => self.end_sending(to),
            // All of it is there, and being looked at.
            Some(offset) if offset >= sending.name.bytes => {}
            Some(offset) => {
                if sending.wants.replace(offset).is_none() {
                    self.transfers.asked.push_back(to);
                }
                self.send_pieces(outputs);
            }
        }
    }

    /// Has pieces read that were asked for, as far as the budget goes.
    fn send_pieces(&mut self, outputs: &mut Vec<Output>) {
        let piece_bytes = self.config.snapshot_piece_bytes;
        while let Some(to) = self.transfers.asked.front().copied() {
            let Some(sending) = self.transfers.sending.get_mut(&to) else {
                self.transfers.asked.pop_front();
                continue;
            };
            if self.transfers.budget_bytes <= 0 {
                return;
            }
            self.transfers.asked.pop_front();
            let Some(offset) = sending.wants.take() else { continue };
            let left = sending.name.bytes.saturating_sub(offset);
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(piece_bytes);
            self.transfers.budget_bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
            outputs.push(Output::ReadSnapshot { to, snapshot: sending.name, offset, bytes });
        }
    }

    /// A piece was read; `None` where the snapshot is not there any more.
    pub(super) fn on_snapshot_read(
        &mut self,
        to: RaftId,
        snapshot: SnapshotName,
        offset: u64,
        bytes: Option<Bytes>,
        outputs: &mut Vec<Output>,
    ) {
        if self.transfers.sending.get(&to).is_none_or(|sending| sending.name != snapshot) {
            return;
        }
        let Some(bytes) = bytes else { return self.end_sending(to) };
        let from = self.config.own.raft_id;
        let checksum = crc32c::crc32c(&bytes);
        let piece = SnapshotPiece { to, from, snapshot, offset, checksum, bytes };
        outputs.push(Output::Send { to: to.node(), message: PeerMessage::SnapshotPiece(piece) });
    }

    pub(super) fn on_snapshot_offer(
        &mut self,
        from: Option<RaftId>,
        offer: SnapshotOffer,
        outputs: &mut Vec<Output>,
    ) {
        let sound =
            from == Some(offer.from) && offer.to == self.config.own.raft_id && offer.snapshot.index > 0;
        if !sound || offer.term < self.term() || offer.snapshot.term > offer.term || self.is_leader() {
            return;
        }
        if self.installing.is_some() {
            // Only one can wait for the disk; this one is offered again.
            return;
        }
        self.heard.insert(offer.from, self.tick);
        let SnapshotName { index, term, .. } = offer.snapshot;
        if index <= self.commit() || (self.term_at(index) == Some(term) && self.is_member()) {
            // What it stands in for is here: Raft only has to say so.
            let membership = self.membership.clone();
            return self.step_snapshot(&offer, &membership);
        }
        // While another one is on its way, it is that one which is going to be there.
        let settled = self.transfers.receiving.is_none();
        let is_here = |arrived: &KeptSnapshot| settled && arrived.name == offer.snapshot;
        if let Some(arrived) = self.transfers.arrived.clone().filter(is_here) {
            return self.step_snapshot(&offer, &arrived.membership);
        }
        let (heard_tick, asked_tick) = (self.tick, self.tick);
        match &mut self.transfers.receiving {
            Some(receiving) if receiving.offer.snapshot == offer.snapshot => receiving.offer = offer,
            _ => {
                let snapshot = offer.snapshot;
                self.transfers.receiving = Some(Receiving { offer, offset: None, asked_tick, heard_tick });
                outputs.push(Output::BeginSnapshot(snapshot));
            }
        }
    }

    /// Says how much of the snapshot that comes is here; `None`: it cannot be taken.
    pub(super) fn on_snapshot_written(
        &mut self,
        snapshot: SnapshotName,
        offset: Option<u64>,
        outputs: &mut Vec<Output>,
    ) {
        let tick = self.tick;
        let Some(receiving) =
            self.transfers.receiving.as_mut().filter(|receiving| receiving.offer.snapshot == snapshot)
        else {
            return;
        };
        let complete = offset.is_some_and(|offset| offset >= snapshot.bytes);
        (receiving.offset, receiving.asked_tick) = (offset, tick);
        if complete {
            outputs.push(Output::FinishSnapshot(snapshot));
            return;
        }
        self.answer_offer(offset, outputs);
        if offset.is_none() {
            self.transfers.receiving = None;
        }
    }

    fn answer_offer(&self, offset: Option<u64>, outputs: &mut Vec<Output>) {
        let Some(Receiving { offer, .. }) = &self.transfers.receiving else { return };
        let SnapshotOffer { from: to, snapshot, .. } = *offer;
        let from = self.config.own.raft_id;
        let message = PeerMessage::SnapshotAnswer(SnapshotAnswer { to, from, snapshot, offset });
        outputs.push(Output::Send { to: to.node(), message });
    }

    pub(super) fn on_snapshot_piece(
        &mut self,
        from: Option<RaftId>,
        piece: SnapshotPiece,
        outputs: &mut Vec<Output>,
    ) {
        let tick = self.tick;
        if from != Some(piece.from) || piece.to != self.config.own.raft_id {
            return;
        }
        let Some(receiving) = &mut self.transfers.receiving else { return };
        let awaited = receiving.offer.snapshot == piece.snapshot && receiving.offset == Some(piece.offset);
        if !awaited || crc32c::crc32c(&piece.bytes) != piece.checksum || piece.bytes.is_empty() {
            return;
        }
        receiving.heard_tick = tick;
        // The next piece is asked for once this one is written: no more than one is on its way.
        receiving.offset = None;
        receiving.asked_tick = tick;
        let SnapshotPiece { snapshot, offset, bytes, .. } = piece;
        outputs.push(Output::WriteSnapshot { snapshot, offset, bytes });
    }

    fn ask_again(&mut self, outputs: &mut Vec<Output>) {
        let tick = self.tick;
        let Some(receiving) = &mut self.transfers.receiving else { return };
        let complete = receiving.offset == Some(receiving.offer.snapshot.bytes);
        if tick >= receiving.heard_tick + SILENT_TICKS && !complete {
            self.transfers.receiving = None;
        } else if let Some(offset) = receiving.offset
            && tick >= receiving.asked_tick + AGAIN_TICKS
        {
            receiving.asked_tick = tick;
            self.answer_offer(Some(offset), outputs);
        }
    }

    /// The snapshot that came is whole and durable; `None`: it is not what was offered, and was dropped.
    pub(super) fn on_snapshot_finished(
        &mut self,
        snapshot: SnapshotName,
        kept: Option<KeptSnapshot>,
        outputs: &mut Vec<Output>,
    ) {
        let matches =
            self.transfers.receiving.as_ref().is_some_and(|receiving| receiving.offer.snapshot == snapshot);
        if !matches {
            return;
        }
        let Some(kept) = kept.filter(|kept| kept.name == snapshot) else {
            self.answer_offer(None, outputs);
            self.transfers.receiving = None;
            return;
        };
        let Some(receiving) = self.transfers.receiving.take() else { return };
        self.transfers.arrived = Some(kept.clone());
        self.step_snapshot(&receiving.offer, &kept.membership);
    }

    fn step_snapshot(&mut self, offer: &SnapshotOffer, membership: &Membership) {
        let mut message =
            Message { from: offer.from.0, to: offer.to.0, term: offer.term, ..Message::default() };
        message.set_msg_type(MessageType::MsgSnapshot);
        let metadata = message.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (offer.snapshot.index, offer.snapshot.term);
        let mut conf_state = conf_state_of(membership);
        let own = self.config.own.raft_id;
        if !membership.members.contains_key(&own) {
            // Raft takes no snapshot that does not know it. This one is older than this node's admission, which stands in the
            // log behind it; a leader that holds a request can take no newer one until this node has come as far, too.
            conf_state.mut_learners().push(own.0);
        }
        metadata.set_conf_state(conf_state);
        if let Err(error) = self.raw.step(message) {
            log::debug!("snapshot not taken: {error}");
        }
    }

    /// What Raft goes on from, when it took the snapshot that arrived.
    pub(super) fn take_arrived(&mut self, start: LogStart) -> Option<KeptSnapshot> {
        let arrived = self.transfers.arrived.take();
        arrived.filter(|arrived| (arrived.name.index, arrived.name.term) == (start.index, start.term))
    }
}
