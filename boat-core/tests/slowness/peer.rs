//! A node that is far away: whatever it sends or is sent takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::local::LocalTransport;
use boat_core::transport::{
    PeerEvent, PeerInbox, PeerLinks, PeerMessage, Reception, Transport, TransportError,
};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

pub(crate) struct Distant {
    transport: LocalTransport,
    delay_ms: Arc<AtomicU64>,
}

impl Distant {
    pub(crate) fn new(transport: LocalTransport, delay_ms: Arc<AtomicU64>) -> Distant {
        Distant { transport, delay_ms }
    }
}

/// One direction: things come out in order, each after the delay of when it went in.
struct Way<T> {
    delay_ms: Arc<AtomicU64>,
    things: UnboundedSender<(Instant, T)>,
}

impl<T: Send + 'static> Way<T> {
    fn new(delay_ms: Arc<AtomicU64>, arrive: impl Fn(T) + Send + 'static) -> Way<T> {
        let (things, mut underway) = unbounded_channel::<(Instant, T)>();
        tokio::spawn(async move {
            while let Some((at, thing)) = underway.recv().await {
                sleep_until(at).await;
                arrive(thing);
            }
        });
        Way { delay_ms, things }
    }

    fn go(&self, thing: T) {
        let delay = Duration::from_millis(self.delay_ms.load(Ordering::SeqCst));
        // At the end of a test nobody is there any more.
        let _ = self.things.send((Instant::now() + delay, thing));
    }
}

impl Transport for Distant {
    fn start(
        self,
        reception: Arc<dyn Reception>,
        inbox: Arc<dyn PeerInbox>,
    ) -> Result<Arc<dyn PeerLinks>, TransportError> {
        let inwards = Way::new(self.delay_ms.clone(), move |event| inbox.deliver(event));
        let links = self.transport.start(reception, Arc::new(DistantInbox(inwards)))?;
        let outwards = Way::new(self.delay_ms, {
            let links = links.clone();
            move |(to, messages)| links.send(to, messages)
        });
        Ok(Arc::new(DistantLinks { links, outwards }))
    }
}

struct DistantInbox(Way<PeerEvent>);

impl PeerInbox for DistantInbox {
    fn deliver(&self, event: PeerEvent) {
        self.0.go(event);
    }
}

struct DistantLinks {
    links: Arc<dyn PeerLinks>,
    outwards: Way<(NodeId, Vec<PeerMessage>)>,
}

impl PeerLinks for DistantLinks {
    fn send(&self, to: NodeId, messages: Vec<PeerMessage>) {
        self.outwards.go((to, messages));
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        self.links.set_peers(peers);
    }

    fn renew(&self) {
        self.links.renew();
    }

    fn shutdown(&self) {
        self.links.shutdown();
    }
}
