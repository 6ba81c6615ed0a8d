//! How processes end.

use std::path::Path;

use super::Mutant;
use super::context::Context;
use super::faults::Fault;
use super::node::Node;
use super::process::Process;
use super::writer::Armed;
use crate::MemberList;
use crate::directory::Directory;
use crate::log::files::SimFiles;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The process ends, the machine goes on.
    Kill,
    /// The machine loses power.
    PowerLoss,
    /// One of both, as drawn.
    Drawn,
    /// The disk is wiped.
    Wipe,
    /// The process has heard that it was removed.
    Removed,
}

impl Death {
    pub(super) fn of(armed: Armed) -> Death {
        match armed {
            Armed::Stop => Death::PowerLoss,
            Armed::Fail(_) => Death::Kill,
        }
    }
}

impl Node {
    /// Ends the process, whatever it was doing. How it ended, as drawn.
    /// `may_move`: it may come back at another address.
    pub(super) fn die(&mut self, context: &mut Context, death: Death, may_move: bool) -> Death {
        if let Some(running) = self.running() {
            running.snapshots.count_crash(context);
        }
        let busy = self.running().is_some_and(|running| running.writer.is_busy());
        if busy {
            context.count(Fault::CrashWithWriteInFlight);
        }
        let death = match death {
            Death::Drawn if context.chance(context.options.power_loss_per_mille) => Death::PowerLoss,
            Death::Drawn => Death::Kill,
            drawn => drawn,
        };
        let (id, life) = (self.id, self.life);
        context.note(death as u64, || format!("node {id} dies: {death:?} (life {life})"));
        if let Process::Running(running) = &self.process {
            if context.options.mutant == Some(Mutant::ApplyTwiceAfterRestart) {
                self.remains.0 = Some(running.replay.model().to_bytes());
            }
            if death == Death::Wipe && context.options.mutant == Some(Mutant::KeepIdentityAfterWipe) {
                self.remains.1 = Some((running.genesis.clone(), running.raft_id));
            }
        }
        match death {
            Death::Kill | Death::Drawn => {
                context.count(Fault::Kill);
                self.disk.kill();
            }
            Death::Removed => {
                context.count(Fault::Removed);
                // If that fails, it is told again.
                let marked = Directory::mark_removed(&self.disk, Path::new("data"), "as of some entry");
                context.note(u64::from(marked.is_ok()), || format!("{marked:?}"));
                self.disk.kill();
            }
            Death::PowerLoss => {
                context.count(Fault::PowerLoss);
                self.disk.crash(context.word());
            }
            Death::Wipe => {
                context.count(Fault::Wipe);
                self.disk = SimFiles::new();
                (self.full, self.rotten, self.old_file) = (false, false, None);
                (self.is_restored, self.backup) = (false, None);
                // What documents ask for: a founder whose list is short by now must not found again.
                self.joins = true;
            }
        }
        if may_move && context.fault(context.options.move_per_mille) {
            self.change_address(context);
        }
        self.process = Process::Down;
        self.paused_until_ms = 0;
        self.inbox.clear();
        (self.has_tick, self.woken) = (false, false);
        death
    }

    /// Comes back at another address.
    fn change_address(&mut self, context: &mut Context) {
        self.moves += 1;
        let (id, moves) = (self.id, self.moves);
        self.address = format!("node-{id}:{moves}");
        let own = self.address.clone();
        let others = self.members.iter().filter(|(node, _)| *node != id);
        let others = others.map(|(node, address)| (node, address.to_owned()));
        if let Ok(members) = MemberList::new(others.chain([(id, own)])) {
            self.members = members;
        }
        context.count(Fault::Move);
        context.note(moves.into(), || format!("node {id} moves to {}", self.address));
    }
}
