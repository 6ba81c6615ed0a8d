//! A listener and its connections: of the query frontend, of the management frontend, or of model containers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

/// How long the listener rests after an error, such as running out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a shutdown waits for answers on their way.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(1);

/// What is done with connections.
pub(super) trait Serve: Send + Sync + 'static {
    /// Serves one connection to its end, or gently ends it when told to stop.
    fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        stopped: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// A server that runs, until it is told to stop or dropped.
#[derive(Debug)]
pub(super) struct Server {
    accepting: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Serves at most `connections_max` connections of `listener` at a time, in tasks of the current runtime.
    pub(super) fn start<S: Serve>(listener: TcpListener, serve: Arc<S>, connections_max: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Semaphore::new(connections_max));
        let accept = Accept { listener, serve, connections, stopped };
        Server { accepting: tokio::spawn(accept.run()), stop }
    }

    /// Stops gently: what is being answered gets its answer, within [`SHUTDOWN_WAIT_MAX`].
    pub(super) async fn shutdown(mut self) {
        self.stop.send_replace(true);
        // It bounds its own end; an error means that it is gone already.
        let _ = (&mut self.accepting).await;
    }

    /// Stops at once, as if the process had been killed. On return nothing listens, and no connection gets as far as a
    /// model any more.
    pub(super) async fn kill(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Accept<S> {
    listener: TcpListener,
    serve: Arc<S>,
    connections: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl<S: Serve> Accept<S> {
    async fn run(mut self) {
        // Dropping the set ends the connections, so none outlives this task.
        let mut served = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = told_to_stop(&mut self.stopped) => break,
                accepted = accept(&self.listener, &self.connections) => accepted,
                Some(_) = served.join_next() => continue,
            };
            if let Some((stream, permit)) = accepted {
                served.spawn(self.connection(stream, permit));
            }
        }
        drop(self.listener);
        let all = async { while served.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_WAIT_MAX, all).await.is_err() {
            log::warn!("engine: gave up waiting for open connections after {SHUTDOWN_WAIT_MAX:?}");
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<S> {
        let served = Arc::clone(&self.serve).serve(stream, self.stopped.clone());
        async move {
            served.await;
            drop(permit);
        }
    }
}

/// Waits until the server is told to stop, or is gone.
pub(super) async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The next connection, once there is room for one; nothing after an error, which has been waited out.
async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Without it small answers wait for the peer's acknowledgement. A failure costs time only.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) => {
            log::warn!("engine: cannot accept a connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
