//! Ports for processes that are killed and come back.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Result;

/// Where blocks begin and end: below the ports that Linux gives to outgoing connections. Whoever is killed must get its
/// ports again, so nobody may be given them meanwhile.
const FIRST: u16 = 10_240;
const END: u16 = 32_768;
/// How many ports belong together; the first of them reserves the block.
const BLOCK: u16 = 16;

/// What is next to try in this process.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A block of ports that were free. Its first stays bound, so that nobody else who asks this way takes the block.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _reservation: TcpListener,
}

impl Ports {
    /// Finds a block.
    ///
    /// # Errors
    /// When none is free.
    pub fn reserve() -> Result<Ports> {
        let blocks = (END - FIRST) / BLOCK;
        // Processes start in different places.
        let start = u16::try_from(std::process::id() % u32::from(blocks))?;
        for _ in 0..blocks {
            let block = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
            let base = FIRST + block * BLOCK;
            let Ok(reservation) = TcpListener::bind(address(base)) else { continue };
            if (base + 1..base + BLOCK).all(|port| TcpListener::bind(address(port)).is_ok()) {
                return Ok(Ports { base, _reservation: reservation });
            }
        }
        Err(format!("no {BLOCK} free ports from {FIRST} to {END}").into())
    }

    /// One of the block's 15 addresses.
    ///
    /// # Errors
    /// When there is no such place in the block.
    pub fn address(&self, place: u16) -> Result<SocketAddr> {
        if place + 1 < BLOCK {
            Ok(address(self.base + 1 + place))
        } else {
            Err("a block has 15 ports".into())
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
