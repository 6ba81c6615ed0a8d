//! What the replica of a running process wants done, done.

use super::Mutant;
use super::check::Checker;
use super::context::{Checked, Context};
use super::death::Death;
use super::faults::Fault;
use super::log_thread::FetchRange;
use super::process::Effect;
use super::queue::Event;
use super::running::Running;
use super::waiters::Reply;
use crate::log::{LogStart, files};
use crate::quarantine::Decisions;
use crate::replica::{Failure, Input, Output, RequestId};
use crate::snapshot::Job;
use crate::transport::PeerMessage;
use crate::{Membership, NodeId, RaftId};

/// How long reading old entries for a follower takes, at most.
const FETCH_MS_MAX: u64 = 20;

impl Running {
    pub(super) fn carry_out(
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
                self.writer.push(checker, mark, *write, sync);
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
                self.snapshots.memberships.push(*membership);
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

    pub(super) fn fail(
        &mut self,
        context: &mut Context,
        id: &RequestId,
        failure: Failure,
        effects: &mut Vec<Effect>,
    ) {
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

    /// Makes promises and decisions durable; a process whose disk does not take them ends.
    pub(super) fn keep_quarantine(&mut self, context: &mut Context, effects: &mut Vec<Effect>) -> Checked {
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
