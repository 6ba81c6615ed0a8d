//! A process starts: from its directory to whatever runs, and from there to a member of a cluster.

use std::path::Path;
use std::sync::Arc;

use super::asking::AskingProcess;
use super::check::Checker;
use super::context::{Checked, Context};
use super::death::Death;
use super::empty::Empty;
use super::faults::Fault;
use super::node::Node;
use super::process::{Effect, Process};
use super::queue::{Event, Life};
use super::running::Running;
use super::writer::{self, Trouble};
use crate::apply::SessionLimits;
use crate::directory::Directory;
use crate::driver::{Addresses, FrontDesk, Whereabouts};
use crate::founding::Founding;
use crate::transport::{Hello, Join};
use crate::{Birth, Error, Genesis, NodeId, RaftId};

impl Node {
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
    pub(super) fn begin_anew(
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

    pub(super) fn adopt(
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
}

/// What a process says of itself when it has opened its directory.
pub(super) fn desk(node: NodeId, life: Life, birth: Birth, boot: u64) -> FrontDesk {
    FrontDesk::new(Hello { node, cluster: None, raft_id: None, birth, boot, nonce: life, log: None })
}

/// The name of a new directory.
fn draw_birth(context: &mut Context) -> Birth {
    Birth(u128::from(context.word()) << 64 | u128::from(context.word()))
}
