//! How the sockets between peers are set.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// How many probes a silent machine leaves unanswered before its connection is closed.
const PROBES: u32 = 3;

/// Sends without delay, and closes the connection of a machine that has not answered anything for `silence_timeout`: an
/// idle one is probed, and bytes that it has not acknowledged by then are given up.
pub(crate) fn tune(stream: &TcpStream, silence_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // Half of the time idle, the other half probing.
    let interval = (silence_timeout / 2 / PROBES).max(Duration::from_secs(1));
    let idle = silence_timeout.saturating_sub(interval * PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    #[cfg(unix)]
    let keepalive = keepalive.with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence_timeout))?;
    Ok(())
}
