//! The whole of a run: nodes, links and clients, and the loop that lets one thing after the other happen.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::check::{Checker, Violation};
use super::client::{Client, Sending};
use super::context::{Checked, Context};
use super::death::Death;
use super::faults::Fault;
use super::heal::Healing;
use super::model::Models;
use super::mutant::Mutant;
use super::network::{Connection, Network, Packet};
use super::node::Node;
use super::operator::Operator;
use super::options::{Options, TICK_MS};
use super::process::{Effect, NodeInput};
use super::queue::Event;
use super::waiters::{Attempt, Reply};
use crate::replica::{Failure, Input};
use crate::transport::{PeerMessage, Reception, Refusal};
use crate::{MemberList, NodeId};

/// How often faults are drawn, in milliseconds.
pub(super) const FAULTS_MS: u64 = 20;
/// How often a side of a link looks after its connection, at most, in milliseconds.
const CONNECT_MS_MAX: u64 = 60;
/// How often a client that acts reads, too.
const READS_PER_MILLE: u32 = 300;
/// How long a node stays down, at most, in milliseconds.
const DOWN_MS_MAX: u64 = 4_000;
/// How many events a run takes, at most: one that takes more does not end.
const EVENTS_MAX: u64 = 20_000_000;

/// The whole of a run.
#[derive(Debug)]
pub(super) struct World {
    pub(super) context: Context,
    pub(super) checker: Checker,
    pub(super) network: Network,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) clients: Vec<Client>,
    pub(super) healing: Option<Healing>,
    pub(super) operator: Operator,
}

impl World {
    pub(super) fn new(options: Options, models: Rc<dyn Models>, keeps_lines: bool) -> Checked<World> {
        let count = options.nodes.max(1);
        let founders = options.founders.clamp(1, count);
        let list = |spare: Option<u16>| {
            let members = (0..founders).chain(spare).map(|node| (NodeId(node), format!("node-{node}:0")));
            MemberList::new(members)
                .map_err(|error| Violation { invariant: "options", what: error.to_string() })
        };
        let mut nodes = BTreeMap::new();
        for node in 0..count {
            let joins = node >= founders;
            let members = list(Some(node).filter(|_| joins))?;
            nodes.insert(NodeId(node), Node::new(NodeId(node), members, joins));
        }
        // The last client only asks once the faults are over.
        let clients = (0..=options.clients).map(Client::new);
        let mut world = World {
            nodes,
            network: Network::new(count),
            clients: clients.collect(),
            checker: Checker::new(&models),
            healing: None,
            operator: Operator::default(),
            context: Context::new(options, models, keeps_lines),
        };
        world.schedule_first();
        Ok(world)
    }

    fn schedule_first(&mut self) {
        let context = &mut self.context;
        for node in self.nodes.keys() {
            let wait_ms = context.up_to(500);
            context.after(wait_ms, Event::Start(*node));
        }
        for (from, to) in self.network.pairs() {
            let wait_ms = context.up_to(CONNECT_MS_MAX);
            context.after(wait_ms, Event::Connect(from, to));
        }
        for client in 0..context.options.clients {
            context.after(0, Event::Act(client));
        }
        context.after(FAULTS_MS, Event::Faults);
        context.after(context.options.faulty_ms, Event::Heal);
    }

