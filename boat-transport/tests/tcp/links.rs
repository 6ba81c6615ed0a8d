//! Messages, losses, redials and the limits of a link.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::{PeerEvent, PeerInbox, PeerMessage, Reception, Transport};
use boat_transport::{TcpTransport, TransportOptions};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::peer::{CLUSTER, Host, Peer, WITHIN, forward, until};

#[tokio::test]
async fn three_nodes_hear_each_other_in_order() {
    const MESSAGES: u64 = 500;
    let mut peers = [Peer::start(0).await, Peer::start(1).await, Peer::start(2).await];
    let addresses: Vec<_> =
        peers.iter().zip(0..).map(|(peer, number)| (NodeId(number), peer.address.clone())).collect();
    for peer in &mut peers {
        // A node's own address in the list is no peer.
        peer.links.set_peers(addresses.clone());
        let mut connected = [peer.link_event().await, peer.link_event().await];
        connected.sort();
        let own = peer.host.hello().node.to_string();
        assert!(connected.iter().all(|event| event.ends_with(" connected") && !event.starts_with(&own)));
    }
    for peer in &peers {
        for to in 0..3 {
            for first in (0..MESSAGES).step_by(10) {
                // Short and long payloads take different ways.
                let batch = (first..first + 10).map(|n| forward(n, 1 << (n % 14)));
                peer.links.send(NodeId(to), batch.collect());
            }
        }
    }
    for (peer, own) in peers.iter_mut().zip(0_u16..) {
        let mut expected = [0_u64; 3];
        for _ in 0..2 * MESSAGES {
            let (from, ticket) = peer.forward().await;
            assert_ne!(from, own);
            assert_eq!(ticket, expected[usize::from(from)], "from {from} to {own}");
            expected[usize::from(from)] += 1;
        }
        assert_eq!(peer.counters.messages_received(), 2 * MESSAGES);
        assert_eq!(peer.counters.messages_dropped(), MESSAGES, "what it sent to itself");
    }
}

#[tokio::test]
async fn long_messages_arrive_as_they_were_sent() {
    let (near, mut far) = (Peer::start(0).await, Peer::start(1).await);
    near.dial(1, &far.address);
    let limit = TransportOptions::default().frame_bytes_max;
    let sent = [forward(1, limit - 100), forward(2, limit + 1), forward(3, 1)];
    near.links.send(NodeId(1), sent.to_vec());
    for expected in [&sent[0], &sent[2]] {
        let PeerEvent::Message { message, .. } = far.event().await else { panic!("a message was sent") };
        assert!(message == *expected);
    }
    assert_eq!(near.counters.messages_dropped(), 1, "the one that is too long for a frame");
}

#[tokio::test]
async fn a_peer_that_ends_is_lost_then_refused_once_and_found_again() {
    let (mut near, far) = (Peer::start(0).await, Peer::start(1).await);
    let address = far.address.clone();
    near.dial(1, &address);
    assert_eq!(near.link_event().await, "1 connected");
    far.links.shutdown();
    drop(far);
    assert_eq!(near.link_event().await, "1 lost");
    assert_eq!(near.link_event().await, "1 refused");

    let failed = near.counters.dials_failed();
    until("several more redials", || near.counters.dials_failed() > failed + 3).await;
    let mut far = Peer::start_with(&address, Host::new(1), TransportOptions::default()).await;
    assert_eq!(near.link_event().await, "1 connected", "no redial in between was reported");
    near.links.send(NodeId(1), vec![forward(7, 10)]);
    assert_eq!(far.forward().await, (0, 7));
}

#[tokio::test]
async fn a_closed_port_refuses_and_what_waited_for_it_is_dropped() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut near = Peer::start(0).await;
    near.dial(1, &closed);
    near.links.send(NodeId(1), vec![forward(1, 10), forward(2, 10)]);
    assert_eq!(near.link_event().await, "1 refused");
    assert_eq!(near.counters.messages_dropped(), 2);
}

