use std::sync::Mutex;

use boat_core::transport::PeerMessage;
use boat_core::{Birth, ClusterId};
use tokio::io::{DuplexStream, duplex};

use super::*;

const WITHIN: Duration = Duration::from_secs(2);
const LIMIT: usize = 64 * 1024;

/// A node that refuses the peers it is told to refuse, and remembers whom it judged.
struct Host {
    node: NodeId,
    cluster: u128,
    judged: Mutex<Vec<Hello>>,
}

impl Host {
    fn new(node: u16, cluster: u128) -> Self {
        Host { node: NodeId(node), cluster, judged: Mutex::default() }
    }
}

/// A boot count that hosts take for a stale directory's.
const STALE_BOOT: u64 = 0;

impl Reception for Host {
    fn hello(&self) -> Hello {
        let cluster = Some(ClusterId(self.cluster));
        Hello { node: self.node, cluster, raft_id: None, birth: Birth(5), boot: 1, nonce: 9, log: None }
    }

    fn judge(&self, peer: &Hello) -> Result<(), Refusal> {
        self.judged.lock().unwrap().push(peer.clone());
        if peer.cluster != Some(ClusterId(self.cluster)) {
            return Err(Refusal::OtherCluster);
        }
        if peer.boot == STALE_BOOT { Err(Refusal::StaleDirectory) } else { Ok(()) }
    }
}

/// A host that comes from a stale directory.
struct Stale(Host);

impl Reception for Stale {
    fn hello(&self) -> Hello {
        Hello { boot: STALE_BOOT, ..self.0.hello() }
    }

    fn judge(&self, peer: &Hello) -> Result<(), Refusal> {
        self.0.judge(peer)
    }
}

type Ends = (Result<Hello, HandshakeError>, Result<Hello, HandshakeError>);

/// A handshake between `dialer`, who means to reach node `meant`, and `acceptor`.
async fn shake(dialer: &dyn Reception, meant: u16, acceptor: &dyn Reception) -> Ends {
    let (near, far) = duplex(LIMIT);
    // Each side is dropped once it is through, as its task would: the other one sees the end of the stream.
    let dial = async { Connection::new(near).dial(NodeId(meant), dialer, WITHIN).await };
    let welcome = async { Connection::new(far).welcome(acceptor, WITHIN).await };
    tokio::join!(dial, welcome)
}

#[tokio::test]
async fn two_nodes_of_a_cluster_accept_each_other() {
    let (dialer, acceptor) = (Host::new(1, 77), Host::new(2, 77));
    let (dialed, welcomed) = shake(&dialer, 2, &acceptor).await;
    assert_eq!(dialed.unwrap(), acceptor.hello());
    assert_eq!(welcomed.unwrap(), dialer.hello());
    assert_eq!(*dialer.judged.lock().unwrap(), [acceptor.hello()]);
    assert_eq!(*acceptor.judged.lock().unwrap(), [dialer.hello()]);
}

#[tokio::test]
async fn each_refusal_is_heard_by_the_dialer() {
    let acceptor = Host::new(2, 77);
    let cases: [(&dyn Reception, u16, Refusal); 3] = [
        (&Host::new(1, 78), 2, Refusal::OtherCluster),
        (&Host::new(1, 77), 3, Refusal::WrongNode),
        (&Stale(Host::new(1, 77)), 2, Refusal::StaleDirectory),
    ];
    for (dialer, meant, expected) in cases {
        let (dialed, welcomed) = shake(dialer, meant, &acceptor).await;
        assert!(matches!(dialed, Err(HandshakeError::RefusedThere(refusal)) if refusal == expected));
        assert!(matches!(welcomed, Err(HandshakeError::RefusedHere(refusal)) if refusal == expected));
    }
}

#[tokio::test]
async fn who_answers_a_dialer_and_is_refused_is_told_so() {
    let (near, far) = duplex(LIMIT);
    let dial = async { Connection::new(near).dial(NodeId(2), &Host::new(1, 77), WITHIN).await };
    let (old, mut connection) = (Stale(Host::new(2, 77)), Connection::new(far));
    let welcome = async {
        connection.welcome(&old, WITHIN).await.unwrap();
        let parting = connection.read_frame(LIMIT).await.unwrap().unwrap();
        assert_eq!(crate::wire::decode(parting).unwrap(), PeerMessage::Refused(Refusal::StaleDirectory));
        assert!(connection.read_frame(LIMIT).await.unwrap().is_none());
    };
    let (dialed, ()) = tokio::join!(dial, welcome);
    assert!(matches!(dialed, Err(HandshakeError::RefusedHere(Refusal::StaleDirectory))));
}

/// Answers a dialer with `answer`, whatever it says.
async fn dial_into(answer: &[u8]) -> Result<Hello, HandshakeError> {
    let (near, mut far) = duplex(LIMIT);
    far.write_all(answer).await.unwrap();
    Connection::new(near).dial(NodeId(2), &Host::new(1, 77), WITHIN).await
}