    /// Runs until the cluster has healed.
    pub(super) fn run(&mut self) -> Checked {
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.context.next() else { break };
            if self.handle(event)? {
                return Ok(());
            }
        }
        let what = format!("after {EVENTS_MAX} events at {} ms", self.context.now_ms);
        Err(Violation { invariant: "a run ends", what })
    }

    /// True: the run is over.
    fn handle(&mut self, event: Event) -> Checked<bool> {
        match event {
            Event::Tick(node, life) => self.tick(node, life),
            Event::Wake(node, life) => self.wake(node, life)?,
            Event::WriteDone(id, life) => self.with_life(id, life, |node, context, checker| {
                let clock_ms = node.clock_ms(context);
                let running = node.running_mut();
                running.map_or(Ok(Vec::new()), |running| running.written(context, checker, clock_ms))
            })?,
            Event::WriteAgain(id, life) => self.with_life(id, life, |node, context, _| {
                let running = node.running_mut();
                running.map_or(Ok(Vec::new()), |running| running.write_again(context))
            })?,
            Event::Apply(id, life) => self.apply(id, life)?,
            Event::SnapshotWrite(id, life) => self.with_life(id, life, |node, context, _| {
                node.running_mut().map_or(Ok(Vec::new()), |running| running.write_snapshot(context))
            })?,
            Event::SnapshotJob(id, life) => self.with_life(id, life, |node, context, checker| {
                node.running_mut().map_or(Ok(Vec::new()), |running| running.work(context, checker))
            })?,
            Event::FetchDone(id, life, range) => self.with_life(id, life, |node, _, _| {
                let Some(running) = node.running() else { return Ok(Vec::new()) };
                Ok(vec![running.fetched(range)?])
            })?,
            Event::Deliver(packet) => self.deliver(packet),
            Event::Connect(from, to) => self.connect(from, to),
            Event::Space(id) => self.make_space(id),
            Event::LookAtSpace(id) => self.look_at_space(id),
            Event::Start(id) => self.start(id)?,
            Event::Act(client) => self.act(client),
            Event::GiveUp(attempt) => self.give_up(attempt),
            Event::Retry(operation) => self.retry(operation),
            Event::Answer(attempt, reply) => self.answer(attempt, &reply)?,
            Event::Faults => self.draw_faults()?,
            Event::Heal => self.heal()?,
            Event::Healed => return self.look_at_healing(),
        }
        Ok(false)
    }

    /// Does something with a node, if the process that it is meant for still runs.
    pub(super) fn with_life(
        &mut self,
        id: NodeId,
        life: u64,
        act: impl FnOnce(&mut Node, &mut Context, &mut Checker) -> Checked<Vec<Effect>>,
    ) -> Checked {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        if node.life != life || node.is_down() {
            return Ok(());
        }
        let effects = act(node, &mut self.context, &mut self.checker)?;
        let state =
            node.running().map_or(0, |running| running.replica.term() << 40 ^ running.replica.last_index());
        self.context.trace.mix(self.context.now_ms, u64::from(id.0) << 56 ^ state);
        self.carry_out(id, effects)
    }

    fn tick(&mut self, id: NodeId, life: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life == life && !node.is_down()) else {
            return;
        };
        node.put(&mut self.context, NodeInput::Replica(Input::Tick));
        self.context.after(TICK_MS, Event::Tick(id, life));
    }

    fn wake(&mut self, id: NodeId, life: u64) -> Checked {
        if let Some(until_ms) = self.paused(id) {
            self.context.after(until_ms - self.context.now_ms, Event::Wake(id, life));
            return Ok(());
        }
        self.with_life(id, life, Node::wake)
    }

    fn apply(&mut self, id: NodeId, life: u64) -> Checked {
        if let Some(until_ms) = self.paused(id) {
            self.context.after(until_ms - self.context.now_ms, Event::Apply(id, life));
            return Ok(());
        }
        self.with_life(id, life, |node, context, checker| {
            let clock_ms = node.clock_ms(context);
            let running = node.running_mut();
            running.map_or(Ok(Vec::new()), |running| running.apply(context, checker, clock_ms))
        })
    }

    fn paused(&self, id: NodeId) -> Option<u64> {
        let node = self.nodes.get(&id)?;
        node.is_paused(self.context.now_ms).then_some(node.paused_until_ms)
    }

    fn start(&mut self, id: NodeId) -> Checked {
        if self.nodes.get(&id).is_none_or(|node| !node.is_down()) {
            return Ok(());
        }
        self.draw_backup(id);
        self.own_up();
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_down()) else { return Ok(()) };
        let effects = node.start(&mut self.context, &mut self.checker)?;
        self.carry_out(id, effects)
    }

    pub(super) fn carry_out(&mut self, id: NodeId, effects: Vec<Effect>) -> Checked {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => self.network.send(&mut self.context, id, to, message),
                Effect::Answer(attempt, reply) => {
                    let wait_ms = 1 + self.context.up_to(2);
                    self.context.after(wait_ms, Event::Answer(attempt, reply));
                }
                Effect::Input(input) => self.put(id, NodeInput::Replica(input)),
                Effect::Adopted => self.renew(id),
                Effect::MayLeave(verdict) => self.leave(id, verdict),
                Effect::Unusable(why) => {
                    let Some(node) = self.nodes.get_mut(&id) else { continue };
                    let death = node.mark_stale(&mut self.context, &why)?;
                    self.die(id, death);
                }
                Effect::Operated(token, result) => self.operated(token, &result)?,
                Effect::Die(death) => self.die(id, death),
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, id: NodeId, input: NodeInput) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.put(&mut self.context, input);
        }
    }

    pub(super) fn die(&mut self, id: NodeId, death: Death) {
        let (may_move, sufficient) = (self.may_move(id, death), self.others_suffice(id));
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let was_member = node.running().is_some();
        let death = node.die(&mut self.context, death, may_move);
        self.network.hang_up(id);
        let rots = death == Death::Kill && was_member && sufficient && !node.rotten;
        if rots && self.context.fault(self.context.options.rot_per_mille) {
            node.rot(&mut self.context);
        }
        let wait_ms = if self.context.faulty { 1 + self.context.up_to(DOWN_MS_MAX) } else { 1 };
        self.context.after(wait_ms, Event::Start(id));
        self.own_up();
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { from, to, .. } = packet;
        let Some(node) = self.nodes.get_mut(&to) else { return };
        if !self.network.delivers(&packet, node.life) {
            return;
        }
        if node.running().is_some() {
            node.desk.heard(packet.connection.raft_id, &packet.message);
        }
        let input = match packet.message {
            PeerMessage::Introduction(said) => NodeInput::Introduced { from, said },
            message => {
                let from_raft_id = packet.connection.raft_id;
                NodeInput::Replica(Input::Peer { from, from_raft_id, message })
            }
        };
        node.put(&mut self.context, input);
    }

    /// One side of a link looks whether its connection stands, and makes it if it does not.
    fn connect(&mut self, from: NodeId, to: NodeId) {
        let wait_ms = 1 + self.context.up_to(CONNECT_MS_MAX);
        self.context.after(wait_ms, Event::Connect(from, to));
        let (Some(own), Some(peer)) = (self.nodes.get(&from), self.nodes.get(&to)) else { return };
        let now_ms = self.context.now_ms;
        if own.is_down() || own.is_paused(now_ms) || !self.network.is_open(from, to) {
            return;
        }
        let own_life = own.life;
        let (peer_down, peer_life, peer_paused) = (peer.is_down(), peer.life, peer.is_paused(now_ms));
        let dialed = own.dials(to);
        let reached = dialed == Some(peer.address.as_str());
        let (dials, absent) = (dialed.is_some(), peer_down || !reached);
        let known = self.network.connection(from, to).filter(|known| known.from_life == own_life);
        let input = match known {
            Some(known) if known.to_life == peer_life && !absent => return,
            Some(_) => {
                self.network.connect(from, to, None);
                Input::Disconnected { node: to, refused: false }
            }
            None if !dials => return,
            None if absent => Input::Disconnected { node: to, refused: true },
            None if peer_paused => return,
            None => match self.greet(own, peer) {
                Ok(connection) => {
                    self.network.connect(from, to, Some(connection));
                    Input::Connected(to)
                }
                Err((refused, reason)) => {
                    let by = if refused == from { to } else { from };
                    if let Some(node) = self.nodes.get_mut(&refused) {
                        node.put(&mut self.context, NodeInput::Refused { by, reason });
                    }
                    return;
                }
            },
        };
        self.put(from, NodeInput::Replica(input));
    }

    /// A handshake: both sides judge each other. The connection; or who is refused, and why.
    fn greet(&self, own: &Node, peer: &Node) -> Result<Connection, (NodeId, Refusal)> {
        let hello = own.desk.hello();
        let lets_all_in = self.context.options.mutant == Some(Mutant::LetOldDirectoryIn);
        let refused = |judged: Result<(), Refusal>| if lets_all_in { Ok(()) } else { judged };
        refused(peer.desk.judge(&hello)).map_err(|reason| (own.id, reason))?;
        refused(own.desk.judge(&peer.desk.hello())).map_err(|reason| (peer.id, reason))?;
        Ok(Connection { from_life: own.life, to_life: peer.life, raft_id: hello.raft_id })
    }

    /// A node says something else of itself now: all its connections are closed.
    fn renew(&mut self, id: NodeId) {
        for (from, to) in self.network.pairs() {
            if (from == id || to == id) && self.network.connection(from, to).is_some() {
                self.network.connect(from, to, None);
                if to == id {
                    self.put(from, NodeInput::Replica(Input::Disconnected { node: id, refused: false }));
                }
            }
        }
    }

    fn act(&mut self, number: usize) {
        if !self.context.faulty {
            return;
        }
        if self.context.chance(READS_PER_MILLE) {
            self.read();
        }
        let sending =
            self.clients.get_mut(number).and_then(|client| client.act(&mut self.context, &mut self.checker));
        if let Some(sending) = sending {
            self.send(sending);
        }
        let wait_ms = 1 + self.context.up_to(self.context.options.think_ms_max);
        self.context.after(wait_ms, Event::Act(number));
    }

    pub(super) fn send(&mut self, sending: Sending) {
        let Sending { attempt, id, encoded } = sending;
        let place = self.choose_place(attempt);
        let Some(node) = self.nodes.get_mut(&place) else { return };
        if node.is_down() {
            // The connection is refused: it never left the client.
            let reply = Reply::Failed(Failure::NoLeader);
            return self.context.after(1, Event::Answer(attempt, reply));
        }
        let context = &mut self.context;
        context.note(attempt.operation as u64, || {
            format!("operation {} to node {place}: {id:?}", attempt.operation)
        });
        node.put(context, NodeInput::Propose { attempt, id, encoded });
    }

    /// Which node a client asks: any. Once the faults are over it asks every other time one that says that it is ready, as
    /// whoever balances load does: promise L1 is the cluster's, not that of a node that is far behind.
    fn choose_place(&mut self, attempt: Attempt) -> NodeId {
        let ready: Vec<NodeId> = match self.context.faulty || attempt.number.is_multiple_of(2) {
            true => Vec::new(),
            false => self.nodes.values().filter(|node| node.is_ready()).map(|node| node.id).collect(),
        };
        let all = if ready.is_empty() { self.nodes.keys().copied().collect() } else { ready };
        let place = self.context.up_to(all.len() as u64 - 1) as usize;
        all.get(place).copied().unwrap_or(NodeId(0))
    }

    fn give_up(&mut self, attempt: Attempt) {
        let waits = self.checker.book.get(attempt.operation).is_some_and(|operation| operation.waits);
        if waits && attempt.number + 1 == self.checker.book.attempts(attempt.operation) {
            self.context.count(Fault::ClientTimeout);
            self.retry(attempt.operation);
        }
    }

    fn retry(&mut self, operation: usize) {
        let Some(known) = self.checker.book.get(operation).filter(|known| known.waits) else { return };
        let Some(client) = self.clients.get(known.client) else { return };
        if let Some(sending) = client.again(&mut self.context, &mut self.checker, operation) {
            self.send(sending);
        }
    }

    fn answer(&mut self, attempt: Attempt, reply: &Reply) -> Checked {
        self.context
            .note(attempt.operation as u64, || format!("operation {} hears {reply:?}", attempt.operation));
        let client = self.checker.book.get(attempt.operation).map(|operation| operation.client);
        let Some(client) = client.and_then(|client| self.clients.get_mut(client)) else { return Ok(()) };
        client.answered(&mut self.context, &mut self.checker, attempt, reply)
    }
}
