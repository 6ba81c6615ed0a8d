//! A node: its disk, its clock, and the process that runs on it, if one does.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::Mutant;
use super::asking::AskingProcess;
use super::check::{Checker, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::queue::{Event, Life};
use super::reads::Read;
use super::rot::{self, OldFile};
use super::running::Running;
use super::waiters::{Attempt, Reply};
use super::writer::{self, Armed, Trouble};
use crate::apply::SessionLimits;
use crate::directory::Directory;
use crate::driver::{Addresses, FrontDesk, Whereabouts};
use crate::founding::{Founding, FoundingOutput};
use crate::log::files::SimFiles;
use crate::replica::{Failure, Input, OperationResult, RequestId};
use crate::transport::{Hello, Introduction, Join, PeerMessage, Refusal};
use crate::{Birth, Error, Genesis, MemberList, NodeId, OperationToken, RaftId};

/// How many inputs wait for a process, at most; messages beyond are dropped, as the inbox does.
const INBOX_MAX: usize = 1_024;
/// How long a process sleeps before it looks at what came, at most: what comes together is taken together.
const WAKE_MS_MAX: u64 = 1;

/// What a process is woken by.
#[derive(Debug)]
pub(super) enum NodeInput {
    /// For the replica.
    Replica(Input),
    /// A peer introduces itself.
    Introduced { from: NodeId, said: Box<Introduction> },
    /// A client asks.
    Propose { attempt: Attempt, id: RequestId, encoded: Bytes },
    /// Somebody reads.
    Read(Read),
    /// A peer refuses to be connected.
    Refused { by: NodeId, reason: Refusal },
}

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

/// What a process does to the world.
#[derive(Debug)]
pub(super) enum Effect {
    Send(NodeId, PeerMessage),
    Answer(Attempt, Reply),
    /// For the process itself.
    Input(Input),
    /// It has become a member: its connections are made anew.
    Adopted,
    MayLeave(Option<bool>),
    /// Its directory lost what it had acknowledged: it says so in there, and ends.
    Unusable(String),
    Operated(OperationToken, OperationResult),
    Die(Death),
}

/// What runs on a node.
#[derive(Debug)]
pub(super) enum Process {
    Down,
    Empty(Box<Empty>),
    Asking(Box<AskingProcess>),
    Running(Box<Running>),
}

/// A process without a cluster.
#[derive(Debug)]
pub(super) struct Empty {
    directory: Directory,
    founding: Founding,
    whereabouts: Whereabouts,
}

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
    members: MemberList,
    joins: bool,
    pub(super) moves: u32,
    /// Whom the process lets in, and what it has heard from them.
    pub(super) desk: FrontDesk,
    pub(super) disk: SimFiles,
    /// Whether no space is left on the disk.
    full: bool,
    /// Whether the log was damaged, and nobody has noticed yet.
    pub(super) rotten: bool,
    old_file: Option<OldFile>,
    /// The disk as it was some time ago.
    pub(super) backup: Option<SimFiles>,
    /// Whether a backup is on the disk, and nobody has noticed yet.
    pub(super) is_restored: bool,
    armed: Option<Armed>,
    inbox: Vec<NodeInput>,
    has_tick: bool,
    woken: bool,
    /// For mutants: what a former life leaves behind.
    remains: (Option<Vec<u8>>, Option<(Genesis, RaftId)>),
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

    /// Whether no space is left on the disk.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// So many more bytes fit on the disk, and no more.
    pub(super) fn fill(&mut self, left_bytes: u64) {
        self.full = true;
        self.disk.set_bytes_max(Some(self.disk.bytes() + left_bytes));
    }

    /// There is space on the disk again.
    pub(super) fn make_space(&mut self) {
        self.full = false;
        self.disk.set_bytes_max(None);
    }

    /// Keeps one of the log's files as it is now: the disk may bring it back later.
    pub(super) fn remember_file(&mut self, context: &mut Context) {
        self.old_file = rot::remember(context, &self.disk).or(self.old_file.take());
    }

    /// The disk of a process that is down loses something.
    pub(super) fn rot(&mut self, context: &mut Context) {
        let old = if context.chance(500) { self.old_file.take() } else { None };
        if let Some(what) = rot::strike(context, &self.disk, old) {
            self.rotten = true;
            let id = self.id;
            context.note(u64::from(id.0), || format!("node {id}: {what}"));
        }
    }

    /// A backup takes the disk's place.
    pub(super) fn put_back(&mut self, backup: SimFiles) {
        self.disk = backup;
        (self.rotten, self.is_restored, self.old_file) = (true, true, None);
    }

    /// The operator knows that the directory is an old one, and says so.
    pub(super) fn mark_by_hand(&mut self) {
        if self.full {
            self.make_space();
        }
        // Where that fails, the disk is as it was, and so is what is known about it.
        self.is_restored = Directory::mark_stale(&self.disk, Path::new("data"), "it is a backup").is_err();
    }

    /// The directory lost what it had acknowledged: that is written into it. How the process ends.
    pub(super) fn mark_stale(&mut self, context: &mut Context, why: &str) -> Checked<Death> {
        let id = self.id;
        context.note(u64::from(id.0), || format!("node {id} finds its directory unusable: {why}"));
        if !self.rotten {
            let what = format!("node {id}: {why}");
            return Err(Violation { invariant: "S9 memory", what });
        }
        let armed = self.running().map_or(self.armed, |running| running.writer.armed);
        match Directory::mark_stale(&self.disk, Path::new("data"), why) {
            Ok(()) => {
                self.is_restored = false;
                Ok(Death::Kill)
            }
            Err(_) if self.full => Ok(Death::Kill),
            Err(error) => writer::judge(context, armed, &error).map(Death::of),
        }
    }

    pub(super) fn is_paused(&self, now_ms: u64) -> bool {
        now_ms < self.paused_until_ms
    }

    pub(super) fn clock_ms(&self, context: &Context) -> u64 {
        context.wall_ms(self.clock_offset_ms)
    }

    /// Whether a disk fault is still to come.
    pub(super) fn is_armed(&self) -> bool {
        let armed = self.running().map_or(self.armed, |running| running.writer.armed);
        armed.is_some()
    }

    /// Starts a process.
    pub(super) fn start(&mut self, context: &mut Context, checker: &mut Checker) -> Checked<Vec<Effect>> {
        self.life = context.next_life();
        self.armed = None;
        let (id, life) = (self.id, self.life);
        context.note(life, || format!("node {id} starts (life {life})"));
        writer::arm(context, &self.disk, &mut self.armed);
        let birth = draw_birth(context);
        let files = Arc::new(self.disk.clone());
        let opened = Directory::open(files, Path::new("data"), id, birth);
        context.after(context.now_ms % super::options::TICK_MS, Event::Tick(id, life));
        match opened {
            Ok(directory) => {
                self.desk = desk(id, life, directory.birth(), directory.boots());
                self.enter(context, checker, directory)
            }
            Err(error) => self.failed(context, &error),
        }
    }

    fn enter(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        mut directory: Directory,
    ) -> Checked<Vec<Effect>> {
        if let Some((genesis, raft_id)) = self.remains.1.take()
            && directory.genesis().is_none()
            && let Err(error) = directory.adopt(genesis, raft_id)
        {
            return self.failed(context, &error);
        }
        let genesis = directory.genesis().cloned();
        match (directory.stale(), genesis) {
            (Err(error), _) => return self.failed(context, &error),
            (Ok(Some(_)), None) => return self.begin_anew(context, checker, directory),
            (Ok(Some(why)), _) if Directory::was_removed(&why) => {
                return self.begin_anew(context, checker, directory);
            }
            (Ok(Some(_)), Some((_, raft_id))) => {
                self.ask(context, directory, raft_id);
                return Ok(Vec::new());
            }
            (Ok(None), Some(known)) => return self.open(context, checker, directory, known),
            (Ok(None), None) => {}
        }
        let limits: SessionLimits = context.options.limits;
        let founding =
            Founding::new(self.id, directory.birth(), self.members.clone(), limits, context.word());
        let joins = match directory.had_cluster() {
            Ok(had_cluster) => self.joins || had_cluster,
            Err(error) => return self.failed(context, &error),
        };
        let founding = founding.joining(joins);
        let mut whereabouts = Whereabouts::new(Addresses::new(self.id, &self.members));
        whereabouts.addresses.changed();
        self.process = Process::Empty(Box::new(Empty { directory, founding, whereabouts }));
        Ok(Vec::new())
    }

    fn open(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        directory: Directory,
        known: (Genesis, RaftId),
    ) -> Checked<Vec<Effect>> {
        let (place, raft_id) = ((self.id, self.life), known.1);
        self.desk.joined(&known.0, raft_id);
        match Running::open(context, checker, &directory, &self.members, place, known) {
            Ok(mut running) => {
                self.desk.opened(running.opened);
                running.writer.armed = self.armed;
                if let Some(model) = self.remains.0.take() {
                    running.replay.keep_model(&model)?;
                }
                running.schedule(context);
                self.process = Process::Running(Box::new(running));
                Ok(Vec::new())
            }
            Err(Trouble::Log(error)) if error.is_loss() && self.rotten => {
                let id = self.id;
                context.note(u64::from(id.0), || format!("node {id} cannot use its log: {error}"));
                self.is_restored = false;
                self.ask(context, directory, raft_id);
                Ok(Vec::new())
            }
            Err(Trouble::Log(error)) => self.failed(context, &error),
            Err(Trouble::Disk(error)) => self.failed(context, &error),
            Err(Trouble::Wrong(violation)) => Err(violation),
        }
    }

    /// Asks the others whether they can do without what stands in the directory.
    fn ask(&mut self, context: &mut Context, directory: Directory, raft_id: RaftId) {
        if let Some((genesis, raft_id)) = directory.genesis() {
            self.desk.joined(genesis, *raft_id);
        }
        self.desk.asks(draw_birth(context));
        let own = Join { raft_id, birth: directory.birth(), address: self.address.clone() };
        let asking = AskingProcess::new(context, directory, own, self.members.clone());
        self.process = Process::Asking(Box::new(asking));
    }

    /// Keeps what stands in the directory aside, and goes on as an empty node.
    fn begin_anew(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        mut directory: Directory,
    ) -> Checked<Vec<Effect>> {
        let birth = draw_birth(context);
        if let Err(error) = directory.set_aside(birth) {
            return self.failed(context, &error);
        }
        let id = self.id;
        context.count(Fault::SetAside);
        context.note(u64::from(id.0), || format!("node {id} sets its directory aside"));
        (self.rotten, self.old_file) = (false, None);
        (self.is_restored, self.backup) = (false, None);
        self.desk.reborn(directory.birth(), directory.boots());
        let mut effects = self.enter(context, checker, directory)?;
        effects.push(Effect::Adopted);
        Ok(effects)
    }

    /// A process that cannot use its disk ends.
    fn failed(&mut self, context: &mut Context, error: &dyn std::fmt::Display) -> Checked<Vec<Effect>> {
        let armed = self.running().map_or(self.armed, |running| running.writer.armed);
        let death = match armed {
            // Nothing is allocated ahead for a start.
            None if self.full => Death::Kill,
            _ => Death::of(writer::judge(context, armed, error)?),
        };
        Ok(vec![Effect::Die(death)])
    }

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

    fn adopt(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        genesis: Genesis,
        raft_id: RaftId,
        mut effects: Vec<Effect>,
    ) -> Checked<Vec<Effect>> {
        let Process::Empty(empty) = std::mem::replace(&mut self.process, Process::Down) else {
            return Ok(effects);
        };
        let mut directory = empty.directory;
        let stored: Result<(), Error> = directory.adopt(genesis.clone(), raft_id);
        effects.extend(match stored {
            Ok(()) => self.open(context, checker, directory, (genesis, raft_id))?,
            Err(error) => self.failed(context, &error)?,
        });
        effects.push(Effect::Adopted);
        Ok(effects)
    }
}

