//! Drawing faults: what goes wrong with whole nodes, now and then.

use super::context::Checked;
use super::faults::Fault;
use super::node::{Death, NodeInput};
use super::queue::Event;
use super::world::{FAULTS_MS, World};
use crate::NodeId;
use crate::replica::Input;

/// How much likelier a process dies while a write is in flight, or a snapshot arrives.
const CRASH_WHILE_WRITING: u32 = 10;
/// How long a pause takes, at most, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_000;
/// How long a backend is down or slow, at most, in milliseconds.
const BACKEND_TROUBLE_MS_MAX: u64 = 3_000;
/// How far a wall clock jumps, at most: an hour.
const CLOCK_JUMP_MS_MAX: u64 = 3_600_000;
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
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.draw_node_faults(id)?;
            self.draw_divergence(id);
        }
        if self.context.fault(self.context.options.operate_per_mille) {
            self.operate();
        }
        Ok(())
    }

    fn draw_node_faults(&mut self, id: NodeId) -> Checked {
        let context = &mut self.context;
        let options = context.options.clone();
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if context.fault(options.clock_jump_per_mille) {
            context.count(Fault::ClockJump);
            let jump_ms = context.up_to(2 * CLOCK_JUMP_MS_MAX) as i64;
            node.clock_offset_ms = jump_ms - CLOCK_JUMP_MS_MAX as i64;
        }
        if node.is_down() {
            return Ok(());
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
            running.lose_backend(context, &mut self.checker)?;
        }
        if let Some(running) = node.running_mut()
            && context.fault(options.backend_trouble_per_mille)
        {
            let until_ms = context.now_ms + context.up_to(BACKEND_TROUBLE_MS_MAX);
            if context.chance(500) {
                context.count(Fault::BackendDown);
                running.replay.trouble.down_until_ms = until_ms;
            } else {
                context.count(Fault::BackendSlow);
                running.replay.trouble.slow_until_ms = until_ms;
            }
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
        let writes = node
            .running()
            .is_some_and(|running| running.writer.is_busy() || running.snapshots.is_receiving());
        let likelier = if writes { CRASH_WHILE_WRITING } else { 1 };
        if context.fault(options.crash_per_mille * likelier) {
            self.die(id, Death::Drawn);
        }
        Ok(())
    }

    /// A model goes another way than its peers. The others must be a majority, so that it can be found.
    fn draw_divergence(&mut self, id: NodeId) {
        if !self.context.fault(self.context.options.diverge_per_mille) {
            return;
        }
        let is_tainted = |node: &&super::node::Node| {
            node.running().is_some_and(|running| running.replay.is_or_will_be_tainted())
        };
        let tainted = self.nodes.values().filter(is_tainted).count();
        if 2 * (tainted + 1) >= self.nodes.len() {
            return;
        }
        if let Some(running) = self.nodes.get_mut(&id).and_then(super::node::Node::running_mut)
            && !running.replay.is_or_will_be_tainted()
        {
            self.context.count(Fault::Diverged);
            self.context.note(0, || format!("node {id}'s model goes another way"));
            running.replay.taint();
        }
    }

    /// A node has heard whether the others can do without its disk.
    pub(super) fn leave(&mut self, id: NodeId, verdict: Option<bool>) {
        if verdict == Some(true) && self.context.faulty {
            self.die(id, Death::Wipe);
        }
    }
}
