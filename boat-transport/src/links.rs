//! The links of a started transport: one dialing task and one queue for each peer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boat_core::NodeId;
use boat_core::transport::{PeerInbox, PeerLinks, PeerMessage, Reception};
use log::warn;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::dial::Dialer;
use crate::epoch::Epochs;
use crate::inbound::Inbound;
use crate::outbox::Outbox;
use crate::{TransportCounters, TransportOptions};

/// What all tasks of a transport share.
pub(crate) struct Shared {
    pub(crate) reception: Arc<dyn Reception>,
    pub(crate) inbox: Arc<dyn PeerInbox>,
    pub(crate) options: TransportOptions,
    pub(crate) counters: Arc<TransportCounters>,
    pub(crate) epochs: Epochs,
    pub(crate) inbound: Inbound,
    links: Mutex<BTreeMap<NodeId, Link>>,
}

/// The link to one peer. Dropping it ends its task.
struct Link {
    address: String,
    outbox: Arc<Outbox>,
    redial: Arc<Notify>,
    task: JoinHandle<()>,
    _alive: oneshot::Sender<()>,
}

impl Shared {
    pub(crate) fn new(
        reception: Arc<dyn Reception>,
        inbox: Arc<dyn PeerInbox>,
        options: TransportOptions,
        counters: Arc<TransportCounters>,
    ) -> Self {
        Shared {
            reception,
            inbox,
            inbound: Inbound::new(options.inbound_connections_max),
            options,
            counters,
            epochs: Epochs::new(),
            links: Mutex::default(),
        }
    }

    /// The peer lives: it has just dialed us. If we wait to dial it, we need not wait any longer.
    pub(crate) fn redial(&self, node: NodeId) {
        if let Some(link) = self.links().get(&node) {
            link.redial.notify_one();
        }
    }

    /// Links are added and removed whole, so a panic elsewhere leaves none half made.
    fn links(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sending side of a started TCP transport. Dropping it shuts the transport down.
pub(crate) struct TcpLinks {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl TcpLinks {
    pub(crate) fn new(shared: Arc<Shared>, runtime: Handle) -> Self {
        TcpLinks { shared, runtime }
    }

    /// Opens a link. If the peer had another one, that one's last event comes before the first of this.
    fn open(&self, node: NodeId, address: String, former: Option<Link>) -> Link {
        let outbox = Arc::new(Outbox::new(&self.shared.options));
        let redial = Arc::new(Notify::new());
        let (alive, removed) = oneshot::channel();
        let dialer = Dialer::new(
            Arc::clone(&self.shared),
            (node, address.clone()),
            Arc::clone(&outbox),
            Arc::clone(&redial),
        );
        let former = former.map(|link| link.task);
        let task = self.runtime.spawn(async move {
            if let Some(former) = former {
                // How it ended is its own matter.
                let _ = former.await;
            }
            dialer.run(removed).await;
        });
        Link { address, outbox, redial, task, _alive: alive }
    }
}

impl PeerLinks for TcpLinks {
    fn send(&self, to: NodeId, messages: Vec<PeerMessage>) {
        let counters = &self.shared.counters;
        let outbox = self.shared.links().get(&to).map(|link| Arc::clone(&link.outbox));
        let Some(outbox) = outbox else {
            counters.messages_dropped.add(messages.len());
            return;
        };
        let Err(messages) = outbox.send(messages, &self.shared) else { return };
        let dropped = outbox.push(messages, Instant::now());
        counters.messages_dropped.add(dropped.now);
        if dropped.to_log > 0 {
            warn!("node {to} is slow: {} messages for it were dropped, its queue is full", dropped.to_log);
        }
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        let own = self.shared.reception.hello().node;
        let mut links = self.shared.links();
        let mut before = std::mem::take(&mut *links);
        for (node, address) in peers.into_iter().filter(|(node, _)| *node != own) {
            let address = self.shared.options.routes.get(&node).cloned().unwrap_or(address);
            let link = match before.remove(&node) {
                Some(same) if same.address == address => same,
                former => self.open(node, address, former),
            };
            links.insert(node, link);
        }
    }

    fn renew(&self) {
        for link in self.shared.links().values() {
            let dropped = link.outbox.clear();
            self.shared.counters.messages_dropped.add(dropped);
        }
        self.shared.epochs.renew();
    }

    fn shutdown(&self) {
        self.shared.epochs.shut();
        self.shared.links().clear();
    }
}

impl Drop for TcpLinks {
    fn drop(&mut self) {
        self.shutdown();
    }
}
