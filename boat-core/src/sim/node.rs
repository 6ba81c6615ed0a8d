//! A node: its disk, its clock, and the process that runs on it, if one does.

use super::check::Checker;
use super::context::{Checked, Context};
use super::process::{Effect, NodeInput, Process};
use super::queue::{Event, Life};
use super::rot::OldFile;
use super::running::Running;
use super::start::desk;
use super::writer::{self, Armed};
use crate::driver::FrontDesk;
use crate::log::files::SimFiles;
use crate::replica::Input;
use crate::{Birth, Genesis, MemberList, NodeId, RaftId};

/// How many inputs wait for a process, at most; messages beyond are dropped, as the inbox does.
const INBOX_MAX: usize = 1_024;
/// How long a process sleeps before it looks at what came, at most: what comes together is taken together.
const WAKE_MS_MAX: u64 = 1;

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) life: Life,
    pub(super) process: Process,
    pub(super) clock_offset_ms: i64,
    pub(super) paused_until_ms: u64,
    /// Where its peers reach it.
    pub(super) address: String,
    pub(super) members: MemberList,
    pub(super) joins: bool,
    pub(super) moves: u32,
    /// Whom the process lets in, and what it has heard from them.
    pub(super) desk: FrontDesk,
    pub(super) disk: SimFiles,
    /// Whether no space is left on the disk.
    pub(super) full: bool,
    /// Whether the log was damaged, and nobody has noticed yet.
    pub(super) rotten: bool,
    pub(super) old_file: Option<OldFile>,
    /// The disk as it was some time ago.
    pub(super) backup: Option<SimFiles>,
    /// Whether a backup is on the disk, and nobody has noticed yet.
    pub(super) is_restored: bool,
    pub(super) armed: Option<Armed>,
    pub(super) inbox: Vec<NodeInput>,
    pub(super) has_tick: bool,
    pub(super) woken: bool,
    /// For mutants: what a former life leaves behind.
    pub(super) remains: (Option<Vec<u8>>, Option<(Genesis, RaftId)>),
}

impl Node {
    /// A machine with an empty disk. `joins`: its list names members of a cluster that others found.
    pub(super) fn new(id: NodeId, members: MemberList, joins: bool) -> Self {
        Node {
            address: members.address(id).unwrap_or_default().to_owned(),
            joins,
            moves: 0,
            id,
            life: 0,
            process: Process::Down,
            clock_offset_ms: 0,
            paused_until_ms: 0,
            members,
            desk: desk(id, 0, Birth(0), 0),
            disk: SimFiles::new(),
            full: false,
            rotten: false,
            old_file: None,
            backup: None,
            is_restored: false,
            armed: None,
            inbox: Vec::new(),
            has_tick: false,
            woken: false,
            remains: (None, None),
        }
    }

    /// Where this node dials another, if it does.
    pub(super) fn dials(&self, peer: NodeId) -> Option<&str> {
        match &self.process {
            Process::Down => None,
            Process::Empty(empty) => empty.whereabouts.addresses.dialed(peer),
            Process::Asking(process) => process.asking.dialed(peer),
            Process::Running(running) => running.addresses.dialed(peer),
        }
    }

    /// Whether the process asks for leave to set its damaged directory aside.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.process, Process::Asking(_))
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.process, Process::Down)
    }

    pub(super) fn running(&self) -> Option<&Running> {
        if let Process::Running(running) = &self.process { Some(running) } else { None }
    }

    pub(super) fn running_mut(&mut self) -> Option<&mut Running> {
        if let Process::Running(running) = &mut self.process { Some(running) } else { None }
    }

    /// Whether a process runs that looks for its place in the cluster: it is empty, or its directory may not be used.
    pub(super) fn is_placeless(&self) -> bool {
        matches!(self.process, Process::Empty(_) | Process::Asking(_))
    }

    /// Whether a process runs that is a member, has replayed and applied all that it knows of, and whose answers count: of a model
    /// that went another way the run hears none.
    pub(super) fn is_ready(&self) -> bool {
        self.running().is_some_and(|running| {
            let replay = &running.replay;
            let caught_up = running.replica.caught_up_index();
            let is_sound = !replay.is_replaying() && !replay.is_tainted;
            is_sound && caught_up.is_some_and(|index| replay.applier.index() >= index)
        })
    }

    pub(super) fn is_paused(&self, now_ms: u64) -> bool {
        now_ms < self.paused_until_ms
    }

    pub(super) fn clock_ms(&self, context: &Context) -> u64 {
        context.wall_ms(self.clock_offset_ms)
    }

    /// Puts something into the process's inbox, and wakes it.
    pub(super) fn put(&mut self, context: &mut Context, input: NodeInput) {
        if self.is_down() {
            return;
        }
        let is_tick = matches!(input, NodeInput::Replica(Input::Tick));
        let droppable =
            matches!(input, NodeInput::Replica(Input::Peer { .. }) | NodeInput::Introduced { .. });
        // Ticks that were missed are not made up for.
        if (is_tick && self.has_tick) || (droppable && self.inbox.len() >= INBOX_MAX) {
            return;
        }
        self.has_tick |= is_tick;
        self.inbox.push(input);
        if !self.woken {
            self.woken = true;
            let wait_ms = context.up_to(WAKE_MS_MAX);
            context.after(wait_ms, Event::Wake(self.id, self.life));
        }
    }

    /// The process looks at its inbox.
    pub(super) fn wake(&mut self, context: &mut Context, checker: &mut Checker) -> Checked<Vec<Effect>> {
        (self.has_tick, self.woken) = (false, false);
        let inputs = std::mem::take(&mut self.inbox);
        let clock_ms = self.clock_ms(context);
        match &mut self.process {
            Process::Down => Ok(Vec::new()),
            Process::Running(running) => {
                writer::arm(context, &self.disk, &mut running.writer.armed);
                running.wake(context, checker, clock_ms, inputs)
            }
            Process::Asking(asking) => {
                let mut effects = Vec::new();
                if !asking.wake(inputs, &mut effects) {
                    return Ok(effects);
                }
                let Process::Asking(asking) = std::mem::replace(&mut self.process, Process::Down) else {
                    return Ok(effects);
                };
                effects.extend(self.begin_anew(context, checker, asking.directory)?);
                Ok(effects)
            }
            Process::Empty(empty) => {
                let (effects, adopted) = empty.wake(inputs);
                match adopted {
                    None => Ok(effects),
                    Some((genesis, raft_id)) => self.adopt(context, checker, genesis, raft_id, effects),
                }
            }
        }
    }
}
