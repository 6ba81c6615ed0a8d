//! A node whose directory lost what it had acknowledged asks whether the others can do without it (design D13). No thread and no
//! clock: the driver, the simulator and golden scenarios ask alike.

use std::time::Duration;

use super::Addresses;
use super::whereabouts::Whereabouts;
use crate::transport::{Introduction, Join, PeerMessage};
use crate::{MemberList, NodeId};

/// How often the others are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How many of the latest questions an answer may belong to: one that came later says what was so long ago.
const QUESTIONS_OPEN: u64 = 5;

/// A node that asks whether it may begin anew.
#[derive(Debug)]
pub(crate) struct Asking {
    whereabouts: Whereabouts,
    /// Whom it dials and asks, and where they are.
    peers: Vec<(NodeId, String)>,
    /// Whether they changed since [`Asking::peers`] was asked.
    peers_changed: bool,
    own: Join,
    members: MemberList,
    /// The first of its questions, and the latest.
    tickets: (u64, u64),
    ask_every_ticks: u64,
    /// In how many ticks it asks again.
    ticks_left: u64,
    may_begin_anew: bool,
}

impl Asking {
    /// One that stands in the directory as `own`, and has this list. `drawn` is random: an answer to a question of an earlier
    /// start must not count.
    pub(crate) fn new(own: Join, members: MemberList, tick: Duration, drawn: u64) -> Self {
        let first = (drawn >> 1) + 1;
        let mut asking = Asking {
            whereabouts: Whereabouts::new(Addresses::new(own.raft_id.node(), &members)),
            peers: Vec::new(),
            peers_changed: false,
            own,
            members,
            tickets: (first, first - 1),
            ask_every_ticks: ticks(ASK_EVERY, tick),
            ticks_left: 0,
            may_begin_anew: false,
        };
        asking.settle();
        asking
    }

    /// One tick has passed: what to say, and to whom.
    pub(crate) fn tick(&mut self) -> Vec<(NodeId, Vec<PeerMessage>)> {
        self.whereabouts.tick();
        self.settle();
        if self.ticks_left > 0 {
            self.ticks_left -= 1;
            return Vec::new();
        }
        self.ticks_left = self.ask_every_ticks - 1;
        self.tickets.1 += 1;
        self.peers.iter().map(|(node, _)| (*node, self.questions())).collect()
    }

    /// Whom to dial, and where, if that has changed.
    pub(crate) fn peers(&mut self) -> Option<Vec<(NodeId, String)>> {
        std::mem::take(&mut self.peers_changed).then(|| self.peers.clone())
    }

    /// Where a node is dialed now.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn dialed(&self, node: NodeId) -> Option<&str> {
        self.whereabouts.addresses.dialed(node)
    }

    /// A node is connected, or is not any more.
    pub(crate) fn set_connected(&mut self, node: NodeId, connected: bool) {
        self.whereabouts.set_connected(node, connected);
    }

    /// A node says something.
    pub(crate) fn hear(&mut self, from: NodeId, message: &PeerMessage) {
        self.whereabouts.hear(from, message);
        if let PeerMessage::LeaveAnswer { ticket, allowed: true } = message {
            self.may_begin_anew |= self.is_open(*ticket);
        }
    }

    /// Whether the leader says that the others hold everything.
    pub(crate) fn may_begin_anew(&self) -> bool {
        self.may_begin_anew
    }

    fn settle(&mut self) {
        if let Some(peers) = self.whereabouts.addresses.changed() {
            (self.peers, self.peers_changed) = (peers, true);
        }
    }

    /// Asks, and says where the answer reaches this node, and asks where the others are: places may have changed.
    fn questions(&self) -> Vec<PeerMessage> {
        let Join { raft_id, birth, .. } = self.own;
        let introduction = Introduction { birth, members: self.members.clone(), genesis: None, asks: true };
        vec![
            PeerMessage::Join(self.own.clone()),
            PeerMessage::Introduction(Box::new(introduction)),
            PeerMessage::LeaveQuestion { raft_id, ticket: self.tickets.1 },
        ]
    }

    /// Whether an answer belongs to one of the latest questions.
    fn is_open(&self, answered: u64) -> bool {
        let (first, last) = self.tickets;
        (first.max(last.saturating_sub(QUESTIONS_OPEN - 1))..=last).contains(&answered)
    }
}

/// How many ticks that is, one at least.
fn ticks(time: Duration, tick: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(tick.as_nanos().max(1));
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Birth, RaftId};

    const TICK: Duration = Duration::from_millis(20);
    const DRAWN: u64 = 198;

    fn asking() -> Asking {
        let own = Join { raft_id: RaftId::new(NodeId(0), 7), birth: Birth(1), address: "own:1".to_owned() };
        Asking::new(own, "0=own:1,1=host-1:1,2=host-2:1".parse().unwrap(), TICK, DRAWN)
    }

    fn is_allowed_by(mut asking: Asking, ticket: u64, allowed: bool) -> bool {
        asking.hear(NodeId(1), &PeerMessage::LeaveAnswer { ticket, allowed });
        asking.may_begin_anew()
    }

    /// The tickets of what it asks in so many ticks.
    fn asked(asking: &mut Asking, ticks: usize) -> Vec<u64> {
        let said = (0..ticks).flat_map(|_| asking.tick()).flat_map(|(_, messages)| messages);
        let ticket = |message| match message {
            PeerMessage::LeaveQuestion { ticket, .. } => Some(ticket),
            _ => None,
        };
        said.filter_map(ticket).collect()
    }

    #[test]
    fn both_others_are_asked_at_once_and_every_ten_ticks_each_time_under_another_ticket() {
        let mut asking = asking();
        assert_eq!(asking.peers().map(|peers| peers.len()), Some(2));
        assert_eq!(asking.peers(), None, "they have not changed");
        assert_eq!(asked(&mut asking, 1), [100, 100]);
        assert_eq!(asked(&mut asking, 9), [0; 0]);
        assert_eq!(asked(&mut asking, 11), [101, 101, 102, 102]);
        assert_eq!((ticks(ASK_EVERY, Duration::from_millis(300)), ticks(ASK_EVERY, TICK)), (1, 10));
    }

    #[test]
    fn a_yes_to_another_start_or_to_a_question_of_long_ago_does_not_count() {
        let after = |questions: usize| {
            let mut asking = asking();
            asked(&mut asking, 10 * questions);
            asking
        };
        let (first, last) = (100, 120);
        for answered in [0, 99, 100, last - QUESTIONS_OPEN, last + 1, u64::MAX] {
            assert!(!is_allowed_by(after(21), answered, true), "{answered}");
        }
        for answered in last - QUESTIONS_OPEN + 1..=last {
            assert!(is_allowed_by(after(21), answered, true) && !is_allowed_by(after(21), answered, false));
        }
        // Soon after the first question there is nothing before it.
        assert!(is_allowed_by(after(2), first, true) && !is_allowed_by(after(2), first - 1, true));
        assert!(!is_allowed_by(after(0), first, true), "nothing was asked yet");
    }
}
