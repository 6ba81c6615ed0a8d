//! What anybody can do to the port that peers connect to.

use std::time::Duration;

use crate::peer::{Host, Peer, WITHIN, forward, until};
use boat_core::NodeId;
use boat_transport::TransportOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Whether the other side closes the connection, in an orderly way or not.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(WITHIN, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn garbage_is_closed_and_harms_nobody() {
    let (near, mut far) = (Peer::start(0).await, Peer::start(1).await);
    near.dial(1, &far.address);
    let long = vec![0xff; 100_000];
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03", &long] {
        let mut stream = TcpStream::connect(&far.address).await.unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(garbage).await;
        assert!(is_closed(&mut stream).await);
    }
    until("three were counted", || far.counters.inbound_closed() == 3).await;
    near.links.send(NodeId(1), vec![forward(1, 10)]);
    assert_eq!(far.forward().await, (0, 1));
}

#[tokio::test]
async fn too_many_handshakes_are_closed_at_once() {
    let options =
        TransportOptions { handshakes_max: 2, handshake_timeout: WITHIN * 10, ..TransportOptions::default() };
    let far = Peer::start_with("127.0.0.1:0", Host::new(1), options).await;
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(&far.address).await.unwrap());
    }
    let mut third = TcpStream::connect(&far.address).await.unwrap();
    assert!(is_closed(&mut third).await);
    assert_eq!(far.counters.inbound_closed(), 1);
    drop(silent);
    let mut near = Peer::start(0).await;
    near.dial(1, &far.address);
    assert_eq!(near.link_event().await, "1 connected", "there is room again");
}

#[tokio::test]
async fn a_silent_stranger_is_closed_in_time() {
    let options =
        TransportOptions { handshake_timeout: Duration::from_millis(50), ..TransportOptions::default() };
    let far = Peer::start_with("127.0.0.1:0", Host::new(1), options).await;
    let mut silent = TcpStream::connect(&far.address).await.unwrap();
    assert!(is_closed(&mut silent).await);
    assert_eq!(far.counters.inbound_closed(), 1);
}

#[tokio::test]
async fn too_many_connections_are_closed() {
    let options = TransportOptions { inbound_connections_max: 1, ..TransportOptions::default() };
    let far = Peer::start_with("127.0.0.1:0", Host::new(9), options).await;
    let (mut first, mut second) = (Peer::start(1).await, Peer::start(2).await);
    first.dial(9, &far.address);
    assert_eq!(first.link_event().await, "9 connected");
    second.dial(9, &far.address);
    assert_eq!(second.link_event().await, "9 connected");
    assert_eq!(second.link_event().await, "9 lost");
    assert!(far.counters.inbound_closed() > 0);
}
