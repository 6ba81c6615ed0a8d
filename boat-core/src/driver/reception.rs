//! The node's side of a handshake: who it is, and whom it lets in (design D13).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Event;
use super::inbox::Inbox;
use crate::transport::{ConsensusKind, Hello, LogEnd, PeerEvent, PeerInbox, PeerMessage, Reception, Refusal};
use crate::{Birth, ClusterId, Genesis, NodeId, RaftId};

/// How many directories are remembered, and how many incarnations.
const REMEMBERED_MAX: usize = 1_024;

/// What is known of an incarnation's log.
#[derive(Debug)]
struct Heard {
    /// The process that said so, or a later one.
    nonce: u64,
    /// What that process must still have when it comes back: its term, and how far it acknowledged entries in that term.
    end: LogEnd,
}

#[derive(Debug)]
struct Known {
    own: Hello,
    /// What the cluster was called before it was recovered.
    former: Vec<ClusterId>,
    /// The latest start of each directory that was seen: boot count and nonce.
    starts: BTreeMap<(NodeId, Birth), (u64, u64)>,
    heard: BTreeMap<RaftId, Heard>,
}

/// What the transport asks at every handshake.
#[derive(Debug)]
pub(crate) struct FrontDesk(Mutex<Known>);

impl FrontDesk {
    pub(crate) fn new(own: Hello) -> Self {
        let (starts, heard) = (BTreeMap::new(), BTreeMap::new());
        FrontDesk(Mutex::new(Known { own, former: Vec::new(), starts, heard }))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node has become a member of a cluster.
    pub(crate) fn joined(&self, genesis: &Genesis, raft_id: RaftId) {
        let mut known = self.lock();
        (known.own.cluster, known.own.raft_id) = (Some(genesis.cluster), Some(raft_id));
        known.former.clone_from(&genesis.former);
    }

    /// The node has opened its log: from now on it has to hold what this process is heard to say, too.
    pub(crate) fn opened(&self, end: LogEnd) {
        self.lock().own.log = Some(end);
    }

    /// The node's directory is not used any more, and the others are asked whether it may be set aside. They may have seen
    /// more of it, so it must not be what lets the node in: `birth` is new.
    pub(crate) fn asks(&self, birth: Birth) {
        let own = &mut self.lock().own;
        *own = Hello { birth, boot: 1, log: None, ..own.clone() };
    }

    /// The node has begun anew in an empty directory.
    pub(crate) fn reborn(&self, birth: Birth, boot: u64) {
        let own = &mut self.lock().own;
        *own = Hello { birth, boot, cluster: None, raft_id: None, log: None, ..own.clone() };
    }

    /// What [`Reception::judge`] would say of a directory's age.
    #[cfg(feature = "sim")]
    pub(crate) fn takes_for_stale(&self, peer: &Hello) -> bool {
        self.lock().is_stale(peer)
    }

    /// A peer says something: when it comes back, it must remember the term, and what it acknowledged.
    pub(crate) fn heard(&self, from: Option<RaftId>, message: &PeerMessage) {
        let (Some(from), PeerMessage::Consensus(message)) = (from, message) else { return };
        // A pre-vote speaks of a term that may never be.
        if matches!(message.kind, ConsensusKind::RequestPreVote | ConsensusKind::RequestPreVoteResponse) {
            return;
        }
        let acknowledges = message.kind == ConsensusKind::AppendResponse && !message.reject;
        let last_index = if acknowledges { message.index } else { 0 };
        let end = LogEnd { term: message.term, last_index };
        // Who is not known here was let in before it had opened its log: it says more by its next connection.
        if let Some(heard) = self.lock().heard.get_mut(&from).filter(|_| message.from == from) {
            heard.end = heard.end.max(end);
        }
    }
}

impl Known {
    /// Whether a peer's directory is older than what was seen of it before.
    fn is_stale(&self, peer: &Hello) -> bool {
        let started = self
            .starts
            .get(&(peer.node, peer.birth))
            .is_some_and(|(boot, nonce)| *boot > peer.boot || (*boot == peer.boot && *nonce != peer.nonce));
        let heard = peer.raft_id.and_then(|raft_id| self.heard.get(&raft_id));
        // What a process had at its start says nothing about what it has forgotten since.
        let forgot = heard
            .is_some_and(|heard| heard.nonce != peer.nonce && peer.log.is_some_and(|log| log < heard.end));
        started || forgot
    }

    fn remember(&mut self, peer: &Hello) {
        let directory = (peer.node, peer.birth);
        make_room(&mut self.starts, &directory);
        self.starts.insert(directory, (peer.boot, peer.nonce));
        if let (Some(raft_id), Some(log)) = (peer.raft_id, peer.log) {
            // What nobody acknowledged in this term may still be taken away in it.
            let end = LogEnd { last_index: 0, ..log };
            make_room(&mut self.heard, &raft_id);
            let heard = self.heard.entry(raft_id).or_insert(Heard { nonce: peer.nonce, end });
            (heard.nonce, heard.end) = (peer.nonce, heard.end.max(end));
        }
    }
}

fn make_room<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K) {
    if map.len() >= REMEMBERED_MAX && !map.contains_key(key) {
        map.pop_first();
    }
}

impl Reception for FrontDesk {
    fn hello(&self) -> Hello {
        self.lock().own.clone()
    }

    fn judge(&self, peer: &Hello) -> Result<(), Refusal> {
        let mut known = self.lock();
        if let (Some(ours), Some(theirs)) = (known.own.cluster, peer.cluster)
            && ours != theirs
        {
            if known.former.contains(&theirs) {
                return Err(Refusal::Superseded);
            }
            return Err(Refusal::OtherCluster);
        }
        if known.is_stale(peer) {
            return Err(Refusal::StaleDirectory);
        }
        known.remember(peer);
        Ok(())
    }
}

