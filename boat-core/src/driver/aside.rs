//! What to do with a directory that lost what it had acknowledged (design D13): ask whether the others can do without it.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngCore;

use super::asking::Asking;
use super::found::Launch;
use super::{Event, now};
use crate::replica::Failure;
use crate::transport::{Join, PeerEvent};
use crate::{Birth, Error, Predictor, RaftId};

/// How long the others are asked before the node gives up.
const ASK_MAX: Duration = Duration::from_secs(20);

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
    let own = Join { raft_id, birth: launch.directory.birth(), address: launch.address.clone() };
    let mut asking = Asking::new(own, launch.members.clone(), launch.tick, rand::rngs::OsRng.next_u64());
    let deadline = now() + ASK_MAX;
    let mut events = VecDeque::new();
    while now() < deadline {
        let questions = asking.tick();
        if let Some(peers) = asking.peers() {
            launch.links.set_peers(peers);
        }
        questions.into_iter().for_each(|(node, messages)| launch.links.send(node, messages));
        let next_tick = now() + launch.tick;
        while now() < next_tick {
            launch.shared.inbox.wait(next_tick);
            launch.shared.inbox.take(&mut events);
            for event in events.drain(..) {
                if is_told_to_stop(launch, &mut asking, event) {
                    return Ok(false);
                }
                if asking.may_begin_anew() {
                    return Ok(true);
                }
            }
        }
    }
    Err(Error::StaleDirectory(format!(
        "{why}. No leader said within {ASK_MAX:?} that the other nodes hold everything that was committed, so this \
         directory may be needed: bring the others up and start this node again; or, if what it alone holds may be lost, \
         move it away and start this node with an empty one"
    )))
}

fn is_told_to_stop<P: Predictor>(launch: &Launch<P>, asking: &mut Asking, event: Event) -> bool {
    match event {
        Event::Peer(PeerEvent::Message { from, message, .. }) => asking.hear(from, &message),
        Event::Peer(PeerEvent::Connected(hello)) => asking.set_connected(hello.node, true),
        Event::Peer(PeerEvent::Disconnected { node, .. }) => asking.set_connected(node, false),
        Event::Propose { id, .. } => launch.shared.waiters.fail(&id, Failure::NoLeader),
        Event::Stop { .. } => {
            launch.shared.waiters.close();
            launch.shared.inbox.close();
            return true;
        }
        _ => {}
    }
    false
}

/// The name of a new directory.
pub(super) fn random_birth() -> Birth {
    let word = || u128::from(rand::rngs::OsRng.next_u64());
    Birth(word() << 64 | word())
}
