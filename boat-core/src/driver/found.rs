//! From a directory to a running replica: founding or finding the cluster, opening the log, starting the threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::apply_loop::Lists;
use super::fetch_thread::FetchThread;
use super::free_space::FreeSpace;
use super::log_thread::LogThread;
use super::shared::{ConsensusView, Shared};
use super::snapshots::{SnapshotThread, Taking};
use super::transfer_thread::TransferThread;
use super::whereabouts::Whereabouts;
use super::{Addresses, ApplyLoop, Driver, Event, FrontDesk, Surroundings, aside, keeper, now};
use crate::apply::SessionLimits;
use crate::directory::Directory;
use crate::founding::{Founding, FoundingOutput};
use crate::log::{Log, LogConfig, LogError, Recovered};
use crate::replica::{Failure, OperationResult, Replica, ReplicaConfig, ReplicaStart};
use crate::snapshot::{SnapshotStore, raise_commit};
use crate::transport::{LogEnd, PeerEvent, PeerLinks, PeerMessage};
use crate::{Error, Genesis, Member, MemberList, Predictor, RaftId};

/// Everything a node is started with.
pub(crate) struct Launch<P> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) links: Arc<dyn PeerLinks>,
    pub(crate) desk: Arc<FrontDesk>,
    pub(crate) directory: Directory,
    pub(crate) members: MemberList,
    /// Whether the node joins a cluster that is there already, and never founds one.
    pub(crate) join: bool,
    /// Where peers reach this node.
    pub(crate) address: String,
    pub(crate) limits: SessionLimits,
    pub(crate) tick: Duration,
    pub(crate) leader_wait: Duration,
    /// How long the predictor may take for one call, or for a batch.
    pub(crate) call_limit: Duration,
    pub(crate) heartbeat_ticks: usize,
    pub(crate) election_ticks: usize,
    pub(crate) command_bytes_max: usize,
    pub(crate) forwarded_bytes_max: usize,
    pub(crate) log: LogConfig,
    /// The bytes of log between two snapshots, at least, and of snapshots that leave in one tick, at most.
    pub(crate) snapshot_log_bytes: u64,
    pub(crate) snapshot_bytes_per_tick: usize,
    /// The bytes of entries that nodes which lag behind are sent in a second, at most.
    pub(crate) catch_up_bytes_per_second: u64,
    pub(crate) free_bytes_min: u64,
    pub(crate) seed: u64,
    pub(crate) predictor: P,
}

/// What a directory holds.
struct Opened {
    log: Log,
    recovered: Recovered,
    snapshots: Arc<SnapshotStore>,
}

/// Why a log cannot be opened.
enum OpenError {
    /// Its directory lost what it had acknowledged.
    Unusable(String),
    /// Anything else.
    Other(Error),
}

impl<P: Predictor> Launch<P> {
    /// The body of the driver's thread. `opened` hears once the directory proved usable.
    pub(crate) fn run(mut self, opened: oneshot::Sender<Result<(), Error>>) -> Result<(), Error> {
        let mut opened = Some(opened);
        let mut say = |result| {
            if let Some(opened) = opened.take() {
                // Whoever started the node may have given up waiting.
                let _ = opened.send(result);
            }
        };
        loop {
            let stale = self.directory.stale()?;
            if self.directory.genesis().is_none() || stale.is_some() {
                say(Ok(()));
            }
            if let (Some(why), None) = (&stale, self.directory.genesis()) {
                // It was on its way aside, or being wiped, when this process ended: the others had agreed.
                let why = why.clone();
                self.begin_anew(&why)?;
                continue;
            }
            let Some((genesis, raft_id)) = self.genesis()? else { return Ok(()) };
            self.desk.joined(&genesis, raft_id);
            let unusable = match stale {
                Some(why) if Directory::was_removed(&why) => {
                    // The others have agreed to do without it.
                    self.begin_anew(&why)?;
                    continue;
                }
                Some(why) => why,
                None => match self.open_log(&genesis) {
                    Ok(opened) => {
                        say(Ok(()));
                        return self.serve(genesis, raft_id, opened);
                    }
                    Err(OpenError::Unusable(why)) => why,
                    Err(OpenError::Other(error)) => {
                        let copy = error.duplicate();
                        say(Err(error));
                        return Err(copy);
                    }
                },
            };
            say(Ok(()));
            // A directory that lost what it had acknowledged goes aside, if the others can do without it (design D13).
            if !aside::may_begin_anew(&self, raft_id, &unusable)? {
                return Ok(());
            }
            self.begin_anew(&unusable)?;
        }
    }

