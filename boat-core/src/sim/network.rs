//! Links between nodes: they delay, lose, repeat and reorder messages, clog, and are cut in one direction or both.
//!
//! A connection belongs to the two processes that made it, as TCP's do: what was sent to a process that has died reaches
//! nobody, and what a dead process sent is not delivered any more once its successor is connected.

use std::collections::BTreeMap;

use super::context::Context;
use super::faults::Fault;
use super::queue::{Event, Life};
use crate::transport::PeerMessage;
use crate::{NodeId, RaftId};

/// How long a clogged link stays so, at most.
const CLOG_MS_MAX: u64 = 3_000;
/// One message in so many takes ten times as long.
const SLOW_ONE_IN: u64 = 64;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) connection: Connection,
    pub(super) message: PeerMessage,
}

/// Whom a connection ties together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) from_life: Life,
    pub(super) to_life: Life,
    /// What the sender said of itself in the handshake.
    pub(super) raft_id: Option<RaftId>,
}

#[derive(Debug, Default)]
struct Link {
    cut: bool,
    clogged_until_ms: u64,
    latest_ms: u64,
    /// How many messages are on their way.
    messages: usize,
    connection: Option<Connection>,
}

/// All links, by sender and receiver.
#[derive(Debug, Default)]
pub(super) struct Network(BTreeMap<(NodeId, NodeId), Link>);

impl Network {
    pub(super) fn new(nodes: u16) -> Self {
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (NodeId(from), NodeId(to))));
        Network(pairs.filter(|(from, to)| from != to).map(|pair| (pair, Link::default())).collect())
    }

    pub(super) fn pairs(&self) -> Vec<(NodeId, NodeId)> {
        self.0.keys().copied().collect()
    }

    /// Whether anything passes from one to the other and back.
    pub(super) fn is_open(&self, from: NodeId, to: NodeId) -> bool {
        let cut = |pair| self.0.get(&pair).is_none_or(|link| link.cut);
        !cut((from, to)) && !cut((to, from))
    }

    pub(super) fn connection(&self, from: NodeId, to: NodeId) -> Option<Connection> {
        self.0.get(&(from, to))?.connection
    }

    pub(super) fn connect(&mut self, from: NodeId, to: NodeId, connection: Option<Connection>) {
        if let Some(link) = self.0.get_mut(&(from, to)) {
            link.connection = connection;
        }
    }

    /// A process has ended, and with it the connections that it made.
    pub(super) fn hang_up(&mut self, from: NodeId) {
        let made = self.0.iter_mut().filter(|((maker, _), _)| *maker == from);
        made.for_each(|(_, link)| link.connection = None);
    }

    /// Sends, unless the link loses it.
    pub(super) fn send(&mut self, context: &mut Context, from: NodeId, to: NodeId, message: PeerMessage) {
        let Some(link) = self.0.get_mut(&(from, to)) else { return };
        let Some(connection) = link.connection else { return };
        if link.cut || context.fault(context.options.loss_per_mille) {
            context.count(Fault::Loss);
            return;
        }
        let copies = if context.fault(context.options.repeat_per_mille) {
            context.count(Fault::Repeat);
            2
        } else {
            1
        };
        for _ in 0..copies {
            if context.faulty && link.messages >= context.options.link_messages_max {
                context.count(Fault::LinkFull);
                return;
            }
            link.messages += 1;
            let mean_ms = if context.faulty { context.options.delay_ms_mean } else { 1 };
            let slow = context.faulty && context.up_to(SLOW_ONE_IN - 1) == 0;
            let delay_ms = context.up_to(2 * mean_ms) * if slow { 10 } else { 1 };
            let at_ms = (context.now_ms + delay_ms).max(link.clogged_until_ms);
            if at_ms < link.latest_ms {
                context.count(Fault::Reorder);
            }
            link.latest_ms = link.latest_ms.max(at_ms);
            let packet = Packet { from, to, connection, message: message.clone() };
            context.after(at_ms - context.now_ms, Event::Deliver(packet));
        }
    }

    /// A message is at its link's end: whether what was sent over this connection still arrives.
    pub(super) fn delivers(&mut self, packet: &Packet, to_life: Life) -> bool {
        let Some(link) = self.0.get_mut(&(packet.from, packet.to)) else { return false };
        link.messages = link.messages.saturating_sub(1);
        let superseded = link.connection.is_some_and(|now| now.from_life > packet.connection.from_life);
        !link.cut && packet.connection.to_life == to_life && !superseded
    }

    /// Draws what happens to links now.
    pub(super) fn draw_faults(&mut self, context: &mut Context) {
        if context.fault(context.options.partition_per_mille) {
            self.partition(context);
        }
        let options = &context.options;
        let (clog, heal) = (options.clog_per_mille, options.heal_per_mille);
        for link in self.0.values_mut() {
            if link.cut && context.fault(heal) {
                link.cut = false;
            }
            if context.fault(clog) && context.chance(100) {
                context.count(Fault::Clog);
                link.clogged_until_ms = context.now_ms + context.up_to(CLOG_MS_MAX);
            }
        }
    }

    /// Cuts a random set of nodes off from the others, in both directions or in one; or a single link.
    fn partition(&mut self, context: &mut Context) {
        let side = context.word();
        let inside = |node: NodeId| side >> (node.0 % 64) & 1 == 1;
        let one_way = context.chance(400);
        let pairs = self.pairs();
        let single = if context.chance(300) {
            let place = context.up_to(pairs.len().saturating_sub(1) as u64);
            pairs.get(place as usize).copied()
        } else {
            None
        };
        let mut happened = false;
        for (pair, link) in &mut self.0 {
            let crosses = match single {
                Some(single) => *pair == single || (!one_way && (pair.1, pair.0) == single),
                None if one_way => inside(pair.0) && !inside(pair.1),
                None => inside(pair.0) != inside(pair.1),
            };
            happened |= crosses;
            link.cut |= crosses;
        }
        if happened {
            context.count(if one_way { Fault::OneWayPartition } else { Fault::Partition });
        }
    }

    /// Cuts one node off from all others.
    pub(super) fn cut_off(&mut self, node: NodeId) {
        for ((from, to), link) in &mut self.0 {
            link.cut |= *from == node || *to == node;
        }
    }

    /// All faults of links end.
    pub(super) fn heal(&mut self) {
        for link in self.0.values_mut() {
            link.cut = false;
            link.clogged_until_ms = 0;
        }
    }
}
