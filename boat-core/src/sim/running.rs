//! A process that is a member of a cluster, or asks to become one: the replica and all that the driver does around it.

use super::Mutant;
use super::check::{Checker, Violation, require};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::node::{Death, Effect, NodeInput};
use super::queue::{Event, Life};
use super::replay::{Helping, Replay};
use super::snapshots::Snapshots;
use super::waiters::{Reply, Waiters};
use super::writer::{self, Armed, Trouble, Writer};
use crate::apply::Due;
use crate::directory::Directory;
use crate::driver::Addresses;
use crate::log::{Log, LogConfig, LogError, LogReader, LogStart, Recovered, files};
use crate::quarantine::{Decisions, QuarantineFile};
use crate::replica::{
    Failure, Fatal, Input, KeptSnapshot, Output, Replica, ReplicaConfig, ReplicaStart, RequestId,
};
use crate::snapshot::Job;
use crate::transport::{Introduction, LogEnd, PeerMessage, Refusal};
use crate::{Genesis, Member, MemberList, Membership, NodeId, RaftId};

/// One output in so many is a process's last, where processes die at all.
const CRASH_ONE_OUTPUT_IN: u64 = 4_000;
/// The same while a write is in flight.
const CRASH_ONE_WRITE_IN: u64 = 400;
/// How long an applier waits between two helpings while its backend is slow, at most, in milliseconds.
const SLOW_MS_MAX: u64 = 400;
/// How long reading old entries for a follower takes, at most.
const FETCH_MS_MAX: u64 = 20;

/// A range of entries that a follower lacks.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchRange {
    low: u64,
    high: u64,
    bytes_max: u64,
}

/// A process with a log.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) node: NodeId,
    pub(super) raft_id: RaftId,
    pub(super) replica: Replica,
    pub(super) writer: Writer,
    pub(super) replay: Replay,
    pub(super) snapshots: Snapshots,
    /// A snapshot as of this entry is about to take the log's place.
    awaited: u64,
    quarantine_file: QuarantineFile,
    pub(super) genesis: Genesis,
    /// What the log held when it was opened.
    pub(super) opened: LogEnd,
    /// The entry as of which a membership was handed on last: it is durable.
    pub(super) members_as_of: u64,
    /// Reads that wait until enough is applied.
    pub(super) due: Due,
    life: Life,
    reader: LogReader,
    waiters: Waiters,
    pub(super) addresses: Addresses,
    own_introduction: Introduction,
}

impl Running {
    /// Opens the log and starts a replica from it.
    pub(super) fn open(
        context: &mut Context,
        checker: &mut Checker,
        directory: &Directory,
        members: &MemberList,
        (node, life): (NodeId, Life),
        (genesis, raft_id): (Genesis, RaftId),
    ) -> Result<Running, Trouble> {
        let config = LogConfig { segment_bytes: 16 << 10, allocate_bytes: 8 << 10, ..LogConfig::default() };
        let files = directory.files().clone();
        let (log, mut recovered) = Log::open(files, &directory.log_path(), config, genesis.membership())?;
        checker.opened(raft_id, &recovered, context.now_ms)?;
        if !recovered.warnings.is_empty() {
            context.count(Fault::TornTail);
        }
        context.note(recovered.last_index, || {
            let (hard_state, last) = (recovered.hard_state, recovered.last_index);
            format!("node {node} opens its log as {raft_id}: {hard_state:?}, last entry {last}")
        });
        let quarantine_file = directory.quarantine_file();
        let quarantine = quarantine_file.read()?;
        let (cluster, decisions) = (genesis.cluster, quarantine.decisions());
        let snapshots =
            Snapshots::open(context, directory, (node, life), cluster, &mut recovered, decisions)?;
        checker.proven(raft_id, recovered.hard_state.commit)?;
        let opened = LogEnd { term: recovered.hard_state.term, last_index: recovered.last_index };
        let members_as_of = recovered.membership.index;
        let (models, committed) = (context.models.clone(), recovered.hard_state.commit);
        let mut replay = Replay::new(models, node, genesis.limits, committed, quarantine);
        replay.restore(context, checker, &snapshots.store)?;
        let address = members.address(node).unwrap_or_default().to_owned();
        let own = Member { raft_id, birth: directory.birth(), address };
        let config = ReplicaConfig {
            command_bytes_max: context.options.command_bytes_max,
            forwarded_bytes_max: context.options.forwarded_bytes_max,
            recent_bytes_max: context.options.recent_bytes_max,
            snapshot_bytes_per_tick: context.options.snapshot_bytes_per_tick,
            snapshot_piece_bytes: context.options.snapshot_piece_bytes,
            ..ReplicaConfig::new(own, context.word())
        };
        let mut replica = Replica::new(config, start_of(context, recovered, snapshots.newest()))
            .map_err(|error| broken(node, &error))?;
        replica.restore_decisions(replay.quarantine.decisions().clone());
        replay.open(replica.doubtful_index());
        let own_introduction = Introduction {
            birth: directory.birth(),
            members: members.clone(),
            genesis: Some(genesis.clone()),
            asks: false,
        };
        let mut addresses = Addresses::new(node, members);
        addresses.set_membership(replica.membership());
        addresses.changed();
        let reader = log.reader();
        let writer = Writer::new(log, raft_id);
        let waiters = Waiters::default();
        Ok(Running {
            node,
            raft_id,
            replica,
            writer,
            replay,
            snapshots,
            awaited: 0,
            quarantine_file,
            genesis,
            opened,
            members_as_of,
            due: Due::default(),
            life,
            reader,
            waiters,
            addresses,
            own_introduction,
        })
    }

