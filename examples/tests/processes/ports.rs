//! Ports for a cluster.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use super::poll;

/// Where blocks begin and end: below the ports that Linux gives to outgoing connections. A node that is killed must get its
/// ports again, so nobody may be given them meanwhile; a port that the kernel chose would be one of those.
const FIRST: u16 = 10_240;
const END: u16 = 32_768;

/// How many ports belong together: one that reserves the block, and four for each purpose.
const BLOCK: u16 = 16;

/// What is next to try in this process.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A block of ports that were free. Its first stays bound, so that no other test, in whatever process, takes the block.
#[derive(Debug)]
pub(crate) struct Ports {
    base: u16,
    _reservation: TcpListener,
}

impl Ports {
    pub(crate) fn reserve() -> Self {
        let blocks = (END - FIRST) / BLOCK;
        // Processes start in different places.
        let start = u16::try_from(std::process::id() % u32::from(blocks)).unwrap();
        for _ in 0..blocks {
            let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
            let base = FIRST + block * BLOCK;
            let Ok(reservation) = bind(base) else { continue };
            if (base + 1..base + BLOCK).all(|port| bind(port).is_ok()) {
                return Ports { base, _reservation: reservation };
            }
        }
        panic!("no {BLOCK} free ports from {FIRST} to {END}");
    }

    pub(crate) fn http(&self, node: u16) -> SocketAddr {
        address(self.base + 1 + node)
    }

    pub(crate) fn peer(&self, node: u16) -> SocketAddr {
        address(self.base + 5 + node)
    }

    pub(crate) fn query(&self, node: u16) -> SocketAddr {
        address(self.base + 9 + node)
    }

    /// Waits until each can be listened on.
    #[track_caller]
    pub(crate) fn expect_free(&self) {
        for port in self.base + 1..self.base + BLOCK {
            poll(&format!("port {port} is free"), || bind(port).ok());
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn bind(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(address(port))
}
