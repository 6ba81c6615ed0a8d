//! As much of Redis' protocol as a list needs.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Failure;

/// The list of changes that were made.
const CHANGES: &str = "boat:changes";

/// As long as Clipper waits between two tries to reach Redis.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// The longest line and the longest value that are read.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// A connection.
pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    /// Tries until it is there, as Clipper's frontends do.
    pub(crate) async fn connect(host: &str, port: u16) -> Redis {
        loop {
            match TcpStream::connect((host, port)).await {
                Ok(stream) => return Redis { stream: BufReader::new(stream) },
                Err(error) => log::warn!("Redis at {host}:{port}: {error}; trying again"),
            }
            tokio::time::sleep(RETRY_WAIT).await;
        }
    }

    /// Appends a change.
    pub(crate) async fn append(&mut self, change: &str) -> Result<(), Failure> {
        self.send(&["RPUSH", CHANGES, change]).await?;
        self.number(b':').await?;
        Ok(())
    }

    /// The changes from this one on, counted from 0.
    pub(crate) async fn changes(&mut self, from: usize) -> Result<Vec<String>, Failure> {
        self.send(&["LRANGE", CHANGES, &from.to_string(), "-1"]).await?;
        let count = self.number(b'*').await?;
        let mut changes = Vec::new();
        for _ in 0..count {
            let bytes = self.number(b'$').await?;
            let mut value = vec![0; bytes + 2];
            self.stream.read_exact(&mut value).await?;
            value.truncate(bytes);
            changes.push(String::from_utf8(value)?);
        }
        Ok(changes)
    }

    async fn send(&mut self, words: &[&str]) -> io::Result<()> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(command.as_bytes()).await
    }

    /// A line with a kind and a number.
    async fn number(&mut self, kind: u8) -> Result<usize, Failure> {
        let mut line = String::new();
        let mut limited = (&mut self.stream).take(VALUE_BYTES_MAX as u64);
        limited.read_line(&mut line).await?;
        let number = line.strip_prefix(char::from(kind)).and_then(|rest| rest.trim_end().parse().ok());
        let number: usize = number.ok_or_else(|| format!("Redis says {line:?}"))?;
        if number > VALUE_BYTES_MAX {
            return Err(format!("Redis says {line:?}, which is too much").into());
        }
        Ok(number)
    }
}
