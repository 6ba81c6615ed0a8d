//! Bad input gets its status at once, and the node goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::WAIT_MAX;
use super::client::Client;
use super::ports::Ports;
use super::programs::one_node;

/// What is sent where a command or a prediction is expected.
const LONG: usize = 100 << 20;

/// How long a node of these tests waits for the rest of a request.
const SLOW_MS: &str = "300";

/// "At once": far below every time limit of a node, far above what an answer takes on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(5);

const JSON: &str = "content-type: application/json\r\n";

/// A connection on which anything can be sent.
struct Raw(TcpStream);

impl Raw {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_write_timeout(Some(WAIT_MAX)).unwrap();
        Raw(stream)
    }

    /// Sends, and gives status and text of the one answer.
    fn ask(address: SocketAddr, bytes: impl AsRef<[u8]>) -> (u16, String) {
        let mut raw = Raw::connect(address);
        raw.0.write_all(bytes.as_ref()).unwrap();
        raw.answer()
    }

    /// What comes until the node closes, or, if the head says how long the body is, until that is there.
    fn answer(&mut self) -> (u16, String) {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&text) {
            match self.0.read(&mut piece) {
                Ok(0) => break,
                Ok(bytes) => text.extend_from_slice(&piece[..bytes]),
                // Who sends more than is read is cut off, and may still find the answer before that.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && !text.is_empty() => break,
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&text)),
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status in {text:?}")), text)
    }
}

