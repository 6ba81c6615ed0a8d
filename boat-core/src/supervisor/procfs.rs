//! Who listens on a port, as Linux tells it: `/proc/net/tcp` gives a socket's inode, `/proc/PID/fd` who holds that.
//! (Format: the kernel's `Documentation/networking/proc_net_tcp.rst`.) Where there is no procfs, nobody is found.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::PortOwner;

/// The state `TCP_LISTEN`.
const LISTEN: &str = "0A";

/// Who holds a socket that keeps others from listening on `address`: a listener rather than a connection.
pub(super) fn owner_of(address: SocketAddr) -> Option<PortOwner> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let mut sockets: Vec<Socket> = tables.iter().flat_map(|table| sockets(table)).collect();
    sockets.retain(|socket| socket.stands_in_the_way_of(address));
    sockets.sort_by_key(|socket| !socket.listens);
    sockets.iter().find_map(|socket| holder_of(socket.inode))
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    local: SocketAddr,
    listens: bool,
    inode: u64,
}

impl Socket {
    fn stands_in_the_way_of(&self, address: SocketAddr) -> bool {
        let (ours, theirs) = (address.ip().to_canonical(), self.local.ip().to_canonical());
        self.local.port() == address.port()
            && (ours == theirs || ours.is_unspecified() || theirs.is_unspecified())
    }
}

/// The sockets of a table that some process holds. Lines that cannot be read are passed over: the first is a heading.
fn sockets(table: &str) -> impl Iterator<Item = Socket> {
    table.lines().filter_map(socket).filter(|socket| socket.inode != 0)
}

/// `sl local remote state queues timer retransmits uid timeout inode ...`, where local is `ADDRESS:PORT` in hexadecimal.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let local = SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?);
    Some(Socket { local, listens: state == LISTEN, inode })
}

/// 32-bit words, each printed as a number of this machine's byte order although it is in the network's.
fn ip(text: &str) -> Option<IpAddr> {
    let word = |from: usize| Some(u32::from_str_radix(text.get(from..from + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.as_flattened().try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// The first process that holds the socket, among those whose files this user may see.
fn holder_of(inode: u64) -> Option<PortOwner> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if holds(&process.path(), &wanted) {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(PortOwner { pid, program: program.trim_end().to_owned() });
        }
    }
    None
}

fn holds(process: &Path, wanted: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_tables() {
        let line = |local: &str, state: &str, inode: u32| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000  0 {inode} 1 0"
            )
        };
        let loopback = format!("{:08X}:1F90", u32::from_ne_bytes([127, 0, 0, 1]));
        let mapped = format!("{0:08X}{0:08X}{1:08X}", 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]));
        let mapped = format!("{mapped}{loopback}");
        let table = [
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode".into(),
            line(&loopback, "0A", 77),
            line(&mapped, "01", 78),
            line(&loopback, "06", 0),
            "   1: 0100:1F90 not a line".into(),
            String::new(),
        ]
        .join("\n");
        let found: Vec<Socket> = sockets(&table).collect();
        let v4 = "127.0.0.1:8080".parse().expect("an address");
        let v6 = "[::ffff:127.0.0.1]:8080".parse().expect("an address");
        assert_eq!(
            found,
            [Socket { local: v4, listens: true, inode: 77 }, Socket { local: v6, listens: false, inode: 78 }]
        );
    }

    #[test]
    fn addresses_that_overlap_stand_in_the_way() {
        let stands = |theirs: &str, ours: &str| {
            let socket = Socket { local: theirs.parse().expect("an address"), listens: true, inode: 1 };
            socket.stands_in_the_way_of(ours.parse().expect("an address"))
        };
        assert!(stands("127.0.0.1:80", "127.0.0.1:80"));
        assert!(stands("0.0.0.0:80", "127.0.0.1:80"));
        assert!(stands("[::]:80", "127.0.0.1:80"));
        assert!(stands("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(stands("127.0.0.1:80", "0.0.0.0:80"));
        assert!(!stands("127.0.0.2:80", "127.0.0.1:80"));
        assert!(!stands("127.0.0.1:81", "127.0.0.1:80"));
    }
}
