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

    /// A node has heard whether the others can do without its disk. Never more than a minority is without, so that those
    /// that said yes at one time do not leave together.
    pub(super) fn leave(&mut self, id: NodeId, verdict: Option<bool>) {
        if verdict != Some(true) || !self.context.faulty {
            return;
        }
        let others = self.nodes.values().filter(|node| node.id != id);
        let settled = others.filter(|node| {
            node.running().is_some_and(|running| running.replica.membership().is_voter(running.raft_id))
        });
        if settled.count() > self.nodes.len() / 2 {
            self.die(id, Death::Wipe);
        }
    }
}