/// Sends `bytes` to an acceptor. Returns how its handshake ended, and what it answered.
async fn knock(bytes: &[u8]) -> (Result<Hello, HandshakeError>, Vec<u8>) {
    let (mut near, far) = duplex(LIMIT);
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let welcome = async { Connection::new(far).welcome(&Host::new(2, 77), WITHIN).await };
    let mut answer = Vec::new();
    let (welcomed, read) = tokio::join!(welcome, near.read_to_end(&mut answer));
    read.unwrap();
    (welcomed, answer)
}

fn opening() -> Vec<u8> {
    handshake::opening(&Host::new(1, 77), NodeId(2)).unwrap().to_vec()
}

#[tokio::test]
async fn the_dialer_judges_the_answer_too() {
    let answer_of = |host: Host| handshake::answer(&Answer::Hello(host.hello())).unwrap();
    let answers = [(Host::new(3, 77), Refusal::WrongNode), (Host::new(2, 78), Refusal::OtherCluster)];
    for (host, expected) in answers {
        let dialed = dial_into(&answer_of(host)).await;
        assert!(matches!(dialed, Err(HandshakeError::RefusedHere(refusal)) if refusal == expected));
    }
}

#[tokio::test]
async fn another_version_is_named_on_both_sides() {
    let mut newer = opening();
    newer[8] = 2;
    // What a later version puts behind its number may be anything.
    newer.extend_from_slice(&[0xff; 500]);
    let (welcomed, answer) = knock(&newer).await;
    assert!(matches!(welcomed, Err(HandshakeError::Version { theirs: 2 })));
    let dialed = dial_into(&answer).await.unwrap_err();
    assert!(matches!(dialed, HandshakeError::RefusedThere(Refusal::Version)), "{dialed}");

    let dialed = dial_into(&newer).await.unwrap_err();
    assert_eq!(dialed.refusal_of_us(), Some(Refusal::Version));
    assert_eq!(dialed.to_string(), "it speaks version 2 of the protocol, this node version 1");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up_in_time() {
    let start = tokio::time::Instant::now();
    let (near, _far) = duplex(LIMIT);
    let dialed = Connection::new(near).dial(NodeId(2), &Host::new(1, 77), WITHIN).await;
    assert!(matches!(dialed, Err(HandshakeError::TimedOut(WITHIN))));
    assert_eq!(start.elapsed(), WITHIN);

    let (mut slow, far) = duplex(LIMIT);
    let trickle = async {
        for byte in opening() {
            tokio::time::sleep(WITHIN / 16).await;
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    };
    let welcome = async { Connection::new(far).welcome(&Host::new(2, 77), WITHIN).await };
    let (welcomed, ()) = tokio::join!(welcome, trickle);
    assert!(matches!(welcomed, Err(HandshakeError::TimedOut(WITHIN))));
}

#[tokio::test]
async fn strangers_get_no_answer() {
    let (welcomed, answer) = knock(b"GET / HTTP/1.1\r\nHost: boat\r\n\r\n").await;
    assert!(matches!(welcomed, Err(HandshakeError::Magic(magic)) if magic == *b"GET / HT"));
    assert_eq!(answer, b"");
    let (welcomed, answer) = knock(b"").await;
    assert!(matches!(welcomed, Err(HandshakeError::Closed)));
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn a_length_of_4_gib_is_refused_by_its_head() {
    let mut huge = opening();
    huge[10..14].copy_from_slice(&u32::MAX.to_le_bytes());
    let (welcomed, answer) = knock(&huge).await;
    assert!(matches!(welcomed, Err(HandshakeError::Frame(FrameError::TooLong { .. }))));
    assert_eq!(answer, b"");
}

#[tokio::test]
async fn every_cut_and_every_flipped_bit_of_an_opening_fails() {
    let whole = opening();
    assert!(knock(&whole).await.0.is_ok());
    for cut in 0..whole.len() {
        let (welcomed, _) = knock(&whole[..cut]).await;
        assert!(matches!(welcomed, Err(HandshakeError::Closed)), "cut at {cut}");
    }
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(knock(&flipped).await.0.is_err(), "bit {bit}");
    }
}

async fn receiving(bytes: &[u8]) -> Connection<DuplexStream> {
    let (mut near, far) = duplex(LIMIT);
    near.write_all(bytes).await.unwrap();
    Connection::new(far)
}

#[tokio::test]
async fn the_end_of_a_stream_is_clean_only_between_frames() {
    let empty_frame = [&[0; 4][..], &crc32c::crc32c(&[0; 4]).to_le_bytes()].concat();
    let mut connection = receiving(&empty_frame).await;
    assert_eq!(connection.read_frame(LIMIT).await.unwrap(), Some(Bytes::new()));
    assert_eq!(connection.read_frame(LIMIT).await.unwrap(), None);
    let mut connection = receiving(&empty_frame[..5]).await;
    assert!(matches!(connection.read_frame(LIMIT).await, Err(ReceiveError::Truncated)));
}

#[tokio::test]
async fn a_length_reserves_only_what_one_read_may_take() {
    let announced = [&(1_u32 << 30).to_le_bytes()[..], &[0; 4]].concat();
    let mut connection = receiving(&announced).await;
    assert!(matches!(connection.read_frame(1 << 30).await, Err(ReceiveError::Truncated)));
    assert!(connection.received.capacity() <= 2 * READ_BYTES_MAX);
}
