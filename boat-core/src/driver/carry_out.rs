//! What the replica wants done, done.

use std::collections::BTreeMap;

use super::fetch_thread::Fetch;
use super::inbox::Patience;
use super::log_thread::Write;
use super::turn::Hand;
use super::{Driver, fatal, storage};
use crate::quarantine::Decisions;
use crate::replica::{Input, OperationResult, Output};
use crate::snapshot::Job;
use crate::transport::PeerMessage;
use crate::{Error, NodeEvent, NodeId, OperationToken};

impl Driver {
    pub(super) fn carry_out(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let mut sends: BTreeMap<NodeId, Vec<PeerMessage>> = BTreeMap::new();
        let mut committed = Vec::new();
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, message } => sends.entry(to).or_default().push(message),
                Output::Append { mark, write, sync } => {
                    if let Some(start) = write.start {
                        self.around.shared.feed.await_install(start.index);
                    }
                    self.writes.push(Write { mark, write, sync });
                }
                Output::Committed(entries) => committed.extend(entries),
                Output::Fetch { low, high, bytes_max } => self.fetch.ask(Fetch { low, high, bytes_max }),
                // Told right after the step that gave it up.
                Output::Failed { .. } => {}
                Output::Membership(membership) => {
                    self.addresses.set_membership(&membership);
                    self.around.shared.memberships.push(*membership);
                    self.open_feed();
                }
                // What is promised or decided about crashes is rare enough to wait for: it must be durable before what
                // comes behind it.
                Output::Decided(decisions) => self.decided(decisions).map_err(storage)?,
                Output::Hold { position, round } => {
                    self.around.shared.wellbeing.hold(position, round).map_err(storage)?;
                }
                Output::Diverged { position, rebuild } => self.diverged(position, rebuild),
                Output::Reach { node, address, urgent } => self.addresses.hear(node, address, urgent),
                Output::Operated { token, result } => {
                    // Who hears that it is done must see that it is.
                    self.publish();
                    self.answer_operator(token, &result);
                }
                Output::ReadAt { ids, index } => {
                    self.around.shared.queries.confirm(&ids, index);
                    self.around.shared.feed.look_again();
                }
                Output::ReadFailed(id) => self.around.shared.queries.fail(id),
                Output::MayLeave(verdict) => {
                    if let Some(waiting) = self.leave_verdict.take() {
                        // Who asked may have gone away.
                        let _ = waiting.send(verdict);
                    }
                }
                snapshot @ (Output::ReadSnapshot { .. }
                | Output::BeginSnapshot(_)
                | Output::WriteSnapshot { .. }
                | Output::FinishSnapshot(_)
                | Output::Installed(_)) => {
                    if let Some(job) = Job::of(snapshot) {
                        self.transfer.ask(job);
                    }
                }
            }
        }
        for (to, messages) in sends {
            self.around.links.send(to, messages);
        }
        if !committed.is_empty() {
            self.around.shared.feed.push(committed);
        }
        Ok(())
    }

    /// Whether something among this is to be synced before what comes behind it.
    pub(super) fn waits_for_disk(&self, outputs: &[Output]) -> bool {
        let is_promised = |output: &Output| matches!(output, Output::Decided(_) | Output::Hold { .. });
        self.log.may_wait() && outputs.iter().any(is_promised)
    }

    /// Lets the applier begin once this node is a member.
    pub(super) fn open_feed(&self) {
        if let Some(index) = self.replica.doubtful_index() {
            self.around.shared.wellbeing.doubt_up_to(index);
            self.around.shared.feed.open();
        }
    }

    /// The log has decided which requests are run.
    fn decided(&self, decisions: Decisions) -> std::io::Result<()> {
        let shared = &self.around.shared;
        let known = shared.wellbeing.decisions();
        let is_outdated = shared.wellbeing.decided(decisions)?;
        let now = shared.wellbeing.decisions();
        for position in now.quarantined(1, u64::MAX).filter(|position| !known.is_quarantined(*position)) {
            shared.events.tell(NodeEvent::Quarantined { position });
        }
        if is_outdated {
            shared.feed.look_again();
        }
        Ok(())
    }

    fn diverged(&self, position: u64, rebuild: bool) {
        let shared = &self.around.shared;
        shared.events.tell(NodeEvent::Diverged { position, rebuilds: rebuild });
        if rebuild {
            log::error!(
                "node {}: its digest at position {position} differs from the majority's: the model is rebuilt",
                shared.node
            );
            shared.wellbeing.rebuild();
            shared.feed.look_again();
        } else {
            log::error!(
                "node {}: its digest at position {position} differs from the majority's after two rebuilds, too: its \
                 model does not depend on its requests alone. It answers nothing any more",
                shared.node
            );
        }
    }

    /// Gives the log what is to be written. A leader of a disk goes on at once: others wait for its heartbeats. Whoever follows
    /// has nothing better to do than to wait for its own disk, and acknowledges the sooner for it.
    pub(super) fn write_log(&mut self, hand: Hand, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let writes = std::mem::take(&mut self.writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.fetch.appended(writes.iter().map(Write::bytes).sum());
        let may_wait = hand == Hand::Thread && !self.replica.is_leader();
        if !may_wait && self.log.may_wait() {
            self.log.write(writes);
            return Ok(());
        }
        let written = self.log.write_here(writes).map_err(|error| Error::Storage(error.to_string()))?;
        if let Some(mark) = written {
            self.step(Input::Persisted(mark), outputs)?;
            self.replica.flush(outputs).map_err(fatal)?;
            self.carry_out(outputs)?;
            // What this led to is rare, and goes the long way.
            self.log.write(std::mem::take(&mut self.writes));
        }
        Ok(())
    }

    pub(super) fn answer_operators(&mut self, outputs: &[Output]) {
        for output in outputs {
            if let Output::Operated { token, result } = output {
                self.answer_operator(*token, result);
            }
        }
    }

    fn answer_operator(&mut self, token: OperationToken, result: &OperationResult) {
        for waiting in self.operators.remove(&token).into_iter().flatten() {
            // Who asked may have gone away.
            let _ = waiting.send(result.clone());
        }
    }

    pub(super) fn publish(&mut self) {
        let replica = &self.replica;
        let shared = &self.around.shared;
        let (is_leader, may_wait) = (replica.is_leader(), self.log.may_wait());
        let patience = Patience {
            requests_wait: replica.has_entry_in_flight(),
            writes_wait: may_wait && replica.waits_for_others(),
            settled: replica.settled(),
        };
        shared.inbox.set(is_leader || !may_wait, patience);
        shared.publish_consensus(replica, &self.around.genesis);
        if self.has_ticked && shared.wellbeing.found(replica) {
            shared.changed();
        }
        self.has_ticked = false;
    }
}