#[tokio::test]
async fn whoever_is_dialed_dials_back_at_once() {
    let day = Duration::from_secs(24 * 60 * 60);
    let options = TransportOptions { redial_delay_min: day, redial_delay_max: day, ..Default::default() };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut near = Peer::start_with("127.0.0.1:0", Host::new(0), options).await;
    near.dial(1, &closed);
    assert_eq!(near.link_event().await, "1 refused");
    let far = Peer::start_with(&closed, Host::new(1), TransportOptions::default()).await;
    far.dial(0, &near.address);
    assert_eq!(near.link_event().await, "1 connected", "long before its own redial");
}

#[tokio::test]
async fn a_full_queue_drops_what_comes_last() {
    // Accepts connections into its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = TransportOptions { queue_messages_max: 10, ..TransportOptions::default() };
    let near = Peer::start_with("127.0.0.1:0", Host::new(0), options).await;
    near.dial(1, &silent.local_addr().unwrap().to_string());
    for ticket in 0..25 {
        near.links.send(NodeId(1), vec![forward(ticket, 10)]);
    }
    assert_eq!(near.counters.messages_dropped(), 15);
}

#[tokio::test]
async fn renewing_shows_the_new_hello_on_both_directions() {
    let (mut near, mut far) = (Peer::start(0).await, Peer::start(1).await);
    near.dial(1, &far.address);
    far.dial(0, &near.address);
    assert_eq!(near.link_event().await, "1 connected");
    assert_eq!(far.link_event().await, "0 connected");

    near.host.join(CLUSTER);
    near.links.renew();
    near.links.send(NodeId(1), vec![forward(1, 10)]);
    assert_eq!(near.link_event().await, "1 lost");
    assert_eq!(near.link_event().await, "1 connected");
    let (mut messages, mut hellos) = (Vec::new(), Vec::new());
    while messages.is_empty() || hellos.is_empty() {
        match far.event().await {
            PeerEvent::Message { from_raft_id, .. } => messages.push(from_raft_id),
            PeerEvent::Connected(hello) => hellos.push(hello),
            PeerEvent::Disconnected { .. } => (),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(messages, [near.host.hello().raft_id]);
    assert_eq!(hellos, [near.host.hello()]);
}

#[tokio::test]
async fn peers_may_move_and_go() {
    let (mut near, old, mut new) = (Peer::start(0).await, Peer::start(1).await, Peer::start(1).await);
    near.dial(1, &old.address);
    assert_eq!(near.link_event().await, "1 connected");
    near.dial(1, &new.address);
    assert_eq!(near.link_event().await, "1 lost");
    assert_eq!(near.link_event().await, "1 connected");
    near.links.send(NodeId(1), vec![forward(4, 10)]);
    assert_eq!(new.forward().await, (0, 4));

    near.dial(1, &new.address);
    near.links.send(NodeId(1), vec![forward(5, 10)]);
    assert_eq!(new.forward().await, (0, 5), "the same address keeps its connection");
    near.links.set_peers(Vec::new());
    assert_eq!(near.link_event().await, "1 lost");
    near.links.send(NodeId(1), vec![forward(6, 10)]);
    assert_eq!(near.counters.messages_dropped(), 1);
}

#[tokio::test]
async fn refusals_are_reported() {
    let (mut near, far) = (Peer::start(0).await, Peer::start(1).await);
    near.dial(2, &far.address);
    assert_eq!(near.link_event().await, "2 refuses: another node answers at this address");
    near.host.join(boat_core::ClusterId(1));
    near.dial(1, &far.address);
    assert_eq!(near.link_event().await, "1 refuses: it belongs to another cluster");
    assert_eq!(near.link_event().await, "1 refuses: it belongs to another cluster", "it keeps trying");
}

#[tokio::test]
async fn a_second_connection_of_a_node_replaces_the_first() {
    let (far, mut first, mut second) = (Peer::start(0).await, Peer::start(1).await, Peer::start(1).await);
    first.dial(0, &far.address);
    assert_eq!(first.link_event().await, "0 connected");
    second.dial(0, &far.address);
    assert_eq!(second.link_event().await, "0 connected");
    assert_eq!(first.link_event().await, "0 lost");
}

/// An inbox that takes no message until the other end of its channel is dropped.
struct Stuck {
    until_dropped: Mutex<mpsc::Receiver<()>>,
    tickets: UnboundedSender<u64>,
}

impl PeerInbox for Stuck {
    fn deliver(&self, event: PeerEvent) {
        if let PeerEvent::Message { message: PeerMessage::Forward(forward), .. } = event {
            // Nothing is ever sent: this waits for the drop, and not at all after it.
            let _ = self.until_dropped.lock().unwrap().recv();
            let _ = self.tickets.send(forward.ticket);
        }
    }
}

/// Runs node 1 with this inbox on a thread of its own, until `stop` ends. Returns its address.
fn start_stuck_node(inbox: Stuck, stop: oneshot::Receiver<()>) -> String {
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let transport = TcpTransport::bind("127.0.0.1:0").await.unwrap();
            sender.send(transport.local_address().to_string()).unwrap();
            let _links = transport.start(Host::new(1), Arc::new(inbox)).unwrap();
            let _ = stop.await;
        });
    });
    address.recv().unwrap()
}

