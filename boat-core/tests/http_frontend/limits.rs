//! Clients that send too much, too slowly, or no HTTP.

use boat_core::http::HttpOptions;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::Frontend;
use crate::client::{BOUND, Client, bare, predict};
use crate::double::REQUEST_BYTES_MAX;

const HUGE_BYTES: usize = 100 << 20;
const PIECE_BYTES: usize = 64 << 10;

/// Sends `pieces` of a body as fast as the server lets it, while the answer is read; gives the answer.
async fn flood(mut client: Client, head: String, piece: Vec<u8>, pieces: usize) -> crate::client::Reply {
    client.send(head).await;
    let (reader, mut writer) = client.stream.into_split();
    let writing = tokio::spawn(async move {
        for _ in 0..pieces {
            if writer.write_all(&piece).await.is_err() {
                break;
            }
        }
        writer
    });
    let reply = crate::client::reply_from(reader).await;
    timeout(BOUND, writing).await.expect("the server neither reads nor closes").unwrap();
    reply
}

#[tokio::test]
async fn a_length_that_is_too_long_is_refused_before_the_body() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    for length in [REQUEST_BYTES_MAX + 1, HUGE_BYTES] {
        for expect in ["", "expect: 100-continue\r\n"] {
            let head =
                format!("POST /predict HTTP/1.1\r\nhost: b\r\n{expect}content-length: {length}\r\n\r\n");
            frontend.client().await.ask(head).await.problem(413, "body_too_large");
        }
    }
    let absurd = "POST /predict HTTP/1.1\r\nhost: b\r\ncontent-length: 18446744073709551615\r\n\r\n";
    assert_eq!(frontend.client().await.ask(absurd).await.status, 431);
    frontend.still_serves().await;
}

#[tokio::test]
async fn a_client_that_sends_100_mib_all_the_same_reads_its_answer() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let head = format!("POST /predict HTTP/1.1\r\nhost: b\r\ncontent-length: {HUGE_BYTES}\r\n\r\n");
    let pieces = HUGE_BYTES / PIECE_BYTES;
    flood(frontend.client().await, head, vec![b' '; PIECE_BYTES], pieces)
        .await
        .problem(413, "body_too_large");
    let head = "POST /predict HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    let mut chunk = format!("{PIECE_BYTES:x}\r\n").into_bytes();
    chunk.extend(vec![b' '; PIECE_BYTES]);
    chunk.extend(b"\r\n");
    flood(frontend.client().await, head, chunk, pieces).await.problem(413, "body_too_large");
    assert_eq!(frontend.double.applied().len(), 0);
    frontend.still_serves().await;
}

/// Many clients look for an answer only when they have sent all: to be cut off while sending is all they would ever see.
#[tokio::test]
async fn a_client_that_reads_only_when_it_has_sent_all_reads_its_answer() {
    const LONG_BYTES: usize = 16 << 20;
    let frontend = Frontend::start(HttpOptions::default()).await;
    let mut client = frontend.client().await;
    client.send(format!("POST /predict HTTP/1.1\r\nhost: b\r\ncontent-length: {LONG_BYTES}\r\n\r\n")).await;
    for _ in 0..LONG_BYTES / PIECE_BYTES {
        client.send([b' '; PIECE_BYTES]).await;
    }
    client.reply().await.problem(413, "body_too_large");
}

#[tokio::test]
async fn the_longest_body_is_taken_whole() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let body = format!("\"{}\"", "x".repeat(REQUEST_BYTES_MAX - 2));
    let reply = frontend.client().await.ask(predict(&body)).await;
    assert_eq!(reply.status, 200);
    let mut chunked = "POST /predict HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for piece in body.as_bytes().chunks(100_000) {
        chunked += &format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
    }
    let reply = frontend.client().await.ask(chunked + "0\r\n\r\n").await;
    assert_eq!(reply.status, 200);
    assert_eq!(frontend.double.applied(), [body.clone(), body]);
}

