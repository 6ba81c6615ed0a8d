//! Docker's API as Boat uses it, with errors that say what was being done.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use boat_core::NodeId;
use bollard::errors::Error as ApiError;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, EventMessage, HostConfig, Network,
    NetworkCreateRequest, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt};

use super::labels::{self, are_ours};
use super::plan::{ContainerPlan, Plan};
use super::{DockerConfig, DockerError};

/// How much of a container's output stands in an error: lines, then characters.
const LOG_LINES_MAX: &str = "5";
const LOG_CHARS_MAX: usize = 600;

/// How many pieces of a container's output are read for that.
const LOG_PIECES_MAX: usize = 64;

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(super) docker: Docker,
    socket: PathBuf,
}

/// What makes a container the one it was: any change means that what ran in it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) started_at: String,
}

impl Api {
    /// Connects, and agrees on a version of the API.
    pub(crate) async fn connect(config: &DockerConfig) -> Result<Api, DockerError> {
        let socket = config.socket.clone();
        let path = socket.display().to_string();
        let timeout_s = Duration::from_millis(config.api_timeout_ms).as_secs();
        let docker = Docker::connect_with_unix(&path, timeout_s, API_DEFAULT_VERSION);
        let docker = docker.map_err(|error| no_engine(&socket, &error))?;
        let docker = docker.negotiate_version().await.map_err(|error| no_engine(&socket, &error))?;
        Ok(Api { docker, socket })
    }

    /// What an error is, given what was being done.
    pub(crate) fn failed(&self, doing: &str, error: &ApiError) -> DockerError {
        if is_answer(error) {
            return DockerError::Api { doing: doing.to_owned(), reason: text(error) };
        }
        no_engine(&self.socket, error)
    }

    /// The containers of a cluster, or of one of its nodes, running or not.
    pub(crate) async fn containers(
        &self,
        cluster: &str,
        node: Option<NodeId>,
    ) -> Result<Vec<ContainerSummary>, DockerError> {
        let options =
            ListContainersOptionsBuilder::default().all(true).filters(&labels::filter(cluster, node)).build();
        let found = self.docker.list_containers(Some(options)).await;
        let mut found = found.map_err(|error| self.failed("list containers", &error))?;
        found.retain(|container| are_ours(container.labels.as_ref(), cluster, node));
        Ok(found)
    }

    /// Every container that runs, whoever's.
    pub(crate) async fn running(&self) -> Result<Vec<ContainerSummary>, DockerError> {
        let found = self.docker.list_containers(Some(ListContainersOptionsBuilder::default().build())).await;
        found.map_err(|error| self.failed("list containers", &error))
    }

    /// The networks of a cluster, or of one of its nodes.
    pub(crate) async fn networks(
        &self,
        cluster: &str,
        node: Option<NodeId>,
    ) -> Result<Vec<Network>, DockerError> {
        let options = ListNetworksOptionsBuilder::default().filters(&labels::filter(cluster, node)).build();
        let found = self.docker.list_networks(Some(options)).await;
        let mut found = found.map_err(|error| self.failed("list networks", &error))?;
        found.retain(|network| are_ours(network.labels.as_ref(), cluster, node));
        Ok(found)
    }

    /// The networks of this name, whoever's: Docker allows several.
    pub(crate) async fn networks_named(&self, name: &str) -> Result<Vec<Network>, DockerError> {
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::default().filters(&filters).build();
        let found = self.docker.list_networks(Some(options)).await;
        let mut found = found.map_err(|error| self.failed("list networks", &error))?;
        // The engine looks for names that contain this one.
        found.retain(|network| network.name.as_deref() == Some(name));
        Ok(found)
    }

    /// Makes the network of a plan.
    pub(crate) async fn create_network(&self, plan: &Plan) -> Result<(), DockerError> {
        let request = NetworkCreateRequest {
            name: plan.network.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(plan.owner.labels(&plan.clipper_cluster)),
            ..NetworkCreateRequest::default()
        };
        let made = self.docker.create_network(request).await;
        made.map_err(|error| self.failed(&format!("create network {}", plan.network), &error))?;
        Ok(())
    }