#[tokio::test]
async fn a_stuck_peer_blocks_nobody() {
    const LONG: usize = 1 << 20;
    const QUEUE: u64 = 32;
    let (release, until_dropped) = mpsc::channel();
    let (ticket_sender, mut tickets) = unbounded_channel();
    let (_running, stop) = oneshot::channel();
    let inbox = Stuck { until_dropped: Mutex::new(until_dropped), tickets: ticket_sender };
    let stuck_address = start_stuck_node(inbox, stop);
    let options = TransportOptions { queue_messages_max: QUEUE as usize, ..TransportOptions::default() };
    let mut near = Peer::start_with("127.0.0.1:0", Host::new(0), options).await;
    let mut well = Peer::start(2).await;
    near.links.set_peers(vec![(NodeId(1), stuck_address), (NodeId(2), well.address.clone())]);
    near.link_event().await;
    near.link_event().await;

    // More than the sockets' buffers hold, until the queue behind them is full.
    let mut sent = 0;
    while near.counters.messages_dropped() == 0 {
        near.links.send(NodeId(1), vec![forward(sent, LONG)]);
        near.links.send(NodeId(2), vec![forward(sent, 10)]);
        assert_eq!(well.forward().await, (0, sent));
        sent += 1;
    }
    assert!(sent > QUEUE);
    drop(release);
    for expected in 0..sent - 1 {
        assert_eq!(timeout(WITHIN, tickets.recv()).await.unwrap(), Some(expected));
    }
}

#[tokio::test]
async fn shutting_down_frees_the_port_and_ends_connections_and_tasks() {
    let (mut near, mut far) = (Peer::start(0).await, Peer::start(1).await);
    near.dial(1, &far.address);
    far.dial(0, &near.address);
    assert_eq!(near.link_event().await, "1 connected");
    assert_eq!(far.link_event().await, "0 connected");
    near.links.shutdown();
    assert_eq!(near.link_event().await, "1 lost");
    assert_eq!(far.link_event().await, "0 lost");
    assert_eq!(far.link_event().await, "0 refused");
    TcpTransport::bind(&near.address).await.unwrap();

    near.dial(1, &far.address);
    drop(near.links);
    let ended = timeout(WITHIN, near.events.recv()).await.unwrap();
    assert!(ended.is_none(), "no task is left that could deliver, and none starts after a shutdown");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let near = Peer::start(0).await;
    let error = TcpTransport::bind(&near.address).await.unwrap_err().to_string();
    assert!(error.contains(&near.address) && error.contains("in use"), "{error}");
    let error = TcpTransport::bind("nowhere").await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[tokio::test]
async fn one_that_is_dialed_hears_that_it_is_refused() {
    let (near, mut far) = (Peer::start(0).await, Peer::start(1).await);
    far.host.grow_old();
    near.dial(1, &far.address);
    assert!(far.link_event().await.starts_with("0 refuses: its directory is stale"));
}