    /// Takes what has gathered, steps the replica, and carries out what it wants.
    pub(super) fn wake(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
        inputs: Vec<NodeInput>,
    ) -> Checked<Vec<Effect>> {
        let (mut outputs, mut effects) = (Vec::new(), Vec::new());
        for input in inputs {
            let input = match input {
                NodeInput::Replica(Input::Tick) => {
                    let condition = Input::Condition(Box::new(self.replay.condition(context.now_ms)));
                    let stepped = self.replica.step(clock_ms, condition, &mut outputs);
                    stepped.map_err(|error| broken(self.node, &error))?;
                    Input::Tick
                }
                NodeInput::Replica(input) => self.mutated(context, input),
                NodeInput::Introduced { from, said } if said.asks => {
                    effects.push(self.introduce(from, &said));
                    continue;
                }
                NodeInput::Introduced { .. } => continue,
                NodeInput::Refused { by, reason: Refusal::StaleDirectory } => {
                    context.count(Fault::OldDirectoryRefused);
                    effects.push(Effect::Unusable(format!("node {by} has heard more of it")));
                    return Ok(effects);
                }
                NodeInput::Refused { .. } => continue,
                NodeInput::Propose { attempt, id, encoded } => {
                    self.waiters.wait(id.clone(), attempt);
                    let within_ticks = 20 + context.up_to(80);
                    Input::Propose { id, encoded, within_ticks, leader_within_ticks: 20 }
                }
                NodeInput::Read(read) => match self.begin_read(context, read) {
                    Some(input) => input,
                    None => continue,
                },
            };
            self.before(checker, &input);
            match self.replica.step(clock_ms, input, &mut outputs) {
                Ok(()) => {}
                Err(Fatal::Removed { .. }) => return self.end_removed(outputs, effects),
                Err(fatal) => {
                    effects.push(unusable(self.node, &fatal)?);
                    return Ok(effects);
                }
            }
            self.observe(context, checker)?;
            // At once: who asks again after this failure must not be told of it.
            for (id, failure) in take_failed(&mut outputs) {
                self.fail(context, &id, failure, &mut effects);
            }
        }
        self.replica.flush(&mut outputs).map_err(|error| broken(self.node, &error))?;
        self.observe(context, checker)?;
        self.addresses.changed();
        for output in outputs {
            if self.dies_now(context) {
                context.count(Fault::CrashBetweenOutputs);
                effects.push(Effect::Die(Death::Drawn));
                return Ok(effects);
            }
            checker.output(self.raft_id, &output, context.now_ms)?;
            self.carry_out(context, checker, output, &mut effects)?;
            if effects.iter().any(|effect| matches!(effect, Effect::Die(_))) {
                return Ok(effects);
            }
        }
        self.answer_reads(context, checker)?;
        self.write(context, &mut effects)?;
        Ok(effects)
    }

