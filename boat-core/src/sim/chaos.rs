//! Drawing faults: what goes wrong with whole nodes, now and then.

use super::context::Checked;
use super::faults::Fault;
use super::node::{Death, Node, NodeInput};
use super::queue::Event;
use super::world::{FAULTS_MS, World};
use crate::NodeId;
use crate::replica::Input;

/// How much likelier a process dies while a write is in flight.
const CRASH_WHILE_WRITING: u32 = 10;
/// How long a pause takes, at most, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_000;
/// How far a wall clock jumps, at most: an hour.
const CLOCK_JUMP_MS_MAX: u64 = 3_600_000;
/// How long a disk stays full, at most, in milliseconds.
const FULL_MS_MAX: u64 = 4_000;
/// How many bytes a disk has left at most when it becomes full.
const FULL_LEFT_BYTES_MAX: u64 = 20_000;
/// How long it takes until the log's thread sees that its disk is nearly full, at most, in milliseconds.
const FULL_SEEN_MS_MAX: u64 = 500;
/// For how many ticks a node asks whether its disk may be wiped.
const MAY_LEAVE_TICKS: u64 = 50;

impl World {
    /// Draws what goes wrong now.
    pub(super) fn draw_faults(&mut self) -> Checked {
        if !self.context.faulty {
            return Ok(());
        }
        self.context.after(FAULTS_MS, Event::Faults);
        self.network.draw_faults(&mut self.context);
        self.draw_leader_cut();
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.draw_disk_full(id);
            self.draw_node_faults(id);
        }
        Ok(())
    }

    /// The leader alone on one side, its clients on both.
    fn draw_leader_cut(&mut self) {
        if !self.context.fault(self.context.options.leader_cut_per_mille) || self.nodes.len() < 2 {
            return;
        }
        let leads = |node: &&Node| node.running().is_some_and(|running| running.replica.is_leader());
        if let Some(leader) = self.nodes.values().find(leads).map(|node| node.id) {
            self.context.count(Fault::LeaderCutOff);
            self.context.note(u64::from(leader.0), || format!("node {leader} leads and is cut off"));
            self.network.cut_off(leader);
        }
    }

    /// A disk fills up. Its node sees that soon, but maybe not before the disk is full to the last byte.
    fn draw_disk_full(&mut self, id: NodeId) {
        let context = &mut self.context;
        let Some(node) = self.nodes.get_mut(&id).filter(|node| !node.is_full()) else { return };
        if !context.fault(context.options.disk_full_per_mille) {
            return;
        }
        context.count(Fault::DiskFull);
        let left_bytes = context.up_to(FULL_LEFT_BYTES_MAX);
        context.note(left_bytes, || format!("node {id} has {left_bytes} bytes left on its disk"));
        node.fill(left_bytes);
        let wait_ms = 1 + context.up_to(FULL_MS_MAX);
        context.after(wait_ms, Event::Space(id));
        let seen_ms = context.up_to(FULL_SEEN_MS_MAX);
        context.after(seen_ms, Event::LookAtSpace(id));
    }

    /// The log's thread looks how much space there is.
    pub(super) fn look_at_space(&mut self, id: NodeId) {
        let Some(full) = self.nodes.get(&id).map(Node::is_full) else { return };
        self.put(id, NodeInput::Replica(Input::DiskFull(full)));
    }

    /// A disk has space again.
    pub(super) fn make_space(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_full()) else { return };
        node.make_space();
        let seen_ms = self.context.up_to(FULL_SEEN_MS_MAX);
        self.context.after(seen_ms, Event::LookAtSpace(id));
    }

    fn draw_node_faults(&mut self, id: NodeId) {
        let context = &mut self.context;
        let options = context.options.clone();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if context.fault(options.clock_jump_per_mille) {
            context.count(Fault::ClockJump);
            let jump_ms = context.up_to(2 * CLOCK_JUMP_MS_MAX) as i64;
            node.clock_offset_ms = jump_ms - CLOCK_JUMP_MS_MAX as i64;
        }
        if node.is_down() {
            return;
        }
        if context.fault(options.pause_per_mille) && !node.is_paused(context.now_ms) {
            context.count(Fault::Pause);
            let pause_ms = 1 + context.up_to(PAUSE_MS_MAX);
            node.paused_until_ms = context.now_ms + pause_ms;
            context.note(pause_ms, || format!("node {id} pauses for {pause_ms} ms"));
        }
        if let Some(running) = node.running_mut()
            && context.fault(options.backend_loss_per_mille)
        {
            context.count(Fault::BackendLost);
            context.note(0, || format!("node {id} loses its backend's state"));
            running.replay.reset();
            running.schedule(context);
        }
        if context.fault(options.rot_per_mille / 10) && node.running().is_some() {
            node.remember_file(context);
        }
        if node.running().is_some_and(|running| running.replica.is_leader())
            && context.fault(options.hand_over_per_mille)
        {
            context.count(Fault::HandOver);
            node.put(context, NodeInput::Replica(Input::HandOver));
        }
        if node.running().is_some() && context.fault(options.wipe_per_mille) {
            let ask = Input::MayLeave { within_ticks: MAY_LEAVE_TICKS };
            node.put(context, NodeInput::Replica(ask));
        }
        let writes = node.running().is_some_and(|running| running.writer.is_busy());
        let likelier = if writes { CRASH_WHILE_WRITING } else { 1 };
        if context.fault(options.crash_per_mille * likelier) {
            self.die(id, Death::Drawn);
        }
    }

    /// A node has heard whether the others can do without its disk. Never more than a minority is without, so that those
    /// that said yes at one time do not leave together.
    pub(super) fn leave(&mut self, id: NodeId, verdict: Option<bool>) {
        if verdict != Some(true) || !self.context.faulty {
            return;
        }
        if self.others_suffice(id) {
            self.die(id, Death::Wipe);
        }
    }

    /// Whether a majority of all nodes runs and votes on sound disks, without this one.
    pub(super) fn others_suffice(&self, id: NodeId) -> bool {
        let others = self.nodes.values().filter(|node| node.id != id);
        let settled = others.filter(|node| {
            !node.rotten
                && node
                    .running()
                    .is_some_and(|running| running.replica.membership().is_voter(running.raft_id))
        });
        settled.count() > self.nodes.len() / 2
    }
}
