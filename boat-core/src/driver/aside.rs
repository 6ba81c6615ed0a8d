//! What to do with a directory that lost what it had acknowledged (design D13): ask whether the others can do without it.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngCore;

use super::found::Launch;
use super::whereabouts::Whereabouts;
use super::{Addresses, Event, now};
use crate::replica::Failure;
use crate::transport::{Introduction, Join, PeerEvent, PeerMessage};
use crate::{Birth, Error, Predictor, RaftId};

/// How long the others are asked before the node gives up.
const ASK_MAX: Duration = Duration::from_secs(20);
/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How many of the latest questions an answer may belong to: one that came later says what was so long ago.
const QUESTIONS_OPEN: u64 = 5;

/// Whether this node may begin anew: the leader says that the others hold everything. False: it was told to stop.
///
/// # Errors
/// [`Error::StaleDirectory`] when nobody says so in time: then only a person can decide.
pub(super) fn may_begin_anew<P: Predictor>(
    launch: &Launch<P>,
    raft_id: RaftId,
    why: &str,
) -> Result<bool, Error> {
    log::warn!("node {}: {why}; asking whether the others hold everything", launch.shared.node);
    launch.desk.asks(random_birth());
    launch.links.renew();
    let mut whereabouts = Whereabouts::new(Addresses::new(launch.shared.node, &launch.members));
    let mut others = Vec::new();
    let deadline = now() + ASK_MAX;
    // An answer to a question of an earlier start must not count.
    let first = (rand::rngs::OsRng.next_u64() >> 1) + 1;
    let mut ticket = first - 1;
    let mut events = VecDeque::new();
    let mut again = now();
    while now() < deadline {
        if let Some(peers) = whereabouts.addresses.changed() {
            others = peers.iter().map(|(node, _)| *node).collect();
            launch.links.set_peers(peers);
        }
        if now() >= again {
            again = now() + ASK_EVERY;
            ticket += 1;
            others.iter().for_each(|node| launch.links.send(*node, questions(launch, raft_id, ticket)));
        }
        let next_tick = now() + launch.tick;
        while now() < next_tick {
            launch.shared.inbox.wait(next_tick);
            launch.shared.inbox.take(&mut events);
            for event in events.drain(..) {
                whereabouts.observe(&event);
                if let Some(decided) = decide(launch, event, first, ticket) {
                    return Ok(decided);
                }
            }
        }
        whereabouts.tick();
    }
    Err(Error::StaleDirectory(format!(
        "{why}. No leader said within {ASK_MAX:?} that the other nodes hold everything that was committed, so this \
         directory may be needed: bring the others up and start this node again; or, if what it alone holds may be lost, \
         move it away and start this node with an empty one"
    )))
}

/// Asks, and says where the answer reaches this node, and asks where the others are: places may have changed.
fn questions<P: Predictor>(launch: &Launch<P>, raft_id: RaftId, ticket: u64) -> Vec<PeerMessage> {
    let birth = launch.directory.birth();
    let join = Join { raft_id, birth, address: launch.address.clone() };
    let introduction = Introduction { birth, members: launch.members.clone(), genesis: None, asks: true };
    vec![
        PeerMessage::Join(join),
        PeerMessage::Introduction(Box::new(introduction)),
        PeerMessage::LeaveQuestion { raft_id, ticket },
    ]
}

/// Whether an answer belongs to one of the latest questions, of which `first` was the first and `last` the last.
fn is_open(answered: u64, first: u64, last: u64) -> bool {
    (first.max(last.saturating_sub(QUESTIONS_OPEN - 1))..=last).contains(&answered)
}

fn decide<P: Predictor>(launch: &Launch<P>, event: Event, first: u64, last: u64) -> Option<bool> {
    match event {
        Event::Peer(PeerEvent::Message {
            message: PeerMessage::LeaveAnswer { ticket, allowed: true },
            ..
        }) => is_open(ticket, first, last).then_some(true),
        Event::Propose { id, .. } => {
            launch.shared.waiters.fail(&id, Failure::NoLeader);
            None
        }
        Event::Stop { .. } => {
            launch.shared.waiters.close();
            launch.shared.inbox.close();
            Some(false)
        }
        _ => None,
    }
}

/// The name of a new directory.
pub(super) fn random_birth() -> Birth {
    let word = || u128::from(rand::rngs::OsRng.next_u64());
    Birth(word() << 64 | word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_to_another_start_or_to_a_question_of_long_ago_does_not_count() {
        let (first, last) = (100, 120);
        for answered in [0, 99, 100, last - QUESTIONS_OPEN, last + 1, u64::MAX] {
            assert!(!is_open(answered, first, last), "{answered}");
        }
        assert!((last - QUESTIONS_OPEN + 1..=last).all(|answered| is_open(answered, first, last)));
        // Soon after the first question there is nothing before it.
        assert!(is_open(first, first, first + 1) && !is_open(first - 1, first, first + 1));
    }
}
