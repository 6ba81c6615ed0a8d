//! What runs for a node besides models, started in order, with room made for it before.

use std::collections::BTreeSet;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};

use super::DockerError;
use super::labels::{self, Role};
use super::plan::ContainerPlan;
use super::preflight::network_is_free;
use super::ready::{has_name, name_of, role_of};
use super::shared::Shared;

impl Shared {
    /// Starts what is missing, in order; what was there already and stays. Where nothing `may_stay` that knows of requests or
    /// changes, only what is beside that does.
    pub(super) async fn start(&self, may_stay: bool) -> Result<BTreeSet<Role>, DockerError> {
        let Shared { api, plan, .. } = self;
        network_is_free(api, plan).await?;
        if api.networks(&plan.owner.cluster, Some(plan.owner.node)).await?.is_empty() {
            api.create_network(plan).await?;
        }
        let kept = self.make_room(may_stay).await?;
        self.write_targets()?;
        for container in &plan.containers {
            if !kept.contains(&container.role) {
                log::info!("node {}: starting container {}", plan.owner.node, container.name);
                api.start(container, &plan.network).await?;
            }
        }
        Ok(kept)
    }

    /// Removes every container of this node's that must not stay; which may.
    async fn make_room(&self, may_stay: bool) -> Result<BTreeSet<Role>, DockerError> {
        let Shared { api, plan, .. } = self;
        let mut found = api.containers(&plan.owner.cluster, Some(plan.owner.node)).await?;
        let mut plans = plan.containers.clone();
        plans.extend(self.models().values().cloned());
        let (mut kept, mut kept_ids) = (BTreeSet::new(), BTreeSet::new());
        for container in &plans {
            let Some(found) = found.iter().find(|found| is_made_as(found, container)) else { continue };
            let stays = match container.role {
                Role::Exporter | Role::Prometheus => true,
                Role::Redis => may_stay && self.is_as_it_was(container).await?,
                // What they hold came through a Redis that may be gone.
                Role::Management | Role::Query => {
                    kept.contains(&Role::Redis) && self.is_as_it_was(container).await?
                }
                Role::Model => kept.contains(&Role::Query) && self.is_as_it_was(container).await?,
            };
            if stays {
                kept.insert(container.role);
                kept_ids.insert(found.id.clone());
            }
        }
        found.retain(|found| !kept_ids.contains(&found.id));
        // In reverse order: nothing loses first what it hangs on.
        found.sort_by_key(|found| std::cmp::Reverse(role_of(found.labels.as_ref())));
        for gone in &found {
            let name = name_of(gone);
            if let Some(role) = role_of(gone.labels.as_ref()) {
                self.identities().remove(&(role, name.clone()));
            }
            log::info!("node {}: removing container {name}", plan.owner.node);
            api.remove(gone.id.as_deref().unwrap_or(&name), &name).await?;
        }
        Ok(kept)
    }
}

/// Whether a container runs, and is made as its plan says, by this run.
fn is_made_as(found: &ContainerSummary, plan: &ContainerPlan) -> bool {
    let Some(labels) = &found.labels else { return false };
    let same = [labels::ROLE, labels::RUN, labels::PLAN]
        .iter()
        .all(|label| labels.get(*label).is_some() && labels.get(*label) == plan.labels.get(*label));
    let is_well = !found.status.as_deref().unwrap_or_default().contains("(unhealthy)");
    same && has_name(found, &plan.name) && is_well && found.state == Some(ContainerSummaryStateEnum::RUNNING)
}
