//! What can be known to be wrong before anything is created.

use boat_core::supervisor::{PortNeed, check_ports};
use bollard::models::ContainerSummary;

use super::DockerError;
use super::api::Api;
use super::labels::are_ours;
use super::plan::{Plan, Published};
use super::ready::name_of;

/// Checks names and ports, and sees to it that the images are there.
pub(crate) async fn preflight(api: &Api, plan: &Plan) -> Result<(), DockerError> {
    network_is_free(api, plan).await?;
    ports_are_free(api, plan).await?;
    for container in &plan.containers {
        api.need_image(&container.image).await?;
    }
    Ok(())
}

/// A network of this name must be ours: containers of somebody else's would see Clipper, which asks nobody who they are.
pub(crate) async fn network_is_free(api: &Api, plan: &Plan) -> Result<(), DockerError> {
    let (cluster, node) = (&plan.owner.cluster, Some(plan.owner.node));
    let found = api.networks_named(&plan.network).await?;
    match found.iter().find(|network| !are_ours(network.labels.as_ref(), cluster, node)) {
        None => Ok(()),
        Some(other) => Err(DockerError::NameTaken {
            what: "network",
            name: plan.network.clone(),
            whose: format!("has the id {}", other.id.as_deref().unwrap_or("?")),
        }),
    }
}

/// A port must be free, or be published by a container of ours, which will make room for its successor.
async fn ports_are_free(api: &Api, plan: &Plan) -> Result<(), DockerError> {
    let running = api.running().await?;
    let mut needs = Vec::new();
    for port in plan.ports() {
        match running.iter().find(|container| publishes(container, port)) {
            None => {
                let Published { purpose, outside, .. } = port;
                needs.push(PortNeed { purpose: purpose.clone(), address: *outside });
            }
            Some(ours) if are_ours(ours.labels.as_ref(), &plan.owner.cluster, Some(plan.owner.node)) => {}
            Some(other) => {
                let image = other.image.as_deref().unwrap_or_default();
                return Err(DockerError::PortTaken {
                    purpose: port.purpose.clone(),
                    address: port.outside,
                    by: format!("{} (image {image})", name_of(other)),
                });
            }
        }
    }
    Ok(check_ports(&needs)?)
}

fn publishes(container: &ContainerSummary, wanted: &Published) -> bool {
    let wanted_ip = wanted.outside.ip();
    container.ports.iter().flatten().any(|port| {
        let ip = port.ip.as_deref().and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
        let meets = ip.is_none_or(|ip| ip == wanted_ip || ip.is_unspecified() || wanted_ip.is_unspecified());
        port.public_port == Some(wanted.outside.port()) && meets
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bollard::models::PortSummary;

    use super::*;

    #[test]
    fn a_port_is_taken_by_who_publishes_it_on_the_same_or_on_all_addresses() {
        let container = |ip: &str, port: u16| ContainerSummary {
            ports: Some(vec![PortSummary {
                ip: Some(ip.to_owned()),
                private_port: 80,
                public_port: Some(port),
                typ: None,
            }]),
            ..ContainerSummary::default()
        };
        let outside = SocketAddr::from(([127, 0, 0, 1], 1337));
        let wanted = Published { inside: 1337, outside, purpose: "queries".to_owned() };
        assert!(publishes(&container("127.0.0.1", 1337), &wanted));
        assert!(publishes(&container("0.0.0.0", 1337), &wanted));
        assert!(!publishes(&container("127.0.0.2", 1337), &wanted));
        assert!(!publishes(&container("0.0.0.0", 80), &wanted));
        assert!(!publishes(&ContainerSummary::default(), &wanted));
    }
}
