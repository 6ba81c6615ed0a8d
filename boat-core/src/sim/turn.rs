//! A turn of a running process: what has gathered goes into the replica, and what comes out is carried out.

use super::Mutant;
use super::check::Checker;
use super::context::{Checked, Context};
use super::death::Death;
use super::faults::Fault;
use super::process::{Effect, NodeInput};
use super::running::{Running, broken};
use super::waiters::Reply;
use crate::replica::{Failure, Fatal, Input, Output, RequestId};
use crate::transport::{Introduction, PeerMessage, Refusal};
use crate::{MemberList, NodeId};

/// One output in so many is a process's last, where processes die at all.
const CRASH_ONE_OUTPUT_IN: u64 = 4_000;
/// The same while a write is in flight.
const CRASH_ONE_WRITE_IN: u64 = 400;

impl Running {
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

/// What a replica that cannot go on means: its directory went back in time, or it was asked for what cannot be.
fn unusable(node: NodeId, fatal: &Fatal) -> Checked<Effect> {
    match fatal {
        Fatal::WentBack { .. } | Fatal::CommittedConflict { .. } => Ok(Effect::Unusable(fatal.to_string())),
        _ => Err(broken(node, fatal)),
    }
}
