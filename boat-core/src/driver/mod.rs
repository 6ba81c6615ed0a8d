//! What surrounds the replica in production: the one thread that steps it, the thread that syncs the log, and the thread
//! that applies. Clocks and threads live here and nowhere else (design D1).

mod addresses;
mod apply_loop;
mod aside;
mod feed;
mod fetch_thread;
mod found;
mod free_space;
mod inbox;
mod keeper;
mod log_thread;
mod mailbox;
mod memberships;
mod progress;
mod queries;
mod reception;
mod restore;
mod shared;
mod snapshots;
mod transfer_thread;
mod waiters;
mod wellbeing;
mod whereabouts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(crate) use self::addresses::Addresses;
pub(crate) use self::apply_loop::ApplyLoop;
use self::fetch_thread::{Fetch, FetchThread};
pub(crate) use self::found::Launch;
use self::log_thread::{LogThread, Write};
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::memberships::Memberships;
pub(crate) use self::queries::{Queries, Told, Work};
pub(crate) use self::reception::FrontDesk;
pub(crate) use self::shared::Shared;
use self::snapshots::SnapshotThread;
use self::transfer_thread::TransferThread;
pub(crate) use self::waiters::{Reply, Waiters};
use crate::log::{LogEntry, LogError};
use crate::quarantine::Decisions;
use crate::replica::{Fatal, Input, OperationResult, Output, ReadId, Replica, RequestId};
use crate::snapshot::Job;
use crate::transport::{Introduction, PeerEvent, PeerLinks, PeerMessage, Refusal};
use crate::{Birth, Error, Genesis, MemberList, MembershipOperation, NodeEvent, NodeId, OperationToken};

/// How long a node that stops waits for another to take over leadership.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);

/// What wakes the driver.
#[derive(Debug)]
pub(crate) enum Event {
    /// From the transport.
    Peer(PeerEvent),
    /// A request of this node.
    Propose {
        /// What recognizes it.
        id: RequestId,
        /// The encoded request.
        encoded: bytes::Bytes,
        /// How long its client waits.
        within: Duration,
    },
    /// A linearizable read of this node.
    Read {
        /// What recognizes it.
        id: ReadId,
        /// How long its client waits.
        within: Duration,
    },
    /// Writes up to this mark are durable.
    Persisted(u64),
    /// Requests of this node were applied.
    Answered(Vec<RequestId>),
    /// Entries that were read from the log.
    Fetched {
        /// The first index that was asked for.
        low: u64,
        /// The entries.
        entries: Vec<LogEntry>,
    },
    /// Something was done with a snapshot.
    Snapshot(Input),
    /// May this node be wiped?
    MayLeave {
        /// How long to ask.
        within: Duration,
        /// Where the verdict goes.
        verdict: tokio::sync::oneshot::Sender<Option<bool>>,
    },
    /// An operation on the membership.
    Operate {
        /// What recognizes it.
        token: OperationToken,
        /// What to do.
        operation: MembershipOperation,
        /// How long whoever asks waits.
        within: Duration,
        /// Where the result goes.
        result: tokio::sync::oneshot::Sender<OperationResult>,
    },
    /// Less than the reserve is free on the disk, or more again.
    DiskFull(bool),
    /// An operator wants a request quarantined.
    Force {
        /// Its position.
        position: u64,
        /// How long the wish stands.
        within: Duration,
        /// Whether some node holds the request: false when it is not even tried.
        known: tokio::sync::oneshot::Sender<bool>,
    },
    /// The log cannot be written any more.
    StorageFailed(String),
    /// Bytes that had been synced were read back as others.
    LogDamaged(String),
    /// The applier cannot go on.
    ApplierFailed(String),
    /// The node is to stop; `true` to hand over first.
    Stop {
        /// Whether to hand leadership over and wait for that.
        gracefully: bool,
    },
}

/// What the driver is told about its surroundings.
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) links: Arc<dyn PeerLinks>,
    pub(crate) desk: Arc<FrontDesk>,
    pub(crate) genesis: Genesis,
    pub(crate) birth: Birth,
    pub(crate) members: MemberList,
    pub(crate) tick: Duration,
    pub(crate) leader_wait: Duration,
}

/// The driver: owns the replica, waits for one thing, takes what else is there, steps, and carries out.
pub(crate) struct Driver {
    around: Surroundings,
    replica: Replica,
    log: LogThread,
    /// What the replica wants written, until it is given to the log.
    writes: Vec<Write>,
    /// Whether somebody was told of a failure since the last look at who waits.
    failed: bool,
    fetch: FetchThread,
    transfer: TransferThread,
    snapshots: SnapshotThread,
    leave_verdict: Option<tokio::sync::oneshot::Sender<Option<bool>>>,
    /// Who waits for which operation. As bounded as the replica's.
    operators: BTreeMap<OperationToken, Vec<tokio::sync::oneshot::Sender<OperationResult>>>,
    addresses: Addresses,
    stop: Option<Instant>,
    /// Whether a tick has passed since the node's health was published.
    has_ticked: bool,
}