fn is_whole(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn message(method: &str, path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: boat\r\n{fields}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn bad_requests_get_their_status_at_once() {
    let ports = Ports::reserve();
    let (_directory, _node) = one_node(&ports, &[]);
    let address = ports.http(0);
    let long_head = format!("POST /predict HTTP/1.1\r\nhost: boat\r\n{JSON}content-length: {LONG}\r\n\r\n");
    let long_control = long_head.replace("/predict", "/control");
    let text = "content-type: text/plain\r\n";
    let post = |path: &str, fields: &str, body: &[u8]| message("POST", path, fields, body);
    let mut cases = vec![
        ("long prediction", long_head.into_bytes(), 413, "body_too_large"),
        ("long command", long_control.into_bytes(), 413, "body_too_large"),
        (
            "no key",
            post("/predict", "idempotency-key: \"\"\r\n", b"{\"input\":\"x\"}"),
            400,
            "invalid_request",
        ),
        ("number", post("/predict", JSON, b"{\"input\": 1}"), 400, "invalid_request"),
        ("no input", post("/predict", JSON, b"{}"), 400, "invalid_request"),
        ("number as command", post("/control", JSON, b"{\"cmd\": 1}"), 400, "invalid_request"),
        ("other command", post("/control", JSON, b"{\"cmd\": \"stay\"}"), 400, "invalid_request"),
        // A cluster of one would lose everything.
        ("exit", post("/control", JSON, b"{\"cmd\": \"exit\"}"), 409, "would_lose_quorum"),
        ("no such path", post("/predictions", JSON, b"{}"), 404, "not_found"),
    ];
    for path in ["/predict", "/control"] {
        cases.extend([
            ("wrong method", message("PUT", path, JSON, b"{}"), 405, "method_not_allowed"),
            ("no body", post(path, JSON, b""), 400, "invalid_request"),
            ("broken", post(path, JSON, b"{\"input\":"), 400, "\"column\":9"),
            ("binary", post(path, JSON, &[0, 255, 7, 128]), 400, "\"column\":"),
            ("other type", post(path, text, b"{\"input\":\"x\"}"), 415, "unsupported_media_type"),
        ]);
    }
    for path in ["/", "/status", "/livez", "/readyz", "/metrics"] {
        cases.push(("wrong method", message("POST", path, JSON, b"{}"), 405, "method_not_allowed"));
    }
    for (name, bytes, status, said) in cases {
        check_case(address, name, &bytes, status, said);
    }
    check_nothing_was_applied(address);
}

fn check_case(address: SocketAddr, name: &str, bytes: &[u8], status: u16, said: &str) {
    let asked = Instant::now();
    let (got, text) = Raw::ask(address, bytes);
    assert_eq!(got, status, "{name}: {text}");
    assert!(text.contains("content-type: application/problem+json") && text.contains(said), "{name}: {text}");
    assert!(asked.elapsed() < AT_ONCE, "{name}: {:?}", asked.elapsed());
}

/// The node's first prediction is what it would have been.
fn check_nothing_was_applied(address: SocketAddr) {
    let reply = Client::new(address).predict("first", "Hello").unwrap();
    // Behind what the cluster began with.
    assert_eq!(reply.header("boat-position"), Some("2"));
    assert_eq!(reply.json(), serde_json::json!({"query_id": 0, "output": "Hello", "default": false}));
}

#[test]
fn what_is_no_http_is_refused_and_cut_off() {
    let ports = Ports::reserve();
    let (_directory, _node) = one_node(&ports, &[]);
    let address = ports.http(0);
    let (status, text) = Raw::ask(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n");
    assert_eq!(status, 400, "{text}");
    let (status, text) = Raw::ask(address, format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)));
    assert!(matches!(status, 414 | 431), "{text}");
    check_nothing_was_applied(address);
}

#[test]
fn a_body_of_100_mib_is_refused_while_it_is_sent() {
    let ports = Ports::reserve();
    let (_directory, _node) = one_node(&ports, &[]);
    let address = ports.http(0);
    let announced = format!("content-length: {LONG}\r\n");
    for (fields, is_chunked) in [(announced.as_str(), false), ("transfer-encoding: chunked\r\n", true)] {
        for path in ["/predict", "/control"] {
            let mut raw = Raw::connect(address);
            let mut writer = raw.0.try_clone().unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nhost: boat\r\n{JSON}{fields}\r\n");
            writer.write_all(head.as_bytes()).unwrap();
            let (answered, is_answered) = channel();
            let sender = std::thread::spawn(move || send_long_body(writer, is_chunked, &is_answered));
            let (status, text) = raw.answer();
            assert_eq!(status, 413, "{path}, {fields}: {text}");
            // The node drops what still comes, or cuts it off.
            answered.send(()).unwrap();
            sender.join().unwrap();
        }
    }
    check_nothing_was_applied(address);
}

/// Sends half, and the rest only once there is an answer: a node that wants all of it first never gives one.
fn send_long_body(mut writer: TcpStream, is_chunked: bool, is_answered: &Receiver<()>) {
    const PIECE: usize = 1 << 16;
    let piece = vec![b' '; PIECE];
    let framed = match is_chunked {
        true => [format!("{PIECE:x}\r\n").as_bytes(), &piece, b"\r\n"].concat(),
        false => piece,
    };
    let mut half = || (0..LONG / 2).step_by(PIECE).all(|_| writer.write_all(&framed).is_ok());
    if half() && is_answered.recv_timeout(WAIT_MAX).is_ok() {
        half();
    }
}

#[test]
fn slow_senders_are_cut_off_and_hold_up_nobody() {
    let ports = Ports::reserve();
    let times = [("BOAT_BODY_TIMEOUT_MS", SLOW_MS), ("BOAT_HEADER_TIMEOUT_MS", SLOW_MS)];
    let (_directory, _node) = one_node(&ports, &times);
    let address = ports.http(0);
    let starts = [
        "POST /predict HTTP/1.1\r\nhost: boat\r\ncontent-length: 15\r\n\r\n{\"input\":",
        "POST /control HTTP/1.1\r\nhost: boat\r\ncontent-length: 15\r\n\r\n{\"cmd\":",
        "POST /predict HTTP/1.1\r\nhost: bo",
    ];
    let mut slow: Vec<Raw> = starts.iter().map(|_| Raw::connect(address)).collect();
    for (raw, start) in slow.iter_mut().zip(starts) {
        raw.0.write_all(start.as_bytes()).unwrap();
    }
    check_nothing_was_applied(address);
    for raw in &mut slow {
        let (status, text) = raw.answer();
        assert_eq!(status, 408, "{text}");
        assert!(text.contains("request_timeout"), "{text}");
    }
    assert_eq!(Client::new(address).get("/livez").unwrap().status, 200);
}
