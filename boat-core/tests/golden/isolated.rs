//! A node that is cut off raises its term once at most, whenever that happens to it (promise S11).

use boat_core::NodeId;

use super::cluster::Cluster;

const NODES: u16 = 3;
/// Until then the first election is over, on whatever node.
const ELECTION_TICKS: usize = 40;
/// As long as many elections.
const ISOLATED_TICKS: usize = 600;

fn ticks(cluster: &mut Cluster, count: usize) {
    (0..count).for_each(|_| cluster.tick(None));
}

/// How often a node raises its term once it is cut off. Until then time passes for it alone, or for all; what it says is kept back
/// and comes in one go, so that others hear it ask whether they would elect it, and not that it campaigns.
fn raises(isolated: NodeId, before: usize, alone: bool) -> u64 {
    let mut cluster = Cluster::default();
    cluster.found(NODES);
    let others = (0..NODES).map(NodeId).filter(|other| *other != isolated);
    others.for_each(|other| cluster.links.delay((isolated, other)));
    (0..before).for_each(|_| cluster.tick(alone.then_some(isolated)));
    let term = cluster.nodes[&isolated].replica.term();
    cluster.deliver_late(None);
    cluster.links.cut_off(isolated);
    ticks(&mut cluster, ISOLATED_TICKS);
    let raised = cluster.nodes[&isolated].replica.term() - term;
    let highest = |cluster: &Cluster| cluster.nodes.values().map(|node| node.replica.term()).max().unwrap();
    let before = highest(&cluster);
    cluster.links.heal();
    ticks(&mut cluster, ISOLATED_TICKS);
    let after = highest(&cluster);
    assert!(after <= before + 1, "terms rose from {before} to {after} once node {isolated} was back");
    raised
}

#[test]
fn an_isolated_node_raises_the_term_at_most_once() {
    let mut most = 0;
    for isolated in (0..NODES).map(NodeId) {
        for (before, alone) in (0..ELECTION_TICKS).flat_map(|before| [(before, false), (before, true)]) {
            let raised = raises(isolated, before, alone);
            assert!(raised <= 1, "node {isolated}, cut off at {before}, raised its term {raised} times");
            most = most.max(raised);
        }
    }
    assert_eq!(most, 1, "no node was cut off while it campaigned");
}
