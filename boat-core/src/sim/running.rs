//! A process that is a member of a cluster, or asks to become one: the replica and all that the driver does around it.

use super::Mutant;
use super::check::{Checker, Violation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::node::{Death, Effect, NodeInput};
use super::queue::{Event, Life};
use super::replay::Replay;
use super::waiters::{Reply, Waiters};
use super::writer::{self, Armed, Trouble, Writer};
use crate::apply::Due;
use crate::directory::Directory;
use crate::log::{Log, LogConfig, LogError, LogReader, Recovered};
use crate::replica::{Failure, Fatal, Input, Output, Replica, ReplicaConfig, ReplicaStart, RequestId};
use crate::transport::{Introduction, PeerMessage};
use crate::{Genesis, Member, MemberList, Membership, NodeId, RaftId};

/// One output in so many is a process's last, where processes die at all.
const CRASH_ONE_OUTPUT_IN: u64 = 4_000;
/// The same while a write is in flight.
const CRASH_ONE_WRITE_IN: u64 = 400;
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
    pub(super) genesis: Genesis,
    /// Reads that wait until enough is applied.
    pub(super) due: Due,
    life: Life,
    reader: LogReader,
    waiters: Waiters,
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
        let (log, recovered) = Log::open(files, &directory.log_path(), config, genesis.membership())?;
        checker.opened(raft_id, &recovered)?;
        if !recovered.warnings.is_empty() {
            context.count(Fault::TornTail);
        }
        context.note(recovered.last_index, || {
            let (hard_state, last) = (recovered.hard_state, recovered.last_index);
            format!("node {node} opens its log as {raft_id}: {hard_state:?}, last entry {last}")
        });
        let replay = Replay::new(node, genesis.limits, recovered.hard_state.commit);
        let address = members.address(node).unwrap_or_default().to_owned();
        let own = Member { raft_id, birth: directory.birth(), address };
        let config = ReplicaConfig {
            command_bytes_max: context.options.command_bytes_max,
            forwarded_bytes_max: context.options.forwarded_bytes_max,
            recent_bytes_max: context.options.recent_bytes_max,
            ..ReplicaConfig::new(own, context.word())
        };
        let replica =
            Replica::new(config, start_of(context, recovered)).map_err(|error| broken(node, &error))?;
        let own_introduction = Introduction {
            birth: directory.birth(),
            members: members.clone(),
            genesis: Some(genesis.clone()),
            asks: false,
        };
        let reader = log.reader();
        let writer = Writer::new(log, raft_id);
        let waiters = Waiters::default();
        Ok(Running {
            node,
            raft_id,
            replica,
            writer,
            replay,
            genesis,
            due: Due::default(),
            life,
            reader,
            waiters,
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
                NodeInput::Replica(input) => input,
                NodeInput::Introduced { from, said } if said.asks => {
                    let said = Box::new(self.own_introduction.clone());
                    effects.push(Effect::Send(from, PeerMessage::Introduction(said)));
                    continue;
                }
                NodeInput::Introduced { .. } => continue,
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
            if let Err(fatal) = self.replica.step(clock_ms, input, &mut outputs) {
                effects.push(unusable(self.node, &fatal)?);
                return Ok(effects);
            }
            self.observe(context, checker)?;
            // At once: who asks again after this failure must not be told of it.
            for (id, failure) in take_failed(&mut outputs) {
                self.fail(context, &id, failure, &mut effects);
            }
        }
        self.replica.flush(&mut outputs).map_err(|error| broken(self.node, &error))?;
        self.observe(context, checker)?;
        for output in outputs {
            if self.dies_now(context) {
                context.count(Fault::CrashBetweenOutputs);
                effects.push(Effect::Die(Death::Drawn));
                return Ok(effects);
            }
            checker.output(self.raft_id, &output)?;
            self.carry_out(context, checker, output, &mut effects)?;
            if effects.iter().any(|effect| matches!(effect, Effect::Die(_))) {
                return Ok(effects);
            }
        }
        self.answer_reads(context, checker)?;
        self.write(context, &mut effects)?;
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

    fn carry_out(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        output: Output,
        effects: &mut Vec<Effect>,
    ) -> Checked {
        match output {
            Output::Send { to, message } => effects.push(Effect::Send(to, message)),
            Output::Append { mark, write, sync } => {
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
                let node = self.node;
                context.note(membership.index, || describe(node, &membership));
            }
            Output::MayLeave(verdict) => effects.push(Effect::MayLeave(verdict)),
            Output::Reach { .. } | Output::Operated { .. } => {}
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
        }
        self.write(context, &mut effects)?;
        Ok(effects)
    }

    fn disk_trouble(&self, context: &mut Context, error: &LogError) -> Checked<Effect> {
        let armed = writer::judge(context, self.writer.armed, error)?;
        Ok(Effect::Die(Death::of(armed)))
    }

    /// Reads entries that a follower lacks.
    pub(super) fn fetched(&self, range: FetchRange) -> Checked<Effect> {
        let FetchRange { low, high, bytes_max } = range;
        match self.reader.entries(low, high, bytes_max) {
            Ok(entries) => Ok(Effect::Input(Input::Fetched { low, entries })),
            Err(error) if error.is_loss() => Ok(Effect::Unusable(error.to_string())),
            Err(error) => Err(Violation {
                invariant: "what is fetched is readable",
                what: format!("node {}: entries {low} to {high}: {error}", self.node),
            }),
        }
    }

    /// Schedules the applier's next helping, unless it is scheduled or there is nothing to do.
    pub(super) fn schedule(&mut self, context: &mut Context) {
        if !self.replay.scheduled && self.replay.is_behind() {
            self.replay.scheduled = true;
            let most_ms = if context.faulty { context.options.apply_ms_max } else { 1 };
            let wait_ms = context.up_to(most_ms);
            context.after(wait_ms, Event::Apply(self.node, self.life));
        }
    }

    /// Applies some entries and answers who waits.
    pub(super) fn apply(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        clock_ms: u64,
    ) -> Checked<Vec<Effect>> {
        self.replay.scheduled = false;
        let all = match self.replay.run(context, checker, &self.reader, clock_ms) {
            Err(Trouble::Log(error)) if error.is_loss() => {
                return Ok(vec![Effect::Unusable(error.to_string())]);
            }
            Err(Trouble::Log(error)) => {
                let what = format!("node {}: {error}", self.node);
                return Err(Violation { invariant: "committed entries are readable", what });
            }
            Err(Trouble::Wrong(violation)) => return Err(violation),
            Ok(all) => all,
        };
        let (mut effects, mut answered) = (Vec::new(), Vec::new());
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

fn start_of(context: &Context, recovered: Recovered) -> ReplicaStart {
    let mut start = ReplicaStart {
        hard_state: recovered.hard_state,
        membership: recovered.membership,
        term_starts: recovered.term_starts,
        last_index: recovered.last_index,
        tail: recovered.tail,
    };
    if context.options.mutant == Some(Mutant::ForgetVote) {
        (start.hard_state.term, start.hard_state.vote) = (recovered.last_term, 0);
    }
    start
}

fn broken(node: NodeId, fatal: &Fatal) -> Violation {
    Violation { invariant: "no replica is asked for what cannot be", what: format!("node {node}: {fatal}") }
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
