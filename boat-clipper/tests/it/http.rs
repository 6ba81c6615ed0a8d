//! The least of an HTTP client that shows every byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// No answer takes longer, on the slowest machine.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// A head and a body, as they came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one message with a `Content-Length`, or nothing if the stream ends before its first byte.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    timeout(WAIT_MAX, read_message(stream)).await.expect("neither a message nor an end")
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Option<Message> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return None,
            Err(error) => panic!("broke off within {:?}: {error}", String::from_utf8_lossy(&head)),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    Some(Message { head, body })
}

pub(crate) fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Asks on a connection of its own. Nothing: the connection was closed without a byte.
pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Option<Message> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request(method, path, body)).await.unwrap();
    read(&mut stream).await
}
