//! The labels by which Boat's containers, networks and images are known. Nothing without them is ever touched.

use std::collections::HashMap;

use boat_core::NodeId;

/// Which cluster of Boat's something belongs to.
pub(crate) const CLUSTER: &str = "dev.boat.cluster";
/// Which of its nodes.
pub(crate) const NODE: &str = "dev.boat.node";
/// Which run of the cluster made it.
pub(crate) const RUN: &str = "dev.boat.run";
/// What a container is for: the name of its [`Role`].
pub(crate) const ROLE: &str = "dev.boat.role";
/// A hash of all that a container was made with: another one means that the configuration has changed.
pub(crate) const PLAN: &str = "dev.boat.plan";
/// Clipper's own, on everything: its cluster's name.
pub(crate) const CLIPPER_CLUSTER: &str = "ai.clipper.container.label";
/// Where the configuration of Prometheus lies on this machine. Clipper's own.
pub(crate) const PROMETHEUS_CONFIG: &str = "ai.clipper.metric.config";

/// What a container is for, in the order in which they are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Redis,
    Management,
    Query,
    Exporter,
    Prometheus,
    Model,
}

impl Role {
    /// All, in the order in which they are started.
    pub(crate) const ALL: [Role; 6] =
        [Role::Redis, Role::Management, Role::Query, Role::Exporter, Role::Prometheus, Role::Model];

    /// As it stands in labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Redis => "redis",
            Role::Management => "management_frontend",
            Role::Query => "query_frontend",
            Role::Exporter => "query_frontend_exporter",
            Role::Prometheus => "prometheus",
            Role::Model => "model_container",
        }
    }

    /// The role that a label names.
    pub(crate) fn from_name(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether a model that keeps state has lost it, or cannot be reached any more, when this is gone.
    pub(crate) fn holds_state(self) -> bool {
        matches!(self, Role::Redis | Role::Query | Role::Model)
    }
}

/// Whose something is: one node of one run of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) run: String,
}

impl Owner {
    /// The labels that say so, with Clipper's.
    pub(crate) fn labels(&self, clipper_cluster: &str) -> HashMap<String, String> {
        let labels = [
            (CLUSTER, self.cluster.clone()),
            (NODE, self.node.to_string()),
            (RUN, self.run.clone()),
            (CLIPPER_CLUSTER, clipper_cluster.to_owned()),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// The filter that finds what belongs to a cluster, or to one node of it.
pub(crate) fn filter(cluster: &str, node: Option<NodeId>) -> HashMap<String, Vec<String>> {
    let mut labels = vec![format!("{CLUSTER}={cluster}")];
    labels.extend(node.map(|node| format!("{NODE}={node}")));
    HashMap::from([("label".to_owned(), labels)])
}

/// Whether these labels say that something belongs to `cluster`, and to this node of it, if one is given.
pub(crate) fn are_ours(
    labels: Option<&HashMap<String, String>>,
    cluster: &str,
    node: Option<NodeId>,
) -> bool {
    let Some(labels) = labels else { return false };
    let node = node.map(|node| node.to_string());
    labels.get(CLUSTER).is_some_and(|label| label == cluster)
        && node.is_none_or(|node| labels.get(NODE) == Some(&node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written_and_start_in_order() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("database"), None);
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn only_what_carries_our_labels_is_ours() {
        let owner = Owner { cluster: "boat".to_owned(), node: NodeId(1), run: "r".to_owned() };
        let labels = owner.labels("clipper_cluster_1");
        assert!(are_ours(Some(&labels), "boat", None));
        assert!(are_ours(Some(&labels), "boat", Some(NodeId(1))));
        assert!(!are_ours(Some(&labels), "boat", Some(NodeId(10))));
        assert!(!are_ours(Some(&labels), "other", None));
        assert!(!are_ours(Some(&HashMap::new()), "boat", None));
        assert!(!are_ours(None, "boat", None));
    }
}
