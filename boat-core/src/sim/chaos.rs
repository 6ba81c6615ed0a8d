//! Drawing faults: what goes wrong with whole nodes, now and then.

use super::context::Checked;
use super::death::Death;
use super::faults::Fault;
use super::node::Node;
use super::process::NodeInput;
use super::queue::Event;
use super::world::{FAULTS_MS, World};
use crate::NodeId;
use crate::replica::Input;

/// How much likelier a process dies while a write is in flight, or a snapshot arrives.
const CRASH_WHILE_WRITING: u32 = 10;
/// How much rarer a backup is taken than put back.
const BACKUP_EVERY: u32 = 20;
/// How long a pause takes, at most, in milliseconds.
const PAUSE_MS_MAX: u64 = 3_000;
/// How long a backend is down or slow, at most, in milliseconds.
const BACKEND_TROUBLE_MS_MAX: u64 = 3_000;
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
            self.draw_node_faults(id)?;
            self.draw_divergence(id);
        }
        // Whoever takes a node out looks first whether all others are sound.
        let all_are_sound = self.nodes.values().all(|node| !node.rotten);
        if all_are_sound && self.context.fault(self.context.options.operate_per_mille) {
            self.operate();
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
        if context.fault(options.rot_per_mille / 10) && node.running().is_some() {
            node.remember_file(context);
        }
        if context.fault(options.restore_per_mille / BACKUP_EVERY) && node.running().is_some() {
            node.back_up(context);
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
        let is_tainted =
            |node: &&Node| node.running().is_some_and(|running| running.replay.is_or_will_be_tainted());
        let tainted = self.nodes.values().filter(is_tainted).count();
        if 2 * (tainted + 1) >= self.nodes.len() {
            return;
        }
        if let Some(running) = self.nodes.get_mut(&id).and_then(Node::running_mut)
            && !running.replay.is_or_will_be_tainted()
        {
            self.context.count(Fault::Diverged);
            self.context.note(0, || format!("node {id}'s model goes another way"));
            running.replay.taint();
        }
    }

    /// A node has heard whether the others can do without its disk.
    pub(super) fn leave(&mut self, id: NodeId, verdict: Option<bool>) {
        // A damaged disk and an empty one are two, and the others know of the empty one only.
        let others_are_sound = self.nodes.values().all(|node| !node.rotten || node.id == id);
        if verdict == Some(true) && self.context.faulty && others_are_sound {
            self.die(id, Death::Wipe);
        }
    }

    /// Whether a majority of all nodes runs and votes on sound disks, without this one, and will go on doing so: a change under
    /// way may take one of them out, and leave a membership in which this one is needed.
    pub(super) fn others_suffice(&self, id: NodeId) -> bool {
        // Not as each takes it: who was removed may not know.
        let latest = self.latest_membership().unwrap_or_default();
        if self.checker.is_change_under_way(&latest) {
            return false;
        }
        let others = self.nodes.values().filter(|node| node.id != id && !node.rotten);
        let voters = others.filter_map(Node::running).filter(|running| latest.is_voter(running.raft_id));
        let positions: Vec<u64> = voters.map(|running| running.replay.applier.position()).collect();
        // Outcomes stand on no disk. Where a request crashed all others' models, they are ready to pass over it; whoever ran it
        // well knows better, is waited for, and is told so if it asks to leave. Who takes it out although it cannot be asked any
        // more revokes its answer, which is what the operator of these runs does where a disk has rotted (design D6).
        let furthest = positions.iter().max().copied().unwrap_or(0);
        let knows_alone = self.context.went_well.range(furthest + 1..).next().is_some();
        positions.len() > self.nodes.len() / 2 && !knows_alone
    }
}
