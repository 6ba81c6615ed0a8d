//! What happens to a node's containers, as Docker tells it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::DockerError;
use super::api::Identity;
use super::labels::Role;
use super::ready::role_of;
use super::shared::Shared;

/// How long to wait before the engine is asked for events again, or a container is started again: doubled each time, from the
/// first to the second.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Follows events until it is aborted. Whatever was missed while the engine did not answer is made up for by looking.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut watcher = Watcher { shared, starting: JoinSet::new() };
    let mut wait = RETRY_WAIT.0;
    loop {
        let owner = &watcher.shared.plan.owner;
        let node = owner.node;
        let mut events = Box::pin(watcher.shared.api.events(&owner.cluster, node));
        match watcher.look().await {
            Ok(()) => wait = RETRY_WAIT.0,
            Err(error) => log::debug!("node {node}: {error}"),
        }
        while let Some(Ok(event)) = events.next().await {
            watcher.happened(&event);
        }
        log::debug!("node {node}: Docker tells no more events; asking again in {wait:?}");
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT.1);
    }
}

struct Watcher {
    shared: Arc<Shared>,
    /// One task for each container that is being started again: one at a time for each role.
    starting: JoinSet<()>,
}

impl Watcher {
    /// Compares what runs with what was found ready.
    async fn look(&mut self) -> Result<(), DockerError> {
        let known: Vec<(Role, Identity)> =
            self.shared.identities().iter().map(|((role, _), identity)| (*role, identity.clone())).collect();
        for (role, identity) in known {
            if !self.shared.is(&identity).await? {
                self.ended(role, &identity.id, "ended while Docker did not answer");
            }
        }
        Ok(())
    }

    fn happened(&mut self, event: &EventMessage) {
        let Some(actor) = &event.actor else { return };
        let action = event.action.as_deref().unwrap_or_default();
        let Some(why) = reason(action, actor.attributes.as_ref()) else { return };
        let Some(role) = role_of(actor.attributes.as_ref()) else { return };
        self.ended(role, actor.id.as_deref().unwrap_or_default(), &why);
    }

    /// Acts on the end of a container, if it is the one that counts: those that Boat removes itself do not.
    fn ended(&mut self, role: Role, id: &str, why: &str) {
        let Some(key) = self.shared.known_as(role, id) else { return };
        let node = self.shared.plan.owner.node;
        if role.holds_state() {
            self.shared.lose(format!("{} of node {node} {why}", role.name()));
            return;
        }
        self.shared.identities().remove(&key);
        log::warn!("node {node}: {} {why}; starting it again", role.name());
        // What has ended is taken out of the set.
        while self.starting.try_join_next().is_some() {}
        self.starting.spawn(keep_starting(Arc::clone(&self.shared), role));
    }
}

async fn keep_starting(shared: Arc<Shared>, role: Role) {
    let mut wait = RETRY_WAIT.0;
    while let Err(error) = start_again(&shared, role).await {
        log::warn!("node {}: {error}; trying again in {wait:?}", shared.plan.owner.node);
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_WAIT.1);
    }
}

/// What an event says of a container, if that is its end or as good as that.
fn reason(action: &str, attributes: Option<&HashMap<String, String>>) -> Option<String> {
    match action {
        "die" => {
            let status = attributes.and_then(|all| all.get("exitCode")).map_or("?", String::as_str);
            Some(format!("died with status {status}"))
        }
        "oom" => Some("ran out of memory".to_owned()),
        "restart" => Some("was restarted".to_owned()),
        "destroy" => Some("was removed".to_owned()),
        "health_status: unhealthy" => Some("is unhealthy".to_owned()),
        _ => None,
    }
}

/// Makes a container anew on which no state hangs, unless somebody else has by now.
async fn start_again(shared: &Shared, role: Role) -> Result<(), DockerError> {
    let _changing = shared.changing.lock().await;
    let Some(plan) = shared.plan.containers.iter().find(|container| container.role == role) else {
        return Ok(());
    };
    if shared.identities().contains_key(&plan.key()) {
        return Ok(());
    }
    shared.remove_own(role, &plan.name).await?;
    shared.write_targets()?;
    shared.api.start(plan, &shared.plan.network).await?;
    let found = shared.api.inspect(&plan.name).await?;
    match found.as_ref().and_then(Identity::of) {
        Some(identity) => {
            shared.identities().insert(plan.key(), identity);
            Ok(())
        }
        None => {
            let (container, log) = (plan.name.clone(), shared.api.log_tail(&plan.name).await);
            Err(DockerError::Exited { container, status: -1, log })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_container_is_told_from_other_events() {
        let status = HashMap::from([("exitCode".to_owned(), "137".to_owned())]);
        assert_eq!(reason("die", Some(&status)), Some("died with status 137".to_owned()));
        for action in ["oom", "restart", "destroy", "health_status: unhealthy"] {
            assert!(reason(action, None).is_some(), "{action}");
        }
        for action in ["create", "start", "health_status: healthy", "pause", "exec_create: sh", ""] {
            assert_eq!(reason(action, None), None, "{action}");
        }
    }
}
