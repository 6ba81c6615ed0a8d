//! The least of an HTTP/1.1 client: what it costs is taken from the cores that the server runs on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// How long a blocking exchange may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// A blocking client with one connection, for what is not measured.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    host: SocketAddr,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(address: SocketAddr) -> Result<Http> {
        let stream = TcpStream::connect_timeout(&address, EXCHANGE_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(EXCHANGE_MAX))?;
        Ok(Http { stream, host: address })
    }

    /// Gets a path.
    ///
    /// # Errors
    /// What the system says, or what is wrong with the answer.
    pub fn get(&mut self, path: &str) -> Result<Reply> {
        self.exchange(&request("GET", path, self.host, "", b""))
    }

    /// Sends bytes made by [`request`].
    ///
    /// # Errors
    /// See [`Http::get`].
    pub fn exchange(&mut self, request: &[u8]) -> Result<Reply> {
        self.stream.write_all(request)?;
        let mut received = Vec::new();
        let mut room = [0; 4096];
        loop {
            if let Some(head) = Head::read(&received)?
                && let Some(body) = received.get(head.head_bytes..head.whole_bytes())
            {
                return Ok(Reply { status: head.status, body: body.to_vec() });
            }
            let count = self.stream.read(&mut room)?;
            if count == 0 {
                return Err("the connection ended before the answer".into());
            }
            received.extend_from_slice(room.get(..count).unwrap_or_default());
        }
    }
}

/// The bytes of a request. `fields` are header lines, each with its end.
pub fn request(method: &str, path: &str, host: SocketAddr, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{fields}content-length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What an answer's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The answer's status.
    pub status: u16,
    /// How long the head is, its empty line included.
    pub head_bytes: usize,
    /// Whether it is the last answer on its connection.
    pub closes: bool,
    body_bytes: usize,
}

impl Head {
    /// Reads the head at the start of `received`; `None` until all of it is there.
    ///
    /// # Errors
    /// When it is none, or does not say how long its body is.
    pub fn read(received: &[u8]) -> Result<Option<Head>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if received.len() < ANSWER_BYTES_MAX { Ok(None) } else { Err("an endless head".into()) };
        };
        let text = std::str::from_utf8(received.get(..end).unwrap_or_default())?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status line")?;
        let length = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let closes = text.split("\r\n").any(|line| line.eq_ignore_ascii_case("connection: close"));
        let body_bytes = length.filter(|bytes| *bytes < ANSWER_BYTES_MAX).ok_or("no bearable length")?;
        Ok(Some(Head { status, head_bytes: end + 4, closes, body_bytes }))
    }

    /// How long the answer is with its body.
    pub fn whole_bytes(&self) -> usize {
        self.head_bytes + self.body_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\nok";
        assert_eq!(Head::read(&answer[..20]).unwrap(), None);
        let head = Head::read(answer).unwrap().unwrap();
        assert_eq!((head.status, head.whole_bytes(), head.closes), (200, answer.len(), false));
        let last = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        assert!(Head::read(last).unwrap().unwrap().closes);
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