    /// Somebody looks for the cluster, and is told.
    fn introduce(&mut self, to: NodeId, said: &Introduction) -> Effect {
        if let Some(address) = said.members.address(to) {
            let urgent = self.replica.membership().incarnation(to).is_none();
            self.addresses.hear(to, address.to_owned(), urgent);
        }
        let members = self.replica.membership().members.values();
        let members = members.map(|member| (member.raft_id.node(), member.address.clone()));
        let own = self.own_introduction.clone();
        let members = MemberList::new(members).unwrap_or_else(|_| own.members.clone());
        Effect::Send(to, PeerMessage::Introduction(Box::new(Introduction { members, ..own })))
    }

    /// What the books and the addresses have to know of an input.
    fn before(&mut self, checker: &mut Checker, input: &Input) {
        match input {
            Input::Tick => self.addresses.tick(self.replica.connected()),
            Input::Peer { message, .. } => checker.heard(self.raft_id, message),
            _ => {}
        }
    }

    /// The process ends because it was removed: whoever waits is told, and nothing else is done.
    fn end_removed(&mut self, mut outputs: Vec<Output>, mut effects: Vec<Effect>) -> Checked<Vec<Effect>> {
        self.replica.abandon(&mut outputs);
        for output in outputs {
            match output {
                Output::Failed { id, failure } => {
                    let waited = self.waiters.take(&id);
                    effects.extend(waited.into_iter().map(|who| Effect::Answer(who, Reply::Failed(failure))));
                }
                Output::Operated { token, result } => effects.push(Effect::Operated(token, result)),
                _ => {}
            }
        }
        effects.push(Effect::Die(Death::Removed));
        Ok(effects)
    }

    fn observe(&self, context: &mut Context, checker: &mut Checker) -> Checked {
        if checker.stepped(self.raft_id, &self.replica)? {
            context.count(Fault::ChangeOfLeader);
            let (node, term) = (self.node, self.replica.term());
            context.note(term, || format!("node {node} leads in term {term}"));
        }
        Ok(())
    }

    fn dies_now(&self, context: &mut Context) -> bool {
        let one_in = if self.writer.is_busy() { CRASH_ONE_WRITE_IN } else { CRASH_ONE_OUTPUT_IN };
        context.faulty && context.options.crash_per_mille > 0 && context.up_to(one_in - 1) == 0
    }

    /// A log begins elsewhere from the next write on: it was cut, or a snapshot takes its place.
    fn note_start(&mut self, context: &mut Context, start: Option<LogStart>) {
        match start {
            Some(start) if start.index > self.replay.committed => self.awaited = start.index,
            Some(_) => context.count(Fault::LogCut),
            None => {}
        }
    }

    fn decided(&mut self, context: &mut Context, decisions: Decisions, effects: &mut Vec<Effect>) -> Checked {
        let quarantined = |decisions: &Decisions| decisions.quarantined(1, u64::MAX).count();
        let known = self.replay.quarantine.decisions();
        if decisions != *known && quarantined(&decisions) == quarantined(known) {
            context.count(Fault::TriedAgain);
        }
        self.replay.decided(decisions);
        self.keep_quarantine(context, effects)?;
        self.schedule(context);
        Ok(())
    }

    fn carry_out(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        output: Output,
        effects: &mut Vec<Effect>,
    ) -> Checked {
        match output {
            Output::Send { to, message } => {
                if matches!(message, PeerMessage::SnapshotOffer(_)) {
                    context.count(Fault::SnapshotOffered);
                }
                effects.push(Effect::Send(to, message));
            }
            Output::Append { mark, write, sync } => {
                self.note_start(context, write.start);
                self.writer.push(checker, mark, write, sync);
                if context.options.mutant == Some(Mutant::SendEarly) {
                    effects.push(Effect::Input(Input::Persisted(mark)));
                }
                // The log's thread may look at any time.
                if context.chance(300) {
                    self.write(context, effects)?;
                }
            }
            Output::Committed(entries) => {
                self.replay.push(entries);
                self.schedule(context);
            }
            Output::Decided(decisions) => self.decided(context, decisions, effects)?,
            Output::Hold { position, round } => {
                if self.replay.quarantine.hold(position, round) {
                    self.keep_quarantine(context, effects)?;
                }
            }
            Output::Diverged { position, rebuild } => self.diverged(context, position, rebuild, effects),
            Output::Fetch { low, high, bytes_max } => {
                context.count(Fault::Fetch);
                let wait_ms = context.up_to(FETCH_MS_MAX);
                let range = FetchRange { low, high, bytes_max };
                context.after(wait_ms, Event::FetchDone(self.node, self.life, range));
            }
            Output::Failed { id, failure } => self.fail(context, &id, failure, effects),
            Output::ReadAt { ids, index } => self.confirm_reads(context, &ids, index),
            Output::ReadFailed(id) => Self::fail_read(context, checker, id),
            Output::Membership(membership) => {
                context.count(Fault::ChangeOfMembers);
                self.addresses.set_membership(&membership);
                self.members_as_of = membership.index;
                let node = self.node;
                context.note(membership.index, || describe(node, &membership));
                self.snapshots.memberships.push(membership.clone());
                self.replay.open(self.replica.doubtful_index());
                self.schedule(context);
            }
            snapshot @ (Output::ReadSnapshot { .. }
            | Output::BeginSnapshot(_)
            | Output::WriteSnapshot { .. }
            | Output::FinishSnapshot(_)
            | Output::Installed(_)) => {
                if let Some(job) = Job::of(snapshot) {
                    self.snapshots.push(context, job);
                }
            }
            Output::MayLeave(verdict) => effects.push(Effect::MayLeave(verdict)),
            Output::Reach { node, address, urgent } => self.addresses.hear(node, address, urgent),
            Output::Operated { token, result } => effects.push(Effect::Operated(token, result)),
        }
        Ok(())
    }