    /// Keeps what stands in the directory aside, and goes on as an empty node.
    fn begin_anew(&mut self, why: &str) -> Result<(), Error> {
        let aside = self.directory.set_aside(aside::random_birth())?;
        log::warn!("node {}: {why}; kept in {}, joining anew", self.shared.node, aside.display());
        self.desk.reborn(self.directory.birth(), self.directory.boots());
        self.shared.set_consensus(|view| *view = ConsensusView::default());
        self.links.renew();
        Ok(())
    }

    fn serve(self, genesis: Genesis, raft_id: RaftId, opened: Opened) -> Result<(), Error> {
        let (files, path) = (self.directory.files().clone(), self.directory.path().to_owned());
        let shared = self.shared.clone();
        let (driver, applier) = self.assemble(genesis, raft_id, opened)?;
        let ended = driver.run();
        if let Err(Error::StaleDirectory(why) | Error::Damaged(why)) = &ended {
            // The next start sets it aside, where the others can do without it.
            Directory::mark_stale(files.as_ref(), &path, why)?;
        }
        if let Err(Error::Removed(why)) = &ended {
            Directory::mark_removed(files.as_ref(), &path, why)?;
        }
        // Who waits for the end need not wait for a model that is slow to notice it.
        shared.end(ended.as_ref().err().map(|error| Arc::new(error.duplicate())));
        if applier.join().is_err() {
            log::error!("the applier panicked");
        }
        ended
    }

    /// The genesis that the directory holds, or one that is founded or found now; `None` when the node is stopped first.
    fn genesis(&mut self) -> Result<Option<(Genesis, RaftId)>, Error> {
        if let Some(known) = self.directory.genesis() {
            return Ok(Some(known.clone()));
        }
        let birth = self.directory.birth();
        let node = self.shared.node;
        let joins = self.join || self.directory.had_cluster()?;
        let founding = Founding::new(node, birth, self.members.clone(), self.limits, self.seed);
        let mut founding = founding.joining(joins);
        let mut whereabouts = Whereabouts::new(Addresses::new(node, &self.members));
        let mut next_tick = now();
        let mut events = VecDeque::new();
        let mut outputs = Vec::new();
        loop {
            if let Some(peers) = whereabouts.addresses.changed() {
                self.links.set_peers(peers);
            }
            self.shared.inbox.wait(next_tick);
            self.shared.inbox.take(&mut events);
            for event in events.drain(..) {
                whereabouts.observe(&event);
                if self.on_event(event, &mut founding, &mut outputs)? {
                    return Ok(None);
                }
            }
            if now() >= next_tick {
                founding.tick(&mut outputs);
                whereabouts.tick();
                next_tick = now() + self.tick;
                let waiting_for = founding.waiting_for();
                self.shared.set_consensus(|view| view.waiting_for = waiting_for);
            }
            for output in outputs.drain(..) {
                match output {
                    FoundingOutput::Send(to, message) => self.links.send(to, vec![message]),
                    FoundingOutput::Adopt(genesis, raft_id) => {
                        self.directory.adopt(genesis.clone(), raft_id)?;
                        self.desk.joined(&genesis, raft_id);
                        // Its log is empty, and the connections that begin now go on once it is opened.
                        self.desk.opened(LogEnd { term: 0, last_index: 0 });
                        self.links.renew();
                        return Ok(Some((genesis, raft_id)));
                    }
                }
            }
        }
    }

    /// True: the node is to stop.
    fn on_event(
        &self,
        event: Event,
        founding: &mut Founding,
        outputs: &mut Vec<FoundingOutput>,
    ) -> Result<bool, Error> {
        match event {
            Event::Peer(PeerEvent::Message { from, message: PeerMessage::Introduction(said), .. }) => {
                founding.on_introduction(from, &said, outputs);
            }
            Event::Peer(PeerEvent::Message { from, message: PeerMessage::Join(_), .. }) => {
                founding.hear_of(from);
            }
            Event::Peer(PeerEvent::Refused { node, reason }) => {
                log::warn!("node {node} refuses this node: {reason}");
            }
            Event::Propose { id, .. } => self.shared.waiters.fail(&id, Failure::NoLeader),
            Event::Force { known, .. } => {
                // Nobody holds anything yet.
                let _ = known.send(false);
            }
            Event::Operate { result, .. } => {
                // Nobody to ask is known yet; who asked may have gone away.
                let _ = result.send(OperationResult::NoLeader);
            }
            Event::Read { id, .. } => self.shared.queries.fail(id),
            Event::MayLeave { verdict, .. } => {
                // Nothing is on this disk that others could miss, but nobody can vouch for that yet.
                let _ = verdict.send(None);
            }
            Event::Stop { .. } => {
                self.shared.close();
                self.shared.inbox.close();
                return Ok(true);
            }
            Event::StorageFailed(why) => return Err(Error::Storage(why)),
            #[cfg(all(feature = "http", feature = "supervisor"))]
            Event::HandOver => {}
            Event::Peer(_)
            | Event::Persisted(_)
            | Event::Fetched { .. }
            | Event::DiskFull(_)
            | Event::Snapshot(_)
            | Event::LogDamaged(_)
            | Event::ApplierFailed(_) => {}
        }
        Ok(false)
    }

