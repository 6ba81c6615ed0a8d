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
    // About half of the time idle, the other half probing; the system counts in whole seconds.
    let interval = Duration::from_secs((silence_timeout.as_secs() / 2 / u64::from(PROBES)).max(1));
    let idle = silence_timeout.saturating_sub(interval * PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
    #[cfg(unix)]
    let keepalive = keepalive.with_retries(PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(silence_timeout))?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_silent_machine_is_given_up_after_the_time_that_was_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for seconds in [4, 6, 20] {
            let silence_timeout = Duration::from_secs(seconds);
            tune(&stream, silence_timeout).unwrap();
            let socket = SockRef::from(&stream);
            let probing = socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
            let silent = socket.tcp_keepalive_time().unwrap() + probing;
            assert_eq!(silent, silence_timeout);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(silence_timeout));
            assert!(stream.nodelay().unwrap());
        }
    }
}
