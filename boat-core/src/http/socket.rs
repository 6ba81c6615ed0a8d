//! A client's socket, with the two waits that an HTTP engine leaves open: for a client that takes nothing of its answer,
//! and for one that still sends when its answer was the last.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a connection that was answered for the last time goes on reading. If it were closed with bytes unread, the
/// client's system would drop the answer (RFC 9112, 9.6).
const LINGER: Duration = Duration::from_secs(2);
/// How much is read at a time, only to be dropped.
const LINGER_READ_BYTES: usize = 16 << 10;

/// A stream whose writes time out, and whose shutdown reads on until the client is done.
#[derive(Debug)]
pub(super) struct Socket<T> {
    stream: T,
    write_timeout: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs once the last byte was written.
    lingering: Option<Pin<Box<Sleep>>>,
    /// Set when the server ends: nobody is waited for then.
    hurried: Arc<AtomicBool>,
}

impl<T> Socket<T> {
    /// `write_timeout` is how long the client may take no byte at all.
    pub(super) fn new(stream: T, write_timeout: Duration) -> Self {
        Socket { stream, write_timeout, stalled: None, lingering: None, hurried: Arc::default() }
    }

    /// The switch that makes shutdown wait for nobody, also if it waits already and is polled again.
    pub(super) fn hurry_switch(&self) -> Arc<AtomicBool> {
        self.hurried.clone()
    }

    /// Passes on what a write gave, unless it waits for too long.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.write_timeout;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    /// Ends the writing half, then reads until the client ends its own, or for [`LINGER`].
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.watch(cx, ended))?;
        }
        let Socket { stream, lingering, hurried, .. } = &mut *self;
        let lingering = lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut dropped = [0; LINGER_READ_BYTES];
        while !hurried.load(Ordering::Relaxed) && lingering.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut dropped);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (_client, server) = duplex(8);
        let mut socket = Socket::new(server, Duration::from_secs(3));
        let started = Instant::now();
        let error = socket.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_waited_for_as_long_as_it_takes_something() {
        let (mut client, server) = duplex(1);
        let mut socket = Socket::new(server, Duration::from_secs(3));
        let write = tokio::spawn(async move { socket.write_all(&[7; 10]).await });
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(client.read_u8().await.unwrap(), 7);
        }
        write.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_reads_what_still_comes_but_not_for_ever() {
        let (mut client, server) = duplex(8);
        let mut socket = Socket::new(server, Duration::from_secs(3));
        let closing = tokio::spawn(async move { socket.shutdown().await });
        client.write_all(&[1; 1_000]).await.unwrap();
        let started = Instant::now();
        closing.await.unwrap().unwrap();
        assert!(started.elapsed() <= LINGER);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}