    fn fail(&mut self, context: &mut Context, id: &RequestId, failure: Failure, effects: &mut Vec<Effect>) {
        let lies = context.options.mutant == Some(Mutant::UnknownCalledDefinite);
        let failure = if lies { Failure::NoLeader } else { failure };
        context.count(match failure {
            Failure::NoLeader => Fault::NoLeader,
            Failure::Overloaded | Failure::DiskFull => Fault::Overloaded,
            Failure::Unknown => Fault::Unknown,
        });
        let waited = self.waiters.take(id);
        effects.extend(waited.into_iter().map(|who| Effect::Answer(who, Reply::Failed(failure))));
    }

    /// Has the log's thread begin a write.
    fn write(&mut self, context: &mut Context, effects: &mut Vec<Effect>) -> Checked {
        let begun = self.writer.begin(context, self.node, self.life);
        self.begun(context, begun, effects)
    }

    /// The log's thread tries a full disk again.
    pub(super) fn write_again(&mut self, context: &mut Context) -> Checked<Vec<Effect>> {
        let mut effects = Vec::new();
        let begun = self.writer.again(context, self.node, self.life);
        self.begun(context, begun, &mut effects)?;
        Ok(effects)
    }

    fn begun(
        &self,
        context: &mut Context,
        begun: Result<Option<u64>, LogError>,
        effects: &mut Vec<Effect>,
    ) -> Checked {
        match begun {
            Ok(None) => {}
            Ok(Some(mark)) => effects.push(Effect::Input(Input::Persisted(mark))),
            Err(error) => effects.push(self.disk_trouble(context, &error)?),
        }
        Ok(())
    }

    /// The write that was under way has ended.
    pub(super) fn written(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
    ) -> Checked<Vec<Effect>> {
        let mut effects = Vec::new();
        match self.writer.end(checker, clock_ms) {
            Ok(Some(mark)) => {
                let told = matches!(context.options.mutant, Some(Mutant::AckBeforeSync | Mutant::SendEarly));
                if !told {
                    effects.push(Effect::Input(Input::Persisted(mark)));
                }
            }
            Ok(None) => {}
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(Trouble::Log(error)) => {
                effects.push(self.disk_trouble(context, &error)?);
                return Ok(effects);
            }
            Err(Trouble::Disk(error)) => {
                effects.push(self.disk_trouble(context, &error)?);
                return Ok(effects);
            }
        }
        self.write(context, &mut effects)?;
        Ok(effects)
    }

    fn disk_trouble(&self, context: &mut Context, error: &dyn std::fmt::Display) -> Checked<Effect> {
        let armed = writer::judge(context, self.writer.armed, error)?;
        Ok(Effect::Die(Death::of(armed)))
    }

