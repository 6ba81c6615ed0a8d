//! What is still missing before the containers of a node can be used.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::DockerError;
use super::api::Api;
use super::labels::{self, Role};
use super::plan::{ContainerPlan, Plan};
use crate::deployment::ModelId;
use crate::query::connection::{Connection, ExchangeError};
use crate::{ClipperConfig, ManagementClient};

/// How much of a health check's output stands in an error.
const HEALTH_CHARS_MAX: usize = 200;

/// The query frontend's metrics.
#[derive(Deserialize)]
pub(crate) struct Metrics {
    counters: Vec<BTreeMap<String, IgnoredAny>>,
}

/// Looks once at everything but models. What is missing has a line each; nothing missing means ready.
pub(crate) async fn missing(api: &Api, plan: &Plan) -> Result<Vec<String>, DockerError> {
    let found = api.containers(&plan.owner.cluster, Some(plan.owner.node)).await?;
    let mut missing = Vec::new();
    for container in &plan.containers {
        missing.extend(container_missing(api, container, &found).await?);
    }
    if let Err(why) = ManagementClient::new(plan.management_address).ping().await {
        missing.push(format!("management frontend at {}: {why}", plan.management_address));
    }
    if let Err(why) = Metrics::ask(plan).await {
        missing.push(why);
    }
    Ok(missing)
}

/// Why the container of a version of a model cannot be used yet.
pub(crate) async fn model_missing(
    api: &Api,
    plan: &Plan,
    container: &ContainerPlan,
    id: &ModelId,
) -> Result<Option<String>, DockerError> {
    let found = api.containers(&plan.owner.cluster, Some(plan.owner.node)).await?;
    if let Some(why) = container_missing(api, container, &found).await? {
        return Ok(Some(why));
    }
    let metrics = Metrics::ask(plan).await;
    Ok(metrics.and_then(|metrics| metrics.knows_container(id)).err())
}

/// Why one container cannot be used yet. One that has ended is an error: waiting is of no use.
pub(crate) async fn container_missing(
    api: &Api,
    plan: &ContainerPlan,
    found: &[ContainerSummary],
) -> Result<Option<String>, DockerError> {
    let name = &plan.name;
    let Some(found) = found.iter().find(|found| has_name(found, name)) else {
        return Ok(Some(format!("container {name} is gone")));
    };
    match found.state {
        Some(ContainerSummaryStateEnum::RUNNING) => {}
        Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD) => {
            let state = api.inspect(name).await?.and_then(|found| found.state);
            let status = state.and_then(|state| state.exit_code).unwrap_or(-1);
            let log = api.log_tail(name).await;
            return Err(DockerError::Exited { container: name.clone(), status, log });
        }
        state => {
            let state = state.map(|state| state.to_string()).unwrap_or_default();
            return Ok(Some(format!("container {name} is {state}")));
        }
    }
    // The engine tells health in words only: `Up 3 seconds (health: starting)`, `Up 9 seconds (unhealthy)`.
    let status = found.status.as_deref().unwrap_or_default();
    if status.contains("(unhealthy)") || status.contains("(health: starting)") {
        let health = last_health(api, name).await?;
        return Ok(Some(format!("container {name} is {status}: {health}")));
    }
    Ok(None)
}

/// What the last health check wrote.
async fn last_health(api: &Api, name: &str) -> Result<String, DockerError> {
    let state = api.inspect(name).await?.and_then(|found| found.state);
    let mut log = state.and_then(|state| state.health).and_then(|health| health.log).unwrap_or_default();
    let Some(last) = log.pop() else { return Ok("no health check has ended yet".to_owned()) };
    let output = last.output.unwrap_or_default();
    let words: Vec<&str> = output.split_whitespace().collect();
    let output: String = words.join(" ").chars().take(HEALTH_CHARS_MAX).collect();
    Ok(format!("its health check ends with status {}: {output}", last.exit_code.unwrap_or(-1)))
}

impl Metrics {
    /// Asks the query frontend. That a model is connected shows in its metrics, which begin then; a real prediction as a probe
    /// would change a model that keeps state. The error says whom it is about.
    pub(crate) async fn ask(plan: &Plan) -> Result<Metrics, String> {
        let mut connection = Connection::new(plan.query_address, &ClipperConfig::default());
        let asked = connection.exchange(Method::GET, "/metrics", bytes::Bytes::new()).await;
        let read = match asked {
            Ok((StatusCode::OK, metrics)) => Metrics::read(&metrics),
            Ok((status, _)) => Err(format!("GET /metrics gave status {status}")),
            Err(ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) => Err(why),
        };
        read.map_err(|why| format!("query frontend at {}: {why}", plan.query_address))
    }

    fn read(metrics: &[u8]) -> Result<Metrics, String> {
        serde_json::from_slice(metrics)
            .map_err(|error| format!("GET /metrics gave something else than Clipper's metrics: {error}"))
    }

    fn has(&self, prefix: &str) -> bool {
        self.counters.iter().flat_map(BTreeMap::keys).any(|name| name.starts_with(prefix))
    }

    /// The error says that the query frontend has not heard of the application.
    pub(crate) fn knows_application(&self, name: &str) -> Result<(), String> {
        match self.has(&format!("app:{name}:")) {
            true => Ok(()),
            false => Err(format!("the query frontend does not know application {name} yet")),
        }
    }

    /// The error says that no container has connected.
    pub(crate) fn knows_container(&self, id: &ModelId) -> Result<(), String> {
        let ModelId { model_name, model_version } = id;
        match self.has(&format!("model:{model_name}:{model_version}:")) {
            true => Ok(()),
            false => {
                Err(format!("no container of model {model_name} version {model_version} has connected yet"))
            }
        }
    }
}

/// Whether this is the container of that name.
pub(crate) fn has_name(found: &ContainerSummary, name: &str) -> bool {
    found.names.iter().flatten().any(|found| found.strip_prefix('/') == Some(name))
}

/// A container's name, for people.
pub(crate) fn name_of(found: &ContainerSummary) -> String {
    let name = found.names.iter().flatten().next();
    let name = name.map(|name| name.trim_start_matches('/').to_owned());
    name.or_else(|| found.id.clone()).unwrap_or_default()
}

/// What one of ours is for.
pub(crate) fn role_of(labels: Option<&HashMap<String, String>>) -> Option<Role> {
    labels.and_then(|labels| labels.get(labels::ROLE)).and_then(|role| Role::from_name(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_tell_what_is_missing() {
        let read = |names: &[&str]| {
            let counters: Vec<String> =
                names.iter().map(|name| format!(r#"{{"{name}":{{"count":"0"}}}}"#)).collect();
            Metrics::read(format!(r#"{{"counters":[{}],"meters":[]}}"#, counters.join(",")).as_bytes())
                .unwrap()
        };
        let id = ModelId { model_name: "echo-model".to_owned(), model_version: "1".to_owned() };
        let (app, model) = ("app:default:num_predictions", "model:echo-model:1:num_predictions");
        let both = read(&[app, model]);
        assert_eq!((both.knows_application("default"), both.knows_container(&id)), (Ok(()), Ok(())));
        assert!(read(&[model]).knows_application("default").unwrap_err().contains("application default"));
        assert!(read(&[app]).knows_container(&id).unwrap_err().contains("echo-model version 1"));
        assert!(read(&[app, "model:echo-model:10:num_predictions"]).knows_container(&id).is_err());
        assert!(Metrics::read(b"hello").is_err());
    }
}
