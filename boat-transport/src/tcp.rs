//! The transport itself.

use std::net::SocketAddr;
use std::sync::Arc;

use boat_core::transport::{PeerInbox, PeerLinks, Reception, Transport, TransportError};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::accept::accept_all;
use crate::links::{Shared, TcpLinks};
use crate::{TransportCounters, TransportOptions};

/// A [`Transport`] over TCP. It listens as soon as it is bound and accepts once it is started.
///
/// The crate's root has an example.
#[derive(Debug)]
pub struct TcpTransport {
    listener: std::net::TcpListener,
    local_address: SocketAddr,
    options: TransportOptions,
    counters: Arc<TransportCounters>,
}

impl TcpTransport {
    /// Listens on `address` (`host:port`; port 0 lets the system choose), with the default options.
    ///
    /// # Errors
    /// [`TransportError`] naming the address when it is taken, not this machine's, or no address.
    pub async fn bind(address: &str) -> Result<Self, TransportError> {
        TcpTransport::bind_with(address, TransportOptions::default()).await
    }

    /// Listens on `address` as [`TcpTransport::bind`] does, with these options.
    ///
    /// # Errors
    /// As [`TcpTransport::bind`], and what [`TransportOptions::check`] finds.
    pub async fn bind_with(address: &str, options: TransportOptions) -> Result<Self, TransportError> {
        options.check()?;
        let failed = |error| TransportError(format!("cannot listen for peers on {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_address = listener.local_addr().map_err(failed)?;
        // The runtime that starts the transport need not be the one that bound it.
        let listener = listener.into_std().map_err(failed)?;
        Ok(TcpTransport { listener, local_address, options, counters: Arc::default() })
    }

    /// Where it listens: the port that the system chose, if the address said 0.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// What it counts. Take it before the transport is started, which consumes it.
    pub fn counters(&self) -> Arc<TransportCounters> {
        Arc::clone(&self.counters)
    }
}

impl Transport for TcpTransport {
    /// Starts accepting, in tasks of the tokio runtime that this is called in.
    ///
    /// # Errors
    /// [`TransportError`] when it is called outside of a tokio runtime with I/O and time enabled.
    fn start(
        self,
        reception: Arc<dyn Reception>,
        inbox: Arc<dyn PeerInbox>,
    ) -> Result<Arc<dyn PeerLinks>, TransportError> {
        let runtime = Handle::try_current().map_err(|error| TransportError(error.to_string()))?;
        let failed = |error| TransportError(format!("cannot listen on {}: {error}", self.local_address));
        let listener = TcpListener::from_std(self.listener).map_err(failed)?;
        let shared = Arc::new(Shared::new(reception, inbox, self.options, self.counters));
        runtime.spawn(accept_all(listener, Arc::clone(&shared)));
        Ok(Arc::new(TcpLinks::new(shared, runtime)))
    }
}