    pub(crate) async fn remove_network(&self, id: &str, name: &str) -> Result<(), DockerError> {
        match self.docker.remove_network(id).await {
            Err(error) if status(&error) != Some(404) => {
                Err(self.failed(&format!("remove network {name}"), &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a container and starts it. One that does not start is removed again.
    pub(crate) async fn start(&self, plan: &ContainerPlan, network: &str) -> Result<(), DockerError> {
        let name = &plan.name;
        let options = CreateContainerOptionsBuilder::default().name(name).build();
        match self.docker.create_container(Some(options), body(plan, network)).await {
            Ok(_) => {}
            Err(error) if status(&error) == Some(409) => {
                return Err(DockerError::NameTaken {
                    what: "container",
                    name: name.clone(),
                    whose: self.describe(name).await,
                });
            }
            Err(error) if status(&error) == Some(404) => {
                let (image, reason) = (plan.image.clone(), text(&error));
                return Err(DockerError::Image { image, reason });
            }
            Err(error) => return Err(self.failed(&format!("create container {name}"), &error)),
        }
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        if let Err(error) = started {
            let failed = self.failed(&format!("start container {name}"), &error);
            if let Err(also) = self.remove(name, name).await {
                log::warn!("{also}");
            }
            return Err(failed);
        }
        Ok(())
    }

    /// What is known about a container that is in the way.
    async fn describe(&self, name: &str) -> String {
        match self.inspect(name).await {
            Ok(Some(found)) => {
                let image = found.config.and_then(|config| config.image).unwrap_or_default();
                let created = found.created.map(|created| created.to_string()).unwrap_or_default();
                format!("was created {created} from image {image}")
            }
            Ok(None) => "is gone by now".to_owned(),
            Err(error) => format!("cannot be looked at: {error}"),
        }
    }

    /// Kills a container and removes it with the volumes that were made for it alone. One that is gone is fine.
    pub(crate) async fn remove(&self, id: &str, name: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            // 409: somebody else is removing it at this moment; the listing afterwards will tell.
            Err(error) if !matches!(status(&error), Some(404 | 409)) => {
                Err(self.failed(&format!("remove container {name}"), &error))
            }
            _ => Ok(()),
        }
    }

    /// Looks at a container; none if there is none of this name or id.
    pub(crate) async fn inspect(&self, name: &str) -> Result<Option<ContainerInspectResponse>, DockerError> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(self.failed(&format!("look at container {name}"), &error)),
        }
    }

    /// The end of what a container wrote, in one line.
    pub(crate) async fn log_tail(&self, name: &str) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(LOG_LINES_MAX).build();
        let pieces: Vec<_> = self.docker.logs(name, Some(options)).take(LOG_PIECES_MAX).collect().await;
        let pieces: Vec<String> = pieces.iter().flatten().map(ToString::to_string).collect();
        let words: Vec<&str> = pieces.iter().flat_map(|piece| piece.split_whitespace()).collect();
        if words.is_empty() {
            return "it wrote nothing".to_owned();
        }
        words.join(" ").chars().take(LOG_CHARS_MAX).collect()
    }

    /// What happens to the containers of a node from the present second on.
    pub(crate) fn events(
        &self,
        cluster: &str,
        node: NodeId,
    ) -> impl Stream<Item = Result<EventMessage, ApiError>> + use<> {
        let mut filters = labels::filter(cluster, Some(node));
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        // Without it events would be missed until the engine has the request.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let options = EventsOptionsBuilder::default().since(&now.as_secs().to_string()).filters(&filters);
        self.docker.events(Some(options.build()))
    }
}

impl Identity {
    /// Of a container that runs; none of one that does not.
    pub(crate) fn of(found: &ContainerInspectResponse) -> Option<Identity> {
        let state = found.state.as_ref().filter(|state| state.running == Some(true))?;
        Some(Identity { id: found.id.clone()?, started_at: state.started_at.clone()? })
    }
}

/// A container as its plan says, in Docker's words.
fn body(plan: &ContainerPlan, network: &str) -> ContainerCreateBody {
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    let inside = |port: u16| format!("{port}/tcp");
    let bindings = plan.ports.iter().map(|port| {
        let binding = PortBinding {
            host_ip: Some(port.outside.ip().to_string()),
            host_port: Some(port.outside.port().to_string()),
        };
        (inside(port.inside), Some(vec![binding]))
    });
    ContainerCreateBody {
        image: Some(plan.image.clone()),
        cmd: some(&plan.command),
        env: some(&plan.environment),
        user: plan.user.clone(),
        labels: Some(plan.labels.clone()),
        exposed_ports: Some(plan.ports.iter().map(|port| inside(port.inside)).collect()),
        host_config: Some(HostConfig {
            binds: some(&plan.binds),
            network_mode: Some(network.to_owned()),
            port_bindings: Some(bindings.collect()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The status of an answer, if the engine gave one.
pub(crate) fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine has said no, or something that cannot be read; else it did not answer.
fn is_answer(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::DockerResponseServerError { .. }
            | ApiError::DockerStreamError { .. }
            | ApiError::JsonDataError { .. }
            | ApiError::DockerContainerWaitError { .. }
    )
}

/// What an error says, with the causes that it does not tell itself, in one line.
pub(crate) fn text(error: &ApiError) -> String {
    let mut text = match error {
        ApiError::DockerResponseServerError { message, .. } => message.clone(),
        ApiError::RequestTimeoutError => "it does not answer in time".to_owned(),
        error => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn no_engine(socket: &Path, error: &ApiError) -> DockerError {
    let denied = || {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = cause {
            let io = inner.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
                return true;
            }
            cause = inner.source();
        }
        false
    };
    if denied() {
        return DockerError::NoPermission { socket: socket.to_owned() };
    }
    DockerError::NoEngine { socket: socket.to_owned(), reason: text(error) }
}