    fn open_log(&self, genesis: &Genesis) -> Result<Opened, OpenError> {
        let files = self.directory.files().clone();
        let path = self.directory.log_path();
        let opened = Log::open(files.clone(), &path, self.log.clone(), genesis.membership());
        let opened = opened.and_then(|(log, mut recovered)| {
            let (path, quarantine) = (self.directory.snapshots_path(), self.directory.quarantine_file());
            let quarantine = quarantine.read().map_err(LogError::io("read", self.directory.path()))?;
            raise_commit(&*files, &path, &mut recovered, quarantine.decisions())?;
            let covered = (recovered.first_index - 1, recovered.hard_state.commit);
            let (snapshots, warnings) = SnapshotStore::open(files, &path, covered)?;
            recovered.warnings.extend(warnings);
            Ok(Opened { log, recovered, snapshots: Arc::new(snapshots) })
        });
        opened.map_err(|error| match error {
            LogError::Regressed { .. } | LogError::Corrupt { .. } => OpenError::Unusable(error.to_string()),
            other => OpenError::Other(Error::Storage(other.to_string())),
        })
    }

    fn assemble(
        self,
        genesis: Genesis,
        raft_id: RaftId,
        opened: Opened,
    ) -> Result<(Driver, JoinHandle<()>), Error> {
        let Opened { log, recovered, snapshots } = opened;
        let storage = |error: &dyn std::fmt::Display| Error::Storage(error.to_string());
        recovered.warnings.iter().for_each(|warning| log::warn!("node {}: {warning}", self.shared.node));
        // Before anybody is dialed: nobody may count a node in that has forgotten something.
        self.desk.opened(LogEnd { term: recovered.hard_state.term, last_index: recovered.last_index });
        let reader = log.reader();
        self.shared.feed.start(recovered.hard_state.commit);
        self.shared.memberships.push(recovered.membership.clone());
        self.shared.set_snapshot(snapshots.kept().first());
        let start = ReplicaStart::of(recovered, super::snapshots::newest(&snapshots));
        let own = Member { raft_id, birth: self.directory.birth(), address: self.address };
        let config = ReplicaConfig {
            heartbeat_ticks: self.heartbeat_ticks,
            election_ticks: self.election_ticks,
            command_bytes_max: self.command_bytes_max,
            forwarded_bytes_max: self.forwarded_bytes_max,
            snapshot_bytes_per_tick: self.snapshot_bytes_per_tick,
            ..ReplicaConfig::new(own, self.seed)
        };
        let mut replica = Replica::new(config, start).map_err(super::fatal)?;
        let decisions = self.shared.wellbeing.install(self.directory.quarantine_file());
        replica.restore_decisions(decisions.map_err(|error| storage(&error))?);
        let around = Surroundings {
            shared: self.shared.clone(),
            links: self.links,
            desk: self.desk,
            birth: self.directory.birth(),
            members: self.members,
            tick: self.tick,
            leader_wait: self.leader_wait,
            genesis: genesis.clone(),
        };
        let space =
            FreeSpace::new(self.directory.files().clone(), self.directory.log_path(), self.free_bytes_min);
        let log = LogThread::start(log, space, self.shared.clone()).map_err(|error| storage(&error))?;
        let fetch = FetchThread::start(reader.clone(), self.shared.clone(), self.catch_up_bytes_per_second);
        let fetch = fetch.map_err(|error| storage(&error))?;
        let transfer =
            TransferThread::start(snapshots.clone(), self.shared.clone()).map_err(|error| storage(&error))?;
        let state_kind = self.predictor.state_kind();
        let log_bytes = self.snapshot_log_bytes;
        let writer =
            SnapshotThread::start(snapshots.clone(), self.shared.clone()).map_err(|error| storage(&error))?;
        let limits = genesis.limits;
        let applier = ApplyLoop {
            shared: self.shared.clone(),
            predictor: self.predictor,
            reader: reader.clone(),
            limits,
            snapshots: Taking::new(
                &writer,
                snapshots,
                self.shared.clone(),
                genesis.cluster,
                state_kind,
                log_bytes,
            ),
            distrusts: false,
            call_limit: self.call_limit,
            number: self.shared.wellbeing.applier(),
            gave_up: false,
            published_sessions: None,
            lists: Lists::default(),
        };
        let applier = keeper::start(applier, &self.shared).map_err(|error| storage(&error))?;
        Ok((Driver::new(around, replica, log, fetch, (transfer, writer)), applier))
    }
}
