//! Everything of a cluster removed again, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use boat_core::NodeId;
use bollard::models::ContainerSummary;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::api::Api;
use super::claim::Claim;
use super::labels;
use super::ready::{name_of, role_of};
use super::{DockerConfig, DockerError, prometheus};

/// How often it is looked again whether something is left, or has come meanwhile.
const ROUNDS_MAX: usize = 20;

/// How long to wait before: a process that was killed may have asked the engine for one more container.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CleanOptions {
    /// Only what belongs to this node; default: to any.
    pub node: Option<NodeId>,
    /// Remove nothing, only tell. Default false.
    pub dry_run: bool,
}

/// Removes the containers (with the volumes made for them), networks and files of a cluster, in the reverse of the order in
/// which they were made, and looks afterwards whether all is gone. They are known by their labels: nothing else is touched.
/// Says what was removed, or would be.
///
/// # Errors
/// [`DockerError`]; [`DockerError::Running`] if a process runs one of the nodes.
pub async fn clean(config: &DockerConfig, options: CleanOptions) -> Result<Vec<String>, DockerError> {
    config.check()?;
    let api = Api::connect(config).await?;
    let cleaning = Cleaning { api, cluster: &config.cluster, node: options.node };
    let first = cleaning.left().await?;
    if options.dry_run {
        return Ok(first.told());
    }
    let nodes: BTreeSet<NodeId> = first.nodes().into_iter().chain(options.node).collect();
    let claims: Result<Vec<Claim>, DockerError> =
        nodes.into_iter().map(|node| Claim::take(&config.cluster, node)).collect();
    let _claims = claims?;
    let mut removed = Vec::new();
    let mut was_empty = false;
    let mut failed = None;
    for _ in 0..ROUNDS_MAX {
        let left = cleaning.left().await?;
        if left.is_empty() && was_empty {
            return Ok(removed);
        }
        was_empty = left.is_empty();
        failed = cleaning.remove(&left, &mut removed).await.err();
        if was_empty || failed.is_some() {
            sleep(LOOK_AGAIN).await;
        }
    }
    let left = cleaning.left().await?;
    if left.is_empty() {
        return Ok(removed);
    }
    Err(failed.unwrap_or(DockerError::LeftBehind(left.told())))
}

struct Cleaning<'a> {
    api: Api,
    cluster: &'a str,
    node: Option<NodeId>,
}

/// What is there.
struct Left {
    /// In the order in which they are to be removed.
    containers: Vec<ContainerSummary>,
    /// Id and name.
    networks: Vec<(String, String)>,
    nodes_of_networks: Vec<NodeId>,
    files: Vec<std::path::PathBuf>,
}

impl Cleaning<'_> {
    async fn left(&self) -> Result<Left, DockerError> {
        let mut containers = self.api.containers(self.cluster, self.node).await?;
        containers.sort_by_key(|found| (std::cmp::Reverse(role_of(found.labels.as_ref())), name_of(found)));
        let networks = self.api.networks(self.cluster, self.node).await?;
        let node_of = |labels: Option<&std::collections::HashMap<String, String>>| {
            labels.and_then(|labels| labels.get(labels::NODE)).and_then(|node| node.parse::<NodeId>().ok())
        };
        let nodes_of_networks =
            networks.iter().filter_map(|network| node_of(network.labels.as_ref())).collect();
        let networks = networks.into_iter().map(|network| {
            let name = network.name.unwrap_or_default();
            (network.id.unwrap_or_else(|| name.clone()), name)
        });
        let networks = networks.collect();
        let files = prometheus::files(self.cluster, self.node)?;
        Ok(Left { containers, networks, nodes_of_networks, files })
    }

    /// Containers of one role go together, whosever they are.
    async fn remove(&self, left: &Left, removed: &mut Vec<String>) -> Result<(), DockerError> {
        let same_role = |one: &ContainerSummary, other: &ContainerSummary| {
            role_of(one.labels.as_ref()) == role_of(other.labels.as_ref())
        };
        for together in left.containers.chunk_by(same_role) {
            let gone = together.iter().map(|found| async move {
                let name = name_of(found);
                self.api.remove(found.id.as_deref().unwrap_or(&name), &name).await
            });
            join_all(gone).await.into_iter().collect::<Result<(), DockerError>>()?;
            removed.extend(together.iter().map(|found| format!("container {}", name_of(found))));
        }
        for (id, name) in &left.networks {
            self.api.remove_network(id, name).await?;
            removed.push(format!("network {name}"));
        }
        for file in &left.files {
            prometheus::remove(file)?;
            removed.push(format!("file {}", file.display()));
        }
        Ok(())
    }
}

impl Left {
    fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.files.is_empty()
    }

    fn told(&self) -> Vec<String> {
        let containers = self.containers.iter().map(|found| format!("container {}", name_of(found)));
        let networks = self.networks.iter().map(|(_, name)| format!("network {name}"));
        let files = self.files.iter().map(|file| format!("file {}", file.display()));
        containers.chain(networks).chain(files).collect()
    }

    /// Whose it is.
    fn nodes(&self) -> Vec<NodeId> {
        let node = |found: &ContainerSummary| found.labels.as_ref()?.get(labels::NODE)?.parse().ok();
        self.containers.iter().filter_map(node).chain(self.nodes_of_networks.iter().copied()).collect()
    }
}
