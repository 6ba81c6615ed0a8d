//! One proxy for each link between two nodes: what the one says to the other goes through it.
//!
//! A link that is cut swallows nothing and breaks nothing: bytes wait, as they do in a network that is cut, and go on when it
//! heals.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How many bytes are passed on at once, at most.
const CHUNK_BYTES: usize = 16 << 10;

/// What a direction does with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// It passes it on.
    #[default]
    Open,
    /// Nothing passes.
    Cut,
    /// Everything takes so much longer.
    Slow(Duration),
}

/// One direction, as its proxy and the opposite one's see it.
#[derive(Debug, Clone)]
pub(crate) struct Direction {
    mode: Arc<watch::Sender<Mode>>,
    /// Raised to break all connections in the middle of what they carry.
    breaks: Arc<watch::Sender<u64>>,
}

impl Direction {
    pub(crate) fn new() -> Self {
        Direction { mode: Arc::new(watch::Sender::default()), breaks: Arc::new(watch::Sender::default()) }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Ends each connection half way through the bytes that it carries next.
    pub(crate) fn break_connections(&self) {
        self.breaks.send_modify(|count| *count += 1);
    }

    /// Waits until something may pass, and then for as long as passing takes.
    async fn pass(&self) {
        let mut mode = self.mode.subscribe();
        loop {
            let now = *mode.borrow_and_update();
            match now {
                Mode::Open => return,
                Mode::Slow(delay) => return tokio::time::sleep(delay).await,
                // Its sender is in `self`: this never fails.
                Mode::Cut => drop(mode.changed().await),
            }
        }
    }
}

/// Listens for what one node says to another, and passes it on to `target`. `forth` is that direction, `back` the opposite one:
/// what comes back over the same connection, in the handshake, passes as the other node's own words do.
pub(crate) async fn listen(
    target: SocketAddr,
    forth: Direction,
    back: Direction,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((accepted, _)) => {
                    tokio::spawn(carry(accepted, target, forth.clone(), back.clone()));
                }
                // No file descriptor is left, for a moment.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(address)
}

/// Carries one connection until either end closes it. Where nobody listens it is closed at once.
async fn carry(accepted: TcpStream, target: SocketAddr, forth: Direction, back: Direction) {
    forth.pass().await;
    let Ok(connected) = TcpStream::connect(target).await else { return };
    // Small messages must not wait for each other.
    let _ = (accepted.set_nodelay(true), connected.set_nodelay(true));
    let (from, reply_to) = accepted.into_split();
    let (reply_from, to) = connected.into_split();
    // Whichever ends first takes both with it.
    tokio::select! {
        () = pump(from, to, &forth) => {}
        () = pump(reply_from, reply_to, &back) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: &Direction) {
    let mut breaks = direction.breaks.subscribe();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let Ok(count @ 1..) = from.read(&mut chunk).await else { return };
        direction.pass().await;
        let broken = breaks.has_changed().unwrap_or(false);
        breaks.mark_unchanged();
        let passed = if broken { count / 2 } else { count };
        let Some(bytes) = chunk.get(..passed) else { return };
        if to.write_all(bytes).await.is_err() || broken {
            return;
        }
    }
}
