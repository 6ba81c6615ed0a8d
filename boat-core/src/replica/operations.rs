//! Operations on the membership that were asked for on this node: they are shown to the leader until it has decided.

use std::collections::BTreeMap;

use super::{Output, Replica};
use crate::transport::{Operate, OperateAnswer, PeerMessage, Verdict};
use crate::{MembershipOperation, MembershipRefusal, NodeId, OperationToken};

/// How many operations wait on one node.
pub(crate) const OPERATIONS_MAX: usize = 16;
/// How often the leader is asked again, in ticks.
const ASK_AGAIN_TICKS: u64 = 5;
/// How long the answer to one copy is waited for before the next is sent, in ticks.
const ANSWER_TICKS: u64 = 25;
/// How long a refusal that may pass is asked about again, in ticks.
const DOUBT_TICKS: u64 = 50;
/// How long before its time is over an operation is not sent any more, in ticks: the last answer still has to come.
const LAST_ANSWER_TICKS: u64 = 10;
/// How long this node may lag behind the leader that says that an operation is done, in ticks.
const LAG_TICKS: u64 = 25;
/// The lower bits of a ticket count copies; the upper ones are drawn at each start.
const TICKET_COUNT_BITS: u32 = 40;

/// What became of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationResult {
    /// It was carried out: committed, durable, and in force.
    Done,
    /// It was refused. Definite.
    Refused(MembershipRefusal),
    /// Too many operations wait here already. Definite.
    Overloaded,
    /// There was no leader to ask. Definite.
    NoLeader,
    /// Its time is over; it may have been carried out, or may yet be.
    Unknown,
}

#[derive(Debug)]
struct Waiting {
    operation: MembershipOperation,
    since_tick: u64,
    deadline_tick: u64,
    next_tick: u64,
    /// The latest copy whose answer is not there.
    ticket: Option<u64>,
    /// The leader and term that were asked last: a change of either is a reason to ask at once.
    asked: Option<(NodeId, u64)>,
    /// What the answer to the latest copy was, if it was a refusal.
    refused: Option<MembershipRefusal>,
    /// The leader says that it is done, as of this entry; heard at this tick.
    done: Option<(u64, u64)>,
    /// Who was asked first: it is to hand over.
    former_leader: Option<NodeId>,
}

/// The operations of this node, and which copies of others' were shown to it.
#[derive(Debug, Default)]
pub(super) struct Operations {
    waiting: BTreeMap<OperationToken, Waiting>,
    next_ticket: u64,
    shown: BTreeMap<NodeId, u64>,
}

impl Operations {
    /// Nothing waits. `random` tells the tickets of this start from those of earlier ones.
    pub(super) fn new(random: u64) -> Self {
        Operations { next_ticket: random << TICKET_COUNT_BITS, ..Operations::default() }
    }

    /// Whether a node shows this copy for the first time, and none after it: whoever is refused must not be obeyed later.
    pub(super) fn is_fresh(&mut self, from: NodeId, ticket: u64) -> bool {
        let same_start = |last: u64| last >> TICKET_COUNT_BITS == ticket >> TICKET_COUNT_BITS;
        let last = self.shown.get(&from).copied().filter(|last| same_start(*last));
        let fresh = last.is_none_or(|last| last < ticket);
        if fresh {
            self.shown.insert(from, ticket);
        }
        fresh
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn take_ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }
}

impl Replica {
    /// Somebody on this node asks for an operation. One that is asked for already waits up to the later deadline.
    pub(super) fn on_change_members(
        &mut self,
        token: OperationToken,
        operation: MembershipOperation,
        within_ticks: u64,
        outputs: &mut Vec<Output>,
    ) {
        let deadline_tick = self.tick.saturating_add(within_ticks);
        if let Some(known) = self.operations.waiting.get_mut(&token) {
            known.deadline_tick = known.deadline_tick.max(deadline_tick);
            return;
        }
        if self.operations.waiting.len() >= OPERATIONS_MAX {
            outputs.push(Output::Operated { token, result: OperationResult::Overloaded });
            return;
        }
        let waiting = Waiting {
            operation,
            since_tick: self.tick,
            deadline_tick,
            next_tick: self.tick,
            ticket: None,
            asked: None,
            refused: None,
            done: None,
            former_leader: None,
        };
        self.operations.waiting.insert(token, waiting);
        self.tick_operations(outputs);
    }

    /// Asks the leader, or considers what waits if this node leads; tells what is decided.
    pub(super) fn tick_operations(&mut self, outputs: &mut Vec<Output>) {
        for token in self.operations.waiting.keys().copied().collect::<Vec<_>>() {
            self.ask_leader(token, outputs);
            if let Some(result) = self.operation_result(token) {
                self.operations.waiting.remove(&token);
                outputs.push(Output::Operated { token, result });
            }
        }
    }