impl PeerInbox for Inbox {
    fn deliver(&self, event: PeerEvent) {
        // Connections coming and going must be seen; messages may be lost.
        match event {
            PeerEvent::Message { .. } => {
                self.offer(Event::Peer(event));
            }
            other => self.push(Event::Peer(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ConsensusMessage;

    fn hello(node: u16, boot: u64, nonce: u64) -> Hello {
        Hello { node: NodeId(node), cluster: None, raft_id: None, birth: Birth(1), boot, nonce, log: None }
    }

    #[test]
    fn an_earlier_start_or_a_copy_of_a_directory_is_stale() {
        let desk = FrontDesk::new(hello(0, 1, 1));
        assert_eq!(desk.judge(&hello(1, 5, 50)), Ok(()));
        assert_eq!(desk.judge(&hello(1, 5, 50)), Ok(()));
        assert_eq!(desk.judge(&hello(1, 6, 60)), Ok(()));
        assert_eq!(desk.judge(&hello(1, 5, 50)), Err(Refusal::StaleDirectory));
        assert_eq!(desk.judge(&hello(1, 6, 61)), Err(Refusal::StaleDirectory));
        let reborn = Hello { birth: Birth(2), ..hello(1, 1, 9) };
        assert_eq!(desk.judge(&reborn), Ok(()));
    }

    /// A member whose process with this nonce found this on its disk.
    fn member(boot: u64, nonce: u64, term: u64, last_index: u64) -> Hello {
        let (raft_id, log) = (Some(RaftId::new(NodeId(1), 7)), Some(LogEnd { term, last_index }));
        Hello { raft_id, log, ..hello(1, boot, nonce) }
    }

    fn said(kind: ConsensusKind, term: u64, index: u64, reject: bool) -> PeerMessage {
        let (from, to) = (RaftId::new(NodeId(1), 7), RaftId::new(NodeId(0), 9));
        let bare = ConsensusMessage::bare(kind, from, to, term);
        PeerMessage::Consensus(Box::new(ConsensusMessage { index, reject, ..bare }))
    }

    #[test]
    fn a_directory_that_lacks_what_its_node_was_heard_to_say_is_stale_whatever_its_start() {
        use ConsensusKind::{AppendResponse, RequestPreVote, RequestVoteResponse};
        let desk = FrontDesk::new(hello(0, 1, 1));
        let id = Some(RaftId::new(NodeId(1), 7));
        assert_eq!(desk.judge(&member(5, 50, 3, 30)), Ok(()));
        for message in [
            said(AppendResponse, 4, 38, false),
            said(AppendResponse, 4, 35, false),
            said(AppendResponse, 4, 99, true),
            said(RequestPreVote, 9, 99, false),
        ] {
            desk.heard(id, &message);
        }
        // The same process connects anew: what it found at its start is no less for what came since.
        assert_eq!(desk.judge(&member(5, 50, 3, 30)), Ok(()));
        assert_eq!(desk.judge(&member(6, 60, 3, 90)), Err(Refusal::StaleDirectory));
        assert_eq!(desk.judge(&member(6, 60, 4, 37)), Err(Refusal::StaleDirectory));
        assert_eq!(desk.judge(&member(6, 60, 4, 38)), Ok(()));
        // A later term takes away what an earlier one had acknowledged; and what was only written, its own may.
        desk.heard(id, &said(RequestVoteResponse, 5, 0, false));
        assert_eq!(desk.judge(&member(7, 70, 4, 99)), Err(Refusal::StaleDirectory));
        assert_eq!(desk.judge(&member(7, 70, 5, 20)), Ok(()));
        assert_eq!(desk.judge(&member(8, 80, 5, 10)), Ok(()));
    }

    #[test]
    fn who_asks_whether_its_directory_may_go_is_let_in_all_the_same() {
        let (desk, own) = (FrontDesk::new(hello(0, 1, 1)), FrontDesk::new(member(2, 20, 3, 30)));
        assert_eq!(desk.judge(&member(3, 30, 3, 30)), Ok(()));
        assert_eq!(desk.judge(&own.hello()), Err(Refusal::StaleDirectory));
        own.asks(Birth(77));
        assert_eq!(desk.judge(&own.hello()), Ok(()));
        assert_eq!(
            own.hello().raft_id,
            Some(RaftId::new(NodeId(1), 7)),
            "the others must know whom they let go"
        );
    }

    #[test]
    fn another_cluster_is_refused_and_an_empty_node_is_not() {
        let desk = FrontDesk::new(hello(0, 1, 1));
        let limits = crate::apply::SessionLimits::default();
        let former = vec![ClusterId(6)];
        let genesis = Genesis { cluster: ClusterId(7), former, members: Vec::new(), limits };
        desk.joined(&genesis, RaftId(3));
        let recovered = Hello { cluster: Some(ClusterId(6)), ..hello(1, 1, 1) };
        assert_eq!(desk.judge(&recovered), Err(Refusal::Superseded));
        assert_eq!(desk.judge(&hello(1, 1, 1)), Ok(()));
        let same = Hello { cluster: Some(ClusterId(7)), ..hello(1, 1, 1) };
        assert_eq!(desk.judge(&same), Ok(()));
        let other = Hello { cluster: Some(ClusterId(8)), ..hello(1, 1, 1) };
        assert_eq!(desk.judge(&other), Err(Refusal::OtherCluster));
    }
}
