//! The node's side of a handshake: who it is, and whom it lets in (design D13).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Event;
use super::inbox::Inbox;
use crate::transport::{Hello, PeerEvent, PeerInbox, Reception, Refusal};
use crate::{Birth, ClusterId, Genesis, NodeId, RaftId};

/// How many directories' starts are remembered.
const DIRECTORIES_MAX: usize = 1_024;

#[derive(Debug)]
struct Known {
    own: Hello,
    /// What the cluster was called before it was recovered.
    former: Vec<ClusterId>,
    /// The latest start of each directory that was seen: boot count and nonce.
    starts: BTreeMap<(NodeId, Birth), (u64, u64)>,
}

/// What the transport asks at every handshake.
#[derive(Debug)]
pub(crate) struct FrontDesk(Mutex<Known>);

impl FrontDesk {
    pub(crate) fn new(own: Hello) -> Self {
        FrontDesk(Mutex::new(Known { own, former: Vec::new(), starts: BTreeMap::new() }))
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

    /// The node has begun anew in an empty directory.
    pub(crate) fn reborn(&self, birth: Birth, boot: u64) {
        let own = &mut self.lock().own;
        *own = Hello { birth, boot, cluster: None, raft_id: None, ..own.clone() };
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
        let directory = (peer.node, peer.birth);
        let start = (peer.boot, peer.nonce);
        match known.starts.get(&directory) {
            Some((boot, nonce)) if *boot > peer.boot || (*boot == peer.boot && *nonce != peer.nonce) => {
                Err(Refusal::StaleDirectory)
            }
            Some(_) => {
                known.starts.insert(directory, start);
                Ok(())
            }
            None => {
                if known.starts.len() >= DIRECTORIES_MAX {
                    known.starts.pop_first();
                }
                known.starts.insert(directory, start);
                Ok(())
            }
        }
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

    fn hello(node: u16, boot: u64, nonce: u64) -> Hello {
        Hello { node: NodeId(node), cluster: None, raft_id: None, birth: Birth(1), boot, nonce }
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
