//! A client that sends bytes and reads answers, and knows nothing more of HTTP than it must.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take before a test has failed.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct Client<T = TcpStream> {
    pub(crate) stream: T,
    unread: Vec<u8>,
}

/// One answer, its header names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Checks that this is a whole problem with this status and code, and gives its document.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> serde_json::Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let document = self.json();
        assert_eq!((&document["code"], &document["status"]), (&code.into(), &status.into()), "{document}");
        assert!(document["type"].as_str().unwrap().ends_with(&format!("#{code}")));
        for text in ["title", "detail", "retry"] {
            assert!(!document[text].as_str().unwrap().is_empty(), "{document}");
        }
        document
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(BOUND, TcpStream::connect(address)).await.unwrap().unwrap();
        Client { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(BOUND, self.stream.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    pub(crate) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Reply {
        self.send(bytes).await;
        self.reply().await
    }
}

impl<T: AsyncRead + Unpin> Client<T> {
    /// The next answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        timeout(BOUND, self.read_reply(true)).await.expect("no answer in time").unwrap()
    }

    /// The next answer, to a HEAD: it has no body, whatever its length says.
    pub(crate) async fn reply_to_head(&mut self) -> Reply {
        timeout(BOUND, self.read_reply(false)).await.expect("no answer in time").unwrap()
    }

    /// What comes until the server closes.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        while timeout(BOUND, self.fill()).await.expect("not closed in time").is_ok() {}
        std::mem::take(&mut self.unread)
    }

    async fn read_reply(&mut self, has_body: bool) -> io::Result<Reply> {
        let head_bytes = loop {
            if let Some(end) = self.unread.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8(self.unread.drain(..head_bytes).collect()).unwrap();
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let field =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let mut reply = Reply { status, headers: lines.filter_map(field).collect(), body: Vec::new() };
        let body_bytes = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        if has_body {
            while self.unread.len() < body_bytes {
                self.fill().await?;
            }
            reply.body = self.unread.drain(..body_bytes).collect();
        }
        Ok(reply)
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The next answer from one half of a connection.
pub(crate) async fn reply_from(reader: impl AsyncRead + Unpin) -> Reply {
    Client { stream: reader, unread: Vec::new() }.reply().await
}

/// A whole request with a JSON body.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: boat\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) fn predict(body: &str) -> String {
    post("/predict", "", body)
}

/// A request without a body.
pub(crate) fn bare(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: boat\r\n\r\n")
}
