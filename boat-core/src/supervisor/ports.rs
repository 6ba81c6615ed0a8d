//! Whether the ports that a program needs are free.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use super::procfs;

/// A port that will be needed, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortNeed {
    /// What for, as people call it: "node 0's HTTP frontend".
    pub purpose: String,
    /// Where.
    pub address: SocketAddr,
}

/// Who holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// The process.
    pub pid: u32,
    /// Its program's name, cut to 15 bytes by the kernel.
    pub program: String,
}

/// Why a port cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortProblem {
    /// Another socket has it.
    #[error("port {} for {} on {} is taken by {}", need.address.port(), need.purpose, need.address.ip(), OwnerText(owner))]
    Taken {
        /// What was asked for.
        need: PortNeed,
        /// Who has it: none if that is another user's process, in another container, or not on Linux.
        owner: Option<PortOwner>,
    },
    /// Two purposes ask for the same port.
    #[error("port {} on {} is wanted for {} and for {}", need.address.port(), need.address.ip(), first, need.purpose)]
    WantedTwice {
        /// The later one.
        need: PortNeed,
        /// The earlier purpose.
        first: String,
    },
    /// It cannot be bound for another reason: a port below 1024 without the right, an address that is not this machine's.
    #[error("port {} for {} cannot be had on {}: {reason}", need.address.port(), need.purpose, need.address.ip())]
    Refused {
        /// What was asked for.
        need: PortNeed,
        /// What the operating system says.
        reason: String,
    },
}

/// Not every port is free. Says what is wrong with each that is not, a line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortsError {
    /// What is wrong, in the order in which the ports were asked for; at least one.
    pub problems: Vec<PortProblem>,
}

impl std::error::Error for PortsError {}

impl fmt::Display for PortsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.problems.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

struct OwnerText<'a>(&'a Option<PortOwner>);

impl fmt::Display for OwnerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(owner) => write!(f, "{} (process {})", owner.program, owner.pid),
            None => f.write_str("a process that cannot be seen from here"),
        }
    }
}

/// Checks that each port can be listened on, by listening for a moment. Connections that linger after their end
/// (TIME_WAIT) do not count: the standard library sets `SO_REUSEADDR` on Unix.
///
/// It tells the usual mistake (the program runs already) before anything has started. Nothing is reserved: who starts
/// later must still be ready to find a port taken.
///
/// ```
/// use boat_core::supervisor::{PortNeed, check_ports};
///
/// # fn main() -> std::io::Result<()> {
/// let other = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let need = PortNeed { purpose: "node 0's HTTP frontend".into(), address: other.local_addr()? };
/// let error = check_ports(&[need.clone()]).expect_err("it is taken");
/// # #[cfg(target_os = "linux")]
/// assert!(error.to_string().contains(&format!("process {}", std::process::id())));
///
/// drop(other);
/// assert_eq!(check_ports(&[need]), Ok(()));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// One [`PortProblem`] for each port that cannot be had.
pub fn check_ports(needs: &[PortNeed]) -> Result<(), PortsError> {
    let mut wanted = BTreeMap::new();
    let problems: Vec<_> = needs.iter().filter_map(|need| problem_with(need, &mut wanted)).collect();
    if problems.is_empty() { Ok(()) } else { Err(PortsError { problems }) }
}

fn problem_with<'a>(need: &'a PortNeed, wanted: &mut BTreeMap<SocketAddr, &'a str>) -> Option<PortProblem> {
    // Port 0 asks the kernel for any: that is never twice the same.
    let first = if need.address.port() == 0 { None } else { wanted.insert(need.address, &need.purpose) };
    if let Some(first) = first {
        return Some(PortProblem::WantedTwice { need: need.clone(), first: first.to_owned() });
    }
    match TcpListener::bind(need.address) {
        Ok(_) => None,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Some(PortProblem::Taken { need: need.clone(), owner: procfs::owner_of(need.address) })
        }
        Err(error) => Some(PortProblem::Refused { need: need.clone(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loopback address on which no other test takes a port that was free a moment ago.
    #[cfg(target_os = "linux")]
    const OWN: &str = "127.80.80.80:0";

    #[cfg(not(target_os = "linux"))]
    const OWN: &str = "127.0.0.1:0";

    fn need(purpose: &str, address: SocketAddr) -> PortNeed {
        PortNeed { purpose: purpose.into(), address }
    }

    fn listener(address: &str) -> TcpListener {
        TcpListener::bind(address).expect("a free port")
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_taken_port_names_its_purpose_and_owner() {
        let other = listener("127.0.0.1:0");
        let address = other.local_addr().expect("bound");
        let program = std::fs::read_to_string("/proc/self/comm").expect("procfs");
        let error = check_ports(&[need("node 1's engine", address)]).expect_err("taken").to_string();
        let expected = format!(
            "port {} for node 1's engine on 127.0.0.1 is taken by {} (process {})",
            address.port(),
            program.trim_end(),
            std::process::id()
        );
        assert_eq!(error, expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listener_on_all_addresses_is_an_owner_too() {
        for all in ["0.0.0.0:0", "[::]:0"] {
            let Ok(other) = TcpListener::bind(all) else { continue }; // a machine without IPv6
            let port = other.local_addr().expect("bound").port();
            let wanted = need("node 0's peers", SocketAddr::from(([127, 0, 0, 1], port)));
            let problems = check_ports(std::slice::from_ref(&wanted)).expect_err("taken").problems;
            let [PortProblem::Taken { owner: Some(owner), .. }] = problems.as_slice() else {
                panic!("{all}: {problems:?}")
            };
            assert_eq!(owner.pid, std::process::id());
        }
    }

    #[test]
    fn a_connection_that_lingers_does_not_count() {
        let server = listener(OWN);
        let address = server.local_addr().expect("bound");
        let mut client = std::net::TcpStream::connect(address).expect("connects");
        let (accepted, _) = server.accept().expect("accepts");
        drop(server);
        // Who closes first lingers: here the server's side.
        drop(accepted);
        io::Read::read_to_end(&mut client, &mut Vec::new()).expect("reads the end");
        drop(client);
        assert_eq!(check_ports(&[need("node 0", address)]), Ok(()));
    }

    #[test]
    fn all_problems_are_told() {
        let other = listener(OWN);
        let taken = other.local_addr().expect("bound");
        let free = listener(OWN).local_addr().expect("bound");
        // 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address.
        let foreign: SocketAddr = "192.0.2.1:8080".parse().expect("an address");
        let needs = [need("a", free), need("b", taken), need("c", free), need("d", foreign)];
        let problems = check_ports(&needs).expect_err("three are wrong").problems;
        assert!(
            matches!(
                problems.as_slice(),
                [
                    PortProblem::Taken { .. },
                    PortProblem::WantedTwice { first, .. },
                    PortProblem::Refused { .. }
                ] if first == "a"
            ),
            "{problems:?}"
        );
    }
}
