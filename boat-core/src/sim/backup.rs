//! A whole old directory: where a node's disk was, there is a backup of it (design D13).
//!
//! That must be recognized by what others have heard from the node since, before it takes part in an election. So a backup is
//! put back only where those it could win a majority with include somebody who can tell. When so many of these end that
//! nobody could any more, the operator says what he did: of the others, one cannot ask more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::context::Context;
use super::death::Death;
use super::faults::Fault;
use super::node::Node;
use super::world::World;
use crate::directory::Directory;
use crate::log::files::SimFiles;
use crate::log::{Log, LogConfig};
use crate::transport::{Hello, LogEnd, Reception};
use crate::{Birth, Membership, NodeId, RaftId};

/// How often a newer backup takes the place of an older one.
const NEWER_PER_MILLE: u32 = 200;
/// A nonce that no process has.
const NO_PROCESS: u64 = u64::MAX;

/// What a backup holds.
struct Contents {
    raft_id: RaftId,
    /// What a process that starts from it says of itself.
    hello: Hello,
    membership: Membership,
}

/// Looks into a backup as a process does that starts from it.
fn look_into(node: NodeId, backup: &SimFiles) -> Option<Contents> {
    let files = Arc::new(backup.copy());
    let directory = Directory::open(files.clone(), Path::new("data"), node, Birth(0)).ok()?;
    let (genesis, raft_id) = directory.genesis()?.clone();
    let opened = Log::open(files, &directory.log_path(), LogConfig::default(), genesis.membership());
    let (_, recovered) = opened.ok()?;
    let log = LogEnd { term: recovered.hard_state.term, last_index: recovered.last_index };
    let hello = Hello {
        node,
        cluster: Some(genesis.cluster),
        raft_id: Some(raft_id),
        birth: directory.birth(),
        boot: directory.boots(),
        nonce: NO_PROCESS,
        log: Some(log),
    };
    Some(Contents { raft_id, hello, membership: recovered.membership })
}

impl Node {
    /// Keeps a copy of the whole disk, as it is now.
    pub(super) fn back_up(&mut self, context: &mut Context) {
        if !self.rotten && (self.backup.is_none() || context.chance(NEWER_PER_MILLE)) {
            self.backup = Some(self.disk.copy());
        }
    }
}

impl World {
    /// A process is about to start: maybe from a backup.
    pub(super) fn draw_backup(&mut self, id: NodeId) {
        let all_are_sound = self.nodes.values().all(|node| !node.rotten);
        if !all_are_sound
            || !self.others_suffice(id)
            || !self.context.fault(self.context.options.restore_per_mille)
        {
            return;
        }
        let Some(node) = self.nodes.get(&id).filter(|node| !node.is_full()) else { return };
        let Some(backup) = node.backup.as_ref().map(SimFiles::copy) else { return };
        let Some(contents) = look_into(id, &backup) else { return };
        let Contents { hello, membership, .. } = &contents;
        if !self.is_recognizable(hello, membership) || !self.is_within_reach(id, membership) {
            return;
        }
        self.context.count(Fault::OldDirectory);
        let (boot, log) = (contents.hello.boot, contents.hello.log);
        self.context.note(boot, || format!("node {id} finds a backup on its disk: start {boot}, {log:?}"));
        self.checker.went_back(contents.raft_id);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.put_back(backup);
        }
    }

    /// Whether somebody can tell that a directory is an old one, among any of those with whom its node could be a majority.
    fn is_recognizable(&self, hello: &Hello, membership: &Membership) -> bool {
        let latest = self.latest_membership().unwrap_or_default();
        let can_tell =
            |node: &Node| node.id != hello.node && !node.is_down() && node.desk.takes_for_stale(hello);
        let able: BTreeSet<NodeId> =
            self.nodes.values().filter(|node| can_tell(node)).map(|node| node.id).collect();
        let slips_through = |known: &Membership| known.has_majority(|id| !able.contains(&id.node()));
        ![membership, &latest].into_iter().any(slips_through)
    }

    /// Whether a node that starts from a backup with this membership finds one of the others, or they find it: where all have
    /// moved since, and it has, too, nobody could tell it where they are (seed 163027).
    fn is_within_reach(&self, id: NodeId, backed_up: &Membership) -> bool {
        let latest = self.latest_membership().unwrap_or_default();
        let is_at = |known: &Membership, node: &Node| {
            known.incarnation(node.id).is_some_and(|member| member.address == node.address)
        };
        self.nodes.values().any(|node| is_at(&latest, node) && (node.id == id || is_at(backed_up, node)))
    }

    /// A process has ended, or begins: where nobody could tell any more that a directory is an old one, its operator does.
    pub(super) fn own_up(&mut self) {
        let Some(id) = self.nodes.values().find(|node| node.is_restored).map(|node| node.id) else { return };
        let Some(node) = self.nodes.get(&id) else { return };
        let is_recognizable = match node.running() {
            Some(running) => self.is_recognizable(&node.desk.hello(), running.replica.membership()),
            None => look_into(id, &node.disk)
                .is_some_and(|contents| self.is_recognizable(&contents.hello, &contents.membership)),
        };
        if is_recognizable {
            return;
        }
        self.context.note(u64::from(id.0), || format!("node {id}'s operator says that its disk is a backup"));
        let runs = !node.is_down();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.is_restored = false;
        }
        if runs {
            self.die(id, Death::Kill);
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.mark_by_hand();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::sim::Options;
    use crate::sim::model::HashChains;

    /// Three nodes, none of which has moved, at the end of a run.
    fn settled() -> World {
        let (nodes, founders, faulty_ms) = (3, 3, 5_000);
        let drawn = Options::drawn_from(0);
        let options =
            Options { nodes, founders, faulty_ms, move_per_mille: 0, operate_per_mille: 0, ..drawn };
        let mut world = World::new(options, Rc::new(HashChains), false).unwrap();
        world.run().unwrap();
        world
    }

    /// What a backup knows from before these nodes moved to where they are.
    fn before(moved: &[u16], latest: &Membership) -> Membership {
        let mut known = latest.clone();
        for member in known.members.values_mut() {
            if moved.contains(&member.raft_id.node().0) {
                member.address = "before:1".to_owned();
            }
        }
        known
    }

    #[test]
    fn a_backup_is_put_back_only_where_its_node_finds_another_or_is_found_seed_163027() {
        let mut world = settled();
        let latest = world.latest_membership().unwrap();
        let own = NodeId(2);
        let is_found = "it is where the others look for it";
        assert!(world.is_within_reach(own, &before(&[], &latest)));
        assert!(world.is_within_reach(own, &before(&[0, 1], &latest)), "{is_found}");
        assert!(world.is_within_reach(own, &before(&[0, 1, 2], &latest)), "{is_found}");
        if let Some(node) = world.nodes.get_mut(&own) {
            node.address = "elsewhere:1".to_owned();
        }
        assert!(!world.is_within_reach(own, &before(&[0, 1], &latest)), "neither knows where the other is");
        assert!(!world.is_within_reach(own, &before(&[0, 1, 2], &latest)));
        assert!(world.is_within_reach(own, &before(&[1], &latest)), "node 0 is where it was");
    }
}
