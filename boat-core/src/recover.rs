//! Going on after the disks of a majority are lost.

use std::path::Path;
use std::sync::Arc;

use rand::RngCore;

use crate::directory::{Directory, lock};
use crate::log::files::RealFiles;
use crate::log::{Log, LogConfig};
use crate::membership::is_address;
use crate::replica::{ReplicaStart, alone};
use crate::{Birth, ClusterId, Error, Genesis, Member, NodeId};

/// How many clusters a genesis remembers that it was recovered from.
const FORMER_MAX: usize = 16;

/// What [`recover`] made of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The cluster as it goes on.
    pub cluster: ClusterId,
    /// The cluster that it was.
    pub former: ClusterId,
    /// The last entry that was kept, and its term: of several nodes that are left, the one with the highest term, and
    /// among those with the highest index, lost least.
    pub last_term: u64,
    /// See `last_term`.
    pub last_index: u64,
    /// Up to which entry this node knew that entries were committed. What stands behind it is kept, too.
    pub known_commit: u64,
    /// Who was removed.
    pub removed: Vec<NodeId>,
}

/// Makes the only member of a new cluster of a node that is left when the disks of a majority are lost, with everything that
/// stands in its log.
///
/// The node must not run. `address` is where peers reach it from now on. Afterwards start it: it serves alone. Then start
/// the other nodes with empty directories and add them one by one ([`Node::add`](crate::Node::add)).
///
/// *What may be lost:* answers that were given while this node lagged behind, and that only the lost disks held. A client
/// that retries such a request with its key gets another answer, at another position. If several nodes are left,
/// recover the one with the highest `last_term`, and among those with the highest `last_index`; give the others
/// empty directories, too.
///
/// *What cannot happen:* the cluster has another name from now on, and neither sends to nor hears from what belongs to the
/// former one. A node of that whose disk comes back after all ends with [`Error::StaleDirectory`] as soon as it
/// reaches a node of the new one. As long as it does not, a *majority* of such nodes could go on as the former cluster: make
/// sure that what is said to be lost stays away.
///
/// # Errors
/// [`Error::DirectoryInUse`] while the node runs, [`Error::Config`] when there is nothing to recover or `address` is none,
/// [`Error::OtherNode`], [`Error::Storage`]. After a failure half way it can be called again.
pub fn recover(data_dir: &Path, node: NodeId, address: &str) -> Result<Recovery, Error> {
    if !is_address(address) {
        return Err(Error::Config(format!("`{address}` is no address: write host:port")));
    }
    if !data_dir.is_dir() {
        return Err(Error::Config(format!("{} is no directory", data_dir.display())));
    }
    let _lock = lock(data_dir)?;
    let mut random = rand::rngs::OsRng;
    let mut word = || u128::from(random.next_u64());
    let mut directory = Directory::open(Arc::new(RealFiles), data_dir, node, Birth(word() << 64 | word()))?;
    if let Some(why) = directory.stale()? {
        return Err(Error::Config(format!("{}: {why}: it must not be used", data_dir.display())));
    }
    let Some((genesis, raft_id)) = directory.genesis().cloned() else {
        return Err(Error::Config(format!("{} holds no cluster", data_dir.display())));
    };
    let storage = |error: &dyn std::fmt::Display| Error::Storage(error.to_string());
    let files = directory.files().clone();
    let opened = Log::open(files, &directory.log_path(), LogConfig::default(), genesis.membership());
    let (mut log, recovered) = opened.map_err(|error| storage(&error))?;
    let own = Member { raft_id, birth: directory.birth(), address: address.to_owned() };
    let (last_term, last_index) = (recovered.last_term, recovered.last_index);
    let known_commit = recovered.hard_state.commit;
    let start = ReplicaStart {
        hard_state: recovered.hard_state,
        membership: recovered.membership,
        term_starts: recovered.term_starts,
        last_index,
        tail: recovered.tail,
    };
    let writes = alone(&own, start).map_err(|error| Error::Config(error.to_string()))?;
    let last = writes.last().and_then(|write| write.membership.as_ref());
    let removed = last.map(|last| last.removed.iter().map(|id| id.node()).filter(|id| *id != node).collect());
    // The name first: under the former one this node must never be a majority by itself.
    let former = genesis.cluster;
    let cluster = ClusterId(word() << 64 | word());
    let mut formers = genesis.former.clone();
    formers.push(former);
    formers.drain(..formers.len().saturating_sub(FORMER_MAX));
    directory.adopt(Genesis { cluster, former: formers, ..genesis }, raft_id)?;
    for (write, now_ms) in writes.iter().zip(0..) {
        log.append(write).map_err(|error| storage(&error))?;
        log.sync(now_ms).map_err(|error| storage(&error))?;
    }
    Ok(Recovery {
        cluster,
        former,
        last_term,
        last_index,
        known_commit,
        removed: removed.unwrap_or_default(),
    })
}