impl Driver {
    pub(crate) fn new(
        around: Surroundings,
        replica: Replica,
        log: LogThread,
        fetch: FetchThread,
        (transfer, snapshots): (TransferThread, SnapshotThread),
    ) -> Self {
        let addresses = Addresses::new(around.shared.node, &around.members);
        Driver {
            around,
            replica,
            log,
            writes: Vec::new(),
            failed: false,
            fetch,
            transfer,
            snapshots,
            leave_verdict: None,
            operators: BTreeMap::new(),
            addresses,
            stop: None,
            has_ticked: false,
        }
    }

    /// Runs until the node stops. Everybody who waits has been answered when it returns.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        self.addresses.set_membership(self.replica.membership());
        self.open_feed();
        let mut outputs = Vec::new();
        let ended = self.drive(&mut outputs);
        self.around.shared.stopping.store(true, Ordering::Release);
        // What was sent may be applied; only after that is said of it, what never got so far may be called lost.
        self.replica.abandon(&mut outputs);
        self.fail_waiters(&mut outputs);
        self.answer_operators(&outputs);
        for event in self.around.shared.inbox.close() {
            if let Event::Propose { id, .. } = event {
                self.around.shared.waiters.fail(&id, crate::replica::Failure::NoLeader);
            }
        }
        self.around.shared.close();
        self.around.shared.feed.stop();
        self.fetch.finish();
        self.transfer.finish();
        self.snapshots.finish();
        self.log.finish();
        ended
    }

    fn drive(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let mut next_tick = now() + self.around.tick;
        let mut events = VecDeque::new();
        loop {
            let shared = self.around.shared.clone();
            shared.inbox.take(next_tick, &mut events);
            shared.waiters.retain_waiting(&mut events);
            self.failed = false;
            for event in events.drain(..) {
                self.on_event(event, outputs)?;
            }
            let time = now();
            if time >= next_tick {
                let condition = shared.wellbeing.condition(shared.backend().healthy);
                self.step(Input::Condition(Box::new(condition)), outputs)?;
                self.has_ticked = true;
                self.step(Input::Tick, outputs)?;
                self.addresses.tick(self.replica.connected());
                // Ticks that were missed are not made up for: they would look like an election timeout.
                next_tick = (next_tick + self.around.tick).max(time);
            }
            self.replica.flush(outputs).map_err(fatal)?;
            self.carry_out(outputs)?;
            self.write_log(outputs)?;
            if let Some(peers) = self.addresses.changed() {
                self.around.links.set_peers(peers);
            }
            self.publish();
            let quiet = !self.replica.is_leader() && self.replica.waiting() == 0;
            if self.stop.is_some_and(|deadline| time >= deadline || quiet) {
                return Ok(());
            }
        }
    }

    fn step(&mut self, input: Input, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let stepped = self.replica.step(wall_ms(), input, outputs).map_err(fatal);
        self.fail_waiters(outputs);
        stepped
    }

    /// Failures are told before the next input: who asks for the same request again in the meantime must not hear the
    /// failure of the attempt before.
    fn fail_waiters(&mut self, outputs: &mut Vec<Output>) {
        outputs.retain(|output| match output {
            Output::Failed { id, failure } => {
                self.around.shared.waiters.fail(id, *failure);
                self.failed = true;
                false
            }
            _ => true,
        });
    }

    fn on_event(&mut self, event: Event, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match event {
            Event::Peer(event) => self.on_peer_event(event, outputs),
            // All who waited for it were told a moment ago that it failed: it must not be applied after all.
            Event::Propose { id, .. } if self.failed && !self.around.shared.waiters.is_waiting(&id) => Ok(()),
            Event::Propose { id, encoded, within } => {
                let (within_ticks, leader_within_ticks) =
                    (self.ticks(within), self.ticks(self.around.leader_wait.min(within)));
                self.step(Input::Propose { id, encoded, within_ticks, leader_within_ticks }, outputs)
            }
            Event::Read { id, within } => {
                let (within_ticks, leader_within_ticks) =
                    (self.ticks(within), self.ticks(self.around.leader_wait.min(within)));
                self.step(Input::Read { id, within_ticks, leader_within_ticks }, outputs)
            }
            Event::Persisted(mark) => self.step(Input::Persisted(mark), outputs),
            Event::Answered(mut ids) => {
                self.around.shared.waiters.retain_done(&mut ids);
                self.step(Input::Answered(ids), outputs)
            }
            Event::DiskFull(full) => self.step(Input::DiskFull(full), outputs),
            Event::Fetched { low, entries } => self.step(Input::Fetched { low, entries }, outputs),
            Event::Snapshot(input) => self.step(input, outputs),
            Event::MayLeave { within, verdict } => {
                self.leave_verdict = Some(verdict);
                self.step(Input::MayLeave { within_ticks: self.ticks(within) }, outputs)
            }
            Event::Force { position, within, known } => {
                let is_held = self.replica.is_held(position);
                // Who asked may have gone away.
                let _ = known.send(is_held);
                let within_ticks = self.ticks(within);
                if is_held { self.step(Input::Force { position, within_ticks }, outputs) } else { Ok(()) }
            }
            Event::Operate { token, operation, within, result } => {
                self.operators.entry(token).or_default().push(result);
                let within_ticks = self.ticks(within);
                self.step(Input::Operate { token, operation, within_ticks }, outputs)
            }
            Event::StorageFailed(why) => Err(Error::Storage(why)),
            Event::LogDamaged(why) => Err(Error::Damaged(why)),
            Event::ApplierFailed(why) => Err(Error::Internal(why)),
            Event::Stop { gracefully } => {
                let wait = if gracefully { HAND_OVER_MAX } else { Duration::ZERO };
                self.stop.get_or_insert(now() + wait);
                self.step(Input::HandOver, outputs)
            }
        }
    }

    fn on_peer_event(&mut self, event: PeerEvent, outputs: &mut Vec<Output>) -> Result<(), Error> {
        match event {
            PeerEvent::Connected(hello) => self.step(Input::Connected(hello.node), outputs),
            PeerEvent::Disconnected { node, refused } => {
                self.step(Input::Disconnected { node, refused }, outputs)
            }
            PeerEvent::Refused { node, reason: Refusal::StaleDirectory } => {
                Err(Error::StaleDirectory(format!(
                    "node {node} has seen a later start of this directory, or more in it: it is a copy, or it was restored \
                 from a backup. Move it aside and start this node with an empty one: it will join anew"
                )))
            }
            PeerEvent::Refused { node, reason: Refusal::Superseded } => Err(Error::StaleDirectory(format!(
                "node {node} belongs to the cluster that this one was recovered as, without this node. What is here and not \
                     there is lost to it: keep this directory, and start this node with an empty one; then add it"
            ))),
            PeerEvent::Refused { node, reason } => {
                log::warn!("node {node} refuses this node: {reason}");
                Ok(())
            }
            PeerEvent::Message { from, message: PeerMessage::Introduction(introduction), .. } => {
                self.answer_introduction(from, &introduction);
                Ok(())
            }
            PeerEvent::Message { from, from_raft_id, message } => {
                self.around.desk.heard(from_raft_id, &message);
                self.step(Input::Peer { from, from_raft_id, message }, outputs)
            }
        }
    }

    /// Whoever looks for the cluster is told of its genesis.
    fn answer_introduction(&mut self, to: NodeId, introduction: &Introduction) {
        if let Some(address) = introduction.members.address(to) {
            // Whoever holds its place must not be cut off.
            let urgent = self.replica.membership().incarnation(to).is_none();
            self.addresses.hear(to, address.to_owned(), urgent);
        }
        if introduction.asks {
            let members = self.replica.membership().members.values();
            let members = members.map(|member| (member.raft_id.node(), member.address.clone()));
            let answer = Introduction {
                birth: self.around.birth,
                // While a place is handed over it stands there twice.
                members: MemberList::new(members).unwrap_or_else(|_| self.around.members.clone()),
                genesis: Some(self.around.genesis.clone()),
                asks: false,
            };
            self.around.links.send(to, vec![PeerMessage::Introduction(Box::new(answer))]);
        }
    }

    fn carry_out(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
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
                    self.around.shared.memberships.push(membership.clone());
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

    /// Lets the applier begin once this node is a member.
    fn open_feed(&self) {
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

    /// Gives the log what is to be written. A leader goes on at once: others wait for its heartbeats. Whoever follows has
    /// nothing better to do than to wait for its own disk, and acknowledges the sooner for it.
    fn write_log(&mut self, outputs: &mut Vec<Output>) -> Result<(), Error> {
        let writes = std::mem::take(&mut self.writes);
        if writes.is_empty() {
            return Ok(());
        }
        self.fetch.appended(writes.iter().map(Write::bytes).sum());
        if self.replica.is_leader() {
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

    fn answer_operators(&mut self, outputs: &[Output]) {
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

    fn publish(&mut self) {
        let replica = &self.replica;
        let shared = &self.around.shared;
        shared.inbox.requests_wait(replica.has_entry_in_flight());
        shared.publish_consensus(replica, &self.around.genesis);
        if self.has_ticked && shared.wellbeing.found(replica) {
            shared.changed();
        }
        self.has_ticked = false;
    }

    fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(self.around.tick.as_nanos().max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

fn storage(error: std::io::Error) -> Error {
    Error::Storage(error.to_string())
}

/// What a log that cannot be read means for the node. Damage sends the directory aside; a disk that fails may work again.
fn unreadable(error: &LogError) -> Event {
    match error {
        LogError::Corrupt { .. } | LogError::Regressed { .. } => Event::LogDamaged(error.to_string()),
        _ => Event::StorageFailed(error.to_string()),
    }
}

fn fatal(fatal: Fatal) -> Error {
    match fatal {
        Fatal::WentBack { .. } | Fatal::CommittedConflict { .. } => Error::StaleDirectory(fatal.to_string()),
        Fatal::Removed { .. } => Error::Removed(fatal.to_string()),
        Fatal::Consensus(_) => Error::Internal(fatal.to_string()),
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the driver is where time comes in")]
    Instant::now()
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the driver is where time comes in")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