#[tokio::test]
async fn a_slow_body_gets_its_status_at_the_deadline() {
    let frontend = Frontend::start(HttpOptions { body_timeout_ms: 50, ..HttpOptions::default() }).await;
    let mut client = frontend.client().await;
    let started = Instant::now();
    let reply = client.ask("POST /predict HTTP/1.1\r\nhost: b\r\ncontent-length: 20\r\n\r\n{\"input\"").await;
    assert_eq!(reply.problem(408, "request_timeout")["retry"], "safe");
    assert!(started.elapsed().as_millis() >= 50);
    assert_eq!(client.until_closed().await, b"");
    assert_eq!(frontend.double.applied().len(), 0);
    frontend.still_serves().await;
}

#[tokio::test]
async fn a_slow_head_gets_its_status_at_the_deadline() {
    let frontend = Frontend::start(HttpOptions { header_timeout_ms: 50, ..HttpOptions::default() }).await;
    for half in ["P", "POST /predict HTTP/1.1\r\nhost: b\r\nx-slow: "] {
        let mut client = frontend.client().await;
        client.ask(half).await.problem(408, "request_timeout");
        assert_eq!(client.until_closed().await, b"");
    }
    frontend.still_serves().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let frontend = Frontend::start(HttpOptions { header_timeout_ms: 50, ..HttpOptions::default() }).await;
    assert_eq!(frontend.client().await.until_closed().await, b"");
    let mut client = frontend.client().await;
    assert_eq!(client.ask(bare("GET", "/")).await.status, 200);
    assert_eq!(client.until_closed().await, b"");
}

#[tokio::test]
async fn what_is_no_http_gets_a_bad_request() {
    let frontend = Frontend::start(HttpOptions::default()).await;
    let tls_hello = [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0, b'\r', b'\n', b'\r', b'\n'];
    let binary: Vec<u8> = (128..=255).cycle().take(10_000).collect();
    for bytes in [
        b"nonsense\r\n\r\n".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        &tls_hello,
        &binary,
    ] {
        let reply = frontend.client().await.ask(bytes).await;
        assert_eq!(reply.status, 400, "{:?}", String::from_utf8_lossy(bytes));
    }
    let bad_chunk = "POST /predict HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    frontend.client().await.ask(bad_chunk).await.problem(400, "invalid_request");
    frontend.still_serves().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let frontend = Frontend::start(HttpOptions { header_bytes_max: 4_096, ..HttpOptions::default() }).await;
    let fitting = format!("GET / HTTP/1.1\r\nhost: b\r\nx: {}\r\n\r\n", "x".repeat(3_500));
    assert_eq!(frontend.client().await.ask(fitting).await.status, 200);
    let long = format!("GET / HTTP/1.1\r\nhost: b\r\nx: {}\r\n\r\n", "x".repeat(5_000));
    assert_eq!(frontend.client().await.ask(long).await.status, 431);
    let many = format!("GET / HTTP/1.1\r\nhost: b\r\n{}\r\n", "x: y\r\n".repeat(500));
    assert_eq!(frontend.client().await.ask(many).await.status, 431);
    let path = format!("GET /{} HTTP/1.1\r\nhost: b\r\n\r\n", "x".repeat(5_000));
    assert!([414, 431].contains(&frontend.client().await.ask(path).await.status));
    // The limit is the head's: a body in the same packet may be longer.
    let body = format!("\"{}\"", "x".repeat(20_000));
    assert_eq!(frontend.client().await.ask(predict(&body)).await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_half_way_leaves_nothing_behind() {
    let frontend = Frontend::start(HttpOptions { connections_max: 1, ..HttpOptions::default() }).await;
    for half in ["POST /predict HTTP/1.1\r\nhost: b\r\ncontent-length: 20\r\n\r\n{", "POST /pre", ""] {
        let mut client = frontend.client().await;
        client.send(half).await;
        client.stream.shutdown().await.unwrap();
        client.until_closed().await;
    }
    assert_eq!(frontend.double.applied().len(), 0);
}
