//! The HTTP frontend's limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::bound;
use super::{Checked, ConfigError};

/// Section `[http]`: what the frontend grants its clients. How long a request may be stands in
/// [`Limits::request_bytes_max`](super::Limits::request_bytes_max).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpOptions {
    /// Whether `POST /control` exists. It lets whoever reaches this machine's loopback interface wipe the node. Default
    /// false.
    pub allow_control: bool,
    /// Whether `POST` and `DELETE` under `/admin/members` and `/admin/leader` are answered. They let whoever reaches this
    /// machine's loopback interface change who takes part. Default false.
    pub allow_admin: bool,
    /// How long a request waits for its outcome when it does not say, in milliseconds. Default 10,000; 1 to
    /// `request_timeout_ms_max`.
    pub request_timeout_ms: u64,
    /// How long a request may ask to wait (`Prefer: wait=SECONDS`), in milliseconds; more is cut to this. Default 60,000;
    /// 1 to 3,600,000.
    pub request_timeout_ms_max: u64,
    /// How long a client may take to send a request's head, in milliseconds; also how long an idle connection is kept.
    /// Default 30,000; 1 to 600,000.
    pub header_timeout_ms: u64,
    /// How long a client may take to send a request's body, in milliseconds; then it gets 408. Default 10,000; 1 to
    /// 600,000.
    pub body_timeout_ms: u64,
    /// How long a client may take no byte of an answer before its connection is cut, in milliseconds. Default 10,000; 1 to
    /// 600,000.
    pub write_timeout_ms: u64,
    /// How long a shutdown waits for the answers in flight, in milliseconds. Default 4,000; 0 to 600,000.
    pub shutdown_timeout_ms: u64,
    /// How many bytes a request's head may have, request line included. Default 16 KiB; 1 KiB to 256 KiB.
    pub header_bytes_max: usize,
    /// How many connections are served at a time; one more is answered 503 and closed. Default 1,024; 1 to 65,536.
    pub connections_max: u32,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            allow_control: false,
            allow_admin: false,
            request_timeout_ms: 10_000,
            request_timeout_ms_max: 60_000,
            header_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            write_timeout_ms: 10_000,
            shutdown_timeout_ms: 4_000,
            header_bytes_max: 16 << 10,
            connections_max: 1_024,
        }
    }
}

impl HttpOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// [`ConfigError`] names the first field that is out of bounds.
    pub fn check(self) -> Result<Checked<Self>, ConfigError> {
        bound("http.request_timeout_ms_max", self.request_timeout_ms_max, 1..=3_600_000)?;
        bound("http.request_timeout_ms", self.request_timeout_ms, 1..=self.request_timeout_ms_max)?;
        bound("http.header_timeout_ms", self.header_timeout_ms, 1..=600_000)?;
        bound("http.body_timeout_ms", self.body_timeout_ms, 1..=600_000)?;
        bound("http.write_timeout_ms", self.write_timeout_ms, 1..=600_000)?;
        bound("http.shutdown_timeout_ms", self.shutdown_timeout_ms, 0..=600_000)?;
        bound("http.header_bytes_max", self.header_bytes_max, 1 << 10..=256 << 10)?;
        bound("http.connections_max", self.connections_max, 1..=1 << 16)?;
        Ok(Checked::vouch(self))
    }

    /// How long a client may take to send a request's head, or be idle.
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// How long a client may take to send a request's body.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// How long a client may take no byte of an answer.
    pub fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    /// How long a shutdown waits for the answers in flight.
    pub fn shutdown_timeout(&self) -> Duration {
        Duration::from_millis(self.shutdown_timeout_ms)
    }

    /// How long a request waits that asks for `wait_seconds`, or for nothing.
    pub fn request_timeout(&self, wait_seconds: Option<u64>) -> Duration {
        let wait_ms = wait_seconds.map(|seconds| seconds.saturating_mul(1_000));
        Duration::from_millis(wait_ms.unwrap_or(self.request_timeout_ms).min(self.request_timeout_ms_max))
    }
}