    /// Reads entries that a follower lacks.
    pub(super) fn fetched(&self, range: FetchRange) -> Checked<Effect> {
        let FetchRange { low, high, bytes_max } = range;
        if low == high {
            return Ok(Effect::Input(Input::Fetched { low, entries: Vec::new() }));
        }
        match self.reader.entries(low, high, bytes_max) {
            Ok(entries) => Ok(Effect::Input(Input::Fetched { low, entries })),
            // They were cut off meanwhile.
            Err(LogError::OutOfRange { first_index, .. }) if low < first_index => {
                Ok(Effect::Input(Input::Fetched { low, entries: Vec::new() }))
            }
            Err(error) if error.is_loss() => Ok(Effect::Unusable(error.to_string())),
            Err(error) => Err(Violation {
                invariant: "what is fetched is readable",
                what: format!("node {}: entries {low} to {high}: {error}", self.node),
            }),
        }
    }

    /// Writes the snapshot that was frozen.
    pub(super) fn write_snapshot(&mut self, context: &mut Context) -> Checked<Vec<Effect>> {
        match self.snapshots.write(context) {
            Ok(effects) => Ok(effects),
            Err(error) => Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?]),
        }
    }

    /// Works on the file of a snapshot.
    pub(super) fn work(&mut self, context: &mut Context, checker: &mut Checker) -> Checked<Vec<Effect>> {
        match self.snapshots.work(context) {
            Ok((effects, None)) => Ok(effects),
            Ok((effects, Some(installed))) => {
                self.replay.committed = self.replay.committed.max(installed.name.index);
                self.awaited = 0;
                self.begin_again(context, checker)?;
                Ok(effects)
            }
            Err(Trouble::Log(error)) => {
                Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?])
            }
            Err(Trouble::Disk(error)) => {
                Ok(vec![self.snapshots.failed(context, self.writer.armed, &error)?])
            }
            Err(Trouble::Wrong(violation)) => Err(violation),
        }
    }

    /// The backend has lost its state.
    pub(super) fn lose_backend(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        // While a snapshot is being installed there is nothing to begin from: the applier waits for it.
        if self.awaited > 0 { Ok(()) } else { self.begin_again(context, checker) }
    }

    fn begin_again(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        self.replay.reset();
        self.restore(context, checker)?;
        self.schedule(context);
        Ok(())
    }

    /// Goes on from the newest snapshot that is of use.
    fn restore(&mut self, context: &mut Context, checker: &mut Checker) -> Checked {
        match self.replay.restore(context, checker, &self.snapshots.store) {
            Ok(()) => {}
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(error) => {
                let what = format!("node {}: {error:?}", self.node);
                return Err(Violation { invariant: "snapshots that are kept are readable", what });
            }
        }
        let (next, first_index) = (self.replay.next_index(), self.replica.first_index());
        require(next >= first_index, "what was cut stands in a snapshot that can be used", || {
            format!("node {}: the applier needs entry {next}, the log begins with {first_index}", self.node)
        })
    }

    /// Schedules the applier's next helping, unless it is scheduled or there is nothing to do.
    pub(super) fn schedule(&mut self, context: &mut Context) {
        if !self.replay.scheduled && self.replay.is_behind() && self.awaited == 0 {
            self.replay.scheduled = true;
            let is_slow = context.now_ms < self.replay.trouble.slow_until_ms;
            let most_ms = match context.faulty {
                true if is_slow => SLOW_MS_MAX,
                true => context.options.apply_ms_max,
                false => 1,
            };
            let down_ms = self.replay.trouble.down_until_ms.saturating_sub(context.now_ms);
            let wait_ms = down_ms + context.up_to(most_ms);
            context.after(wait_ms, Event::Apply(self.node, self.life));
        }
    }

    /// Makes promises and decisions durable; a process whose disk does not take them ends.
    fn keep_quarantine(&mut self, context: &mut Context, effects: &mut Vec<Effect>) -> Checked {
        match self.quarantine_file.write(&self.replay.quarantine) {
            Ok(()) => {}
            // Nothing is allocated ahead for it.
            Err(error) if self.writer.armed.is_none() && files::is_full(&error) => {
                effects.push(Effect::Die(Death::Kill));
            }
            Err(error) => effects.push(self.disk_trouble(context, &error)?),
        }
        Ok(())
    }

    fn diverged(&mut self, context: &mut Context, position: u64, rebuild: bool, effects: &mut Vec<Effect>) {
        let node = self.node;
        context.count(Fault::DivergenceFound);
        context.note(position, || format!("node {node} differs at {position}, rebuilds: {rebuild}"));
        if rebuild {
            self.replay.reset();
            self.schedule(context);
        } else {
            // It would stay so: whoever runs the node starts it again.
            effects.push(Effect::Die(Death::Kill));
        }
    }

    /// For a mutant: a report that claims to hold whatever crashed this node's model.
    fn mutated(&self, context: &Context, mut input: Input) -> Input {
        if context.options.mutant == Some(Mutant::QuarantineWithoutHolds)
            && let Input::Peer { message: PeerMessage::Report(report), .. } = &mut input
        {
            let own = self.replay.quarantine.holds();
            if !own.is_empty() {
                (report.holds, report.passed) = (own, 0);
            }
        }
        input
    }

    /// Applies some entries and answers who waits.
    pub(super) fn apply(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
    ) -> Checked<Vec<Effect>> {
        self.replay.scheduled = false;
        if self.awaited > 0 {
            return Ok(Vec::new());
        }
        if self.replay.is_fresh {
            self.restore(context, checker)?;
        }
        let Helping { answers: all, holds } = match self.replay.run(context, checker, &self.reader, clock_ms)
        {
            Err(Trouble::Log(error)) if error.is_loss() => {
                return Ok(vec![Effect::Unusable(error.to_string())]);
            }
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Err(Trouble::Log(error)) => return Err(unreadable(self.node, &error)),
            Err(Trouble::Disk(error)) => return Err(unreadable(self.node, &error)),
            Ok(helping) => helping,
        };
        let (mut effects, mut answered) = (Vec::new(), Vec::new());
        if holds {
            self.keep_quarantine(context, &mut effects)?;
        }
        let swaps = context.options.mutant == Some(Mutant::AnswerFromAnotherRequest);
        let other = all.last().map(|(_, applied)| applied.clone()).filter(|_| swaps);
        for (id, applied) in all {
            if applied.replayed {
                context.count(Fault::AnsweredRetry);
            }
            let waited = self.waiters.take(&id);
            if !waited.is_empty() {
                answered.push(id);
            }
            for attempt in waited {
                let applied = other.clone().unwrap_or_else(|| applied.clone());
                effects.push(Effect::Answer(attempt, Reply::Applied(applied)));
            }
        }
        if !answered.is_empty() {
            effects.push(Effect::Input(Input::Answered(answered)));
        }
        self.answer_reads(context, checker)?;
        self.snapshots.take_if_due(context, checker, &self.replay);
        self.schedule(context);
        Ok(effects)
    }
}

