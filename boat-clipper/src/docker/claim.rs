//! One process at a time deploys a node's containers.

use std::io;

use boat_core::NodeId;

use super::DockerError;

/// Held by the process that runs a node's containers; the kernel frees it however that process ends. Without it a second
/// start under the same name would take the containers of the first for something left behind.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Bound to a name in the kernel's memory: nothing is left in any file system.
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixDatagram,
}

impl Claim {
    /// Claims a node of a cluster.
    pub(crate) fn take(cluster: &str, node: NodeId) -> Result<Claim, DockerError> {
        Self::bind(&format!("dev.boat/docker/{cluster}/{node}")).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => DockerError::Running { node, cluster: cluster.to_owned() },
            _ => DockerError::Api {
                doing: format!("claim node {node} of cluster {cluster}"),
                reason: error.to_string(),
            },
        })
    }

    #[cfg(target_os = "linux")]
    fn bind(name: &str) -> io::Result<Claim> {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        Ok(Claim { _name: std::os::unix::net::UnixDatagram::bind_addr(&address)? })
    }

    /// Elsewhere nothing is claimed: only the ports tell that a node runs already.
    #[cfg(not(target_os = "linux"))]
    fn bind(_: &str) -> io::Result<Claim> {
        Ok(Claim {})
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_claimed_once_until_its_holder_is_gone() {
        let cluster = format!("claim-test-{}", std::process::id());
        let first = Claim::take(&cluster, NodeId(0)).unwrap();
        assert!(matches!(Claim::take(&cluster, NodeId(0)), Err(DockerError::Running { .. })));
        let _other = Claim::take(&cluster, NodeId(1)).unwrap();
        drop(first);
        Claim::take(&cluster, NodeId(0)).unwrap();
    }
}