    fn ask_leader(&mut self, token: OperationToken, outputs: &mut Vec<Output>) {
        let (tick, term, leads) = (self.tick, self.term(), self.is_leader());
        let Some(to) = self.leader() else { return };
        let Some(waiting) = self.operations.waiting.get(&token) else { return };
        let over = !leads && tick + LAST_ANSWER_TICKS >= waiting.deadline_tick;
        let early = tick < waiting.next_tick && waiting.asked == Some((to, term));
        if early || over || waiting.done.is_some() {
            return;
        }
        let operation = waiting.operation.clone();
        let (verdict, ticket) = if leads {
            (Some(self.consider(token, &operation, outputs)), None)
        } else {
            let ticket = self.operations.take_ticket();
            let message = PeerMessage::Operate(Box::new(Operate { ticket, term, token, operation }));
            outputs.push(Output::Send { to, message });
            (None, Some(ticket))
        };
        let Some(waiting) = self.operations.waiting.get_mut(&token) else { return };
        waiting.asked = Some((to, term));
        waiting.former_leader.get_or_insert(to);
        waiting.next_tick = tick + if ticket.is_some() { ANSWER_TICKS } else { ASK_AGAIN_TICKS };
        waiting.ticket = ticket;
        waiting.refused = None;
        if let Some(verdict) = verdict {
            waiting.heard(verdict, tick);
        }
    }

    /// The leader has answered.
    pub(super) fn on_operate_answer(&mut self, answer: OperateAnswer, outputs: &mut Vec<Output>) {
        let tick = self.tick;
        let OperateAnswer { ticket, verdict } = answer;
        let mut all = self.operations.waiting.values_mut();
        if let Some(waiting) = all.find(|waiting| waiting.ticket == Some(ticket)) {
            waiting.ticket = None;
            waiting.next_tick = tick + ASK_AGAIN_TICKS;
            waiting.heard(verdict, tick);
            self.tick_operations(outputs);
        }
    }

    fn operation_result(&self, token: OperationToken) -> Option<OperationResult> {
        let waiting = self.operations.waiting.get(&token)?;
        let own = &self.membership;
        let in_force = own.tokens.contains(&token) && !own.is_joint();
        let told = waiting.done.is_some_and(|(index, heard_tick)| {
            own.index >= index || self.tick >= heard_tick + LAG_TICKS || self.tick >= waiting.deadline_tick
        });
        if in_force || told || self.has_led_over(waiting) || self.has_left(waiting) {
            return Some(OperationResult::Done);
        }
        let over = self.tick >= waiting.deadline_tick;
        match &waiting.refused {
            Some(refusal)
                if over || self.tick >= waiting.since_tick.saturating_add(patience_ticks(refusal)) =>
            {
                Some(OperationResult::Refused(refusal.clone()))
            }
            None if over && waiting.asked.is_none() => Some(OperationResult::NoLeader),
            _ if over => Some(OperationResult::Unknown),
            _ => None,
        }
    }

    /// Whether leadership is where it was to go.
    fn has_led_over(&self, waiting: &Waiting) -> bool {
        let MembershipOperation::TransferLeader { to } = &waiting.operation else { return false };
        let leader = self.leader();
        match to {
            Some(_) => leader == *to,
            None => leader.is_some() && waiting.former_leader.is_some() && leader != waiting.former_leader,
        }
    }

    /// Whether it was this node itself that was to go, and has heard that it is gone.
    fn has_left(&self, waiting: &Waiting) -> bool {
        let own = self.config.own.raft_id.node();
        self.removed_at.is_some()
            && matches!(waiting.operation, MembershipOperation::Remove { node } if node == own)
    }

    /// Gives up everything that waits, at the end.
    pub(super) fn abandon_operations(&mut self, outputs: &mut Vec<Output>) {
        for token in self.operations.waiting.keys().copied().collect::<Vec<_>>() {
            let decided = self.operation_result(token);
            let Some(waiting) = self.operations.waiting.remove(&token) else { continue };
            let fate = match waiting.refused {
                _ if waiting.asked.is_none() => OperationResult::NoLeader,
                Some(refusal) => OperationResult::Refused(refusal),
                None => OperationResult::Unknown,
            };
            outputs.push(Output::Operated { token, result: decided.unwrap_or(fate) });
        }
    }
}

impl Waiting {
    fn heard(&mut self, verdict: Verdict, tick: u64) {
        match verdict {
            Verdict::Done { index } => self.done = Some((index, tick)),
            Verdict::Undecided => self.refused = None,
            Verdict::Refused(refusal) => self.refused = Some(refusal),
        }
    }
}

/// For how long after it was asked for a refused operation is tried again, in ticks.
fn patience_ticks(refusal: &MembershipRefusal) -> u64 {
    match refusal {
        // The node may be on its way: to the end.
        MembershipRefusal::NotThere => u64::MAX,
        // A voter may be one message behind, and learners are promoted by themselves.
        MembershipRefusal::WouldLoseQuorum
        | MembershipRefusal::ChangeUnderWay
        | MembershipRefusal::OtherAddress { .. }
        | MembershipRefusal::Unreachable => DOUBT_TICKS,
        MembershipRefusal::NotAMember
        | MembershipRefusal::AlreadyMember { .. }
        | MembershipRefusal::NotAVoter
        | MembershipRefusal::TooManyMembers => 0,
    }
}
