//! Who leads where somebody is unwell.

use super::*;
use crate::digest::Digest;
use crate::transport::{Ailment, Ailments, Checkpoint, Report};

impl Cluster {
    /// A node's predictor has this digest at position 1, and says that this ails it.
    fn says(&mut self, node: NodeId, digest: u128, ailments: Ailments) {
        let checkpoints = vec![Checkpoint { position: 1, digest: Digest(digest) }];
        let report = Report { position: 1, passed: 1, ailments, checkpoints, ..Report::default() };
        let remembered = report.checkpoints.clone();
        let condition = Condition { report, remembered, ..Condition::default() };
        self.input(node, Input::Condition(Box::new(condition)));
    }

    fn leads(&self) -> Vec<NodeId> {
        let leaders = self.replicas.iter().filter(|(_, replica)| replica.is_leader());
        leaders.map(|(node, _)| *node).collect()
    }
}

/// Seed 510391 of the simulator: all held a request that had crashed their models until a new member held it, too; that one needed a
/// snapshot, and the leader had diverged.
#[test]
fn a_diverged_leader_hands_over_though_nobody_is_well() {
    let held = Ailments::NONE.with(Ailment::Holding, true);
    for diverges in [false, true] {
        let mut cluster = Cluster::new(3);
        let leader = cluster.leader();
        for node in (0..3).map(NodeId).filter(|node| *node != leader) {
            cluster.says(node, 1, held);
        }
        cluster.tick(20);
        cluster.says(leader, if diverges { 2 } else { 1 }, held);
        let hands_over = (0..100).any(|_| {
            cluster.tick(1);
            cluster.leads() != [leader]
        });
        assert_eq!(hands_over, diverges, "{:?}", cluster.replicas);
    }
}

/// It would hand over again.
#[test]
fn leadership_is_handed_to_one_that_has_diverged_last() {
    let held = Ailments::NONE.with(Ailment::Holding, true);
    for step in [1, 2] {
        let mut cluster = Cluster::new(3);
        let leader = cluster.leader();
        let [sound, odd] = [step, 3 - step].map(|step| NodeId((leader.0 + step) % 3));
        cluster.says(sound, 1, held);
        cluster.says(leader, 1, Ailments::NONE);
        cluster.says(odd, 2, held);
        cluster.tick(30);
        assert!(cluster.replicas[&odd].is_diverged());
        assert_eq!(cluster.leads(), [leader]);
        cluster.input(leader, Input::HandOver);
        assert_eq!(cluster.leads(), [sound], "{:?}", cluster.replicas);
    }
}