/// What a process says of itself when it has opened its directory.
fn desk(node: NodeId, life: Life, birth: Birth, boot: u64) -> FrontDesk {
    FrontDesk::new(Hello { node, cluster: None, raft_id: None, birth, boot, nonce: life, log: None })
}

/// The name of a new directory.
fn draw_birth(context: &mut Context) -> Birth {
    Birth(u128::from(context.word()) << 64 | u128::from(context.word()))
}

impl Empty {
    /// Takes what has gathered. The genesis to adopt, if there is one.
    fn wake(&mut self, inputs: Vec<NodeInput>) -> (Vec<Effect>, Option<(Genesis, RaftId)>) {
        let (mut effects, mut outputs, mut adopted) = (Vec::new(), Vec::new(), None);
        for input in inputs {
            match input {
                NodeInput::Replica(Input::Tick) => {
                    self.founding.tick(&mut outputs);
                    self.whereabouts.tick();
                }
                NodeInput::Replica(Input::Connected(node)) => self.whereabouts.set_connected(node, true),
                NodeInput::Replica(Input::Disconnected { node, .. }) => {
                    self.whereabouts.set_connected(node, false);
                }
                NodeInput::Replica(Input::Peer { from, message: message @ PeerMessage::Join(_), .. }) => {
                    self.whereabouts.hear(from, &message);
                    self.founding.hear_of(from);
                }
                NodeInput::Introduced { from, said } => {
                    self.whereabouts.addresses.hear_members(&said);
                    self.founding.on_introduction(from, &said, &mut outputs);
                }
                NodeInput::Propose { attempt, .. } => {
                    effects.push(Effect::Answer(attempt, Reply::Failed(Failure::NoLeader)));
                }
                // A node without a cluster has nothing to show.
                NodeInput::Replica(_) | NodeInput::Read(_) | NodeInput::Refused { .. } => {}
            }
        }
        self.whereabouts.addresses.changed();
        for output in outputs {
            match output {
                FoundingOutput::Send(to, message) => effects.push(Effect::Send(to, message)),
                FoundingOutput::Adopt(genesis, raft_id) => adopted = Some((genesis, raft_id)),
            }
        }
        (effects, adopted)
    }
}