fn take_failed(outputs: &mut Vec<Output>) -> Vec<(RequestId, Failure)> {
    let mut failed = Vec::new();
    outputs.retain(|output| match output {
        Output::Failed { id, failure } => {
            failed.push((id.clone(), *failure));
            false
        }
        _ => true,
    });
    failed
}

fn start_of(context: &Context, recovered: Recovered, snapshot: Option<KeptSnapshot>) -> ReplicaStart {
    let last_term = recovered.last_term;
    let mut start = ReplicaStart::of(recovered, snapshot);
    if context.options.mutant == Some(Mutant::ForgetVote) {
        (start.hard_state.term, start.hard_state.vote) = (last_term, 0);
    }
    start
}

fn broken(node: NodeId, fatal: &Fatal) -> Violation {
    Violation { invariant: "no replica is asked for what cannot be", what: format!("node {node}: {fatal}") }
}

fn unreadable(node: NodeId, error: &dyn std::fmt::Display) -> Violation {
    Violation { invariant: "committed entries are readable", what: format!("node {node}: {error}") }
}

/// What a replica that cannot go on means: its directory went back in time, or it was asked for what cannot be.
fn unusable(node: NodeId, fatal: &Fatal) -> Checked<Effect> {
    match fatal {
        Fatal::WentBack { .. } | Fatal::CommittedConflict { .. } => Ok(Effect::Unusable(fatal.to_string())),
        _ => Err(broken(node, fatal)),
    }
}

fn describe(node: NodeId, membership: &Membership) -> String {
    let Membership { index, voters, learners, voters_outgoing, .. } = membership;
    let list = |ids: &[RaftId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "node {node}: members as of {index}: voters {}, learners {}, outgoing {}",
        list(voters),
        list(learners),
        list(voters_outgoing)
    )
}

impl Death {
    pub(super) fn of(armed: Armed) -> Death {
        match armed {
            Armed::Stop => Death::PowerLoss,
            Armed::Fail(_) => Death::Kill,
        }
    }
}
