//! What a user may set.

use std::collections::BTreeMap;
use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::TransportError;

/// Limits and times of a [`TcpTransport`](crate::TcpTransport).
///
/// ```
/// # use boat_transport::TransportOptions;
/// let options = TransportOptions { queue_messages_max: 1024, ..TransportOptions::default() };
/// assert!(options.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportOptions {
    /// How many messages may wait for one peer; more are dropped. Default 4096, at least 1.
    pub queue_messages_max: usize,
    /// How many bytes of messages may wait for one peer; more are dropped. Default 64 MiB, at least `frame_bytes_max`.
    pub queue_bytes_max: usize,
    /// The longest message, sent or received. It must hold the entries of one append (Raft's `max_size_per_msg`) and one
    /// entry more, and a piece of a snapshot (256 KiB). Default 16 MiB, 4 KiB to 1 GiB; the same on all nodes.
    pub frame_bytes_max: usize,
    /// How long to wait for a connection, name lookup included. Default 2 s.
    pub connect_timeout: Duration,
    /// How long a handshake may take, on either side. Default 2 s.
    pub handshake_timeout: Duration,
    /// How long one write may take, of up to 256 KiB and one message more, before the connection is closed. Default 30 s.
    pub write_timeout: Duration,
    /// After how long a connection is given up whose other machine does not answer at all. TCP's own probes see to it, in
    /// whole seconds. On Linux a peer that takes nothing in for so long is given up as well. Default 6 s, at least 4 s.
    pub silence_timeout: Duration,
    /// The longest wait before the first redial after a failure. It doubles with each failure. Default 10 ms, more than 0.
    pub redial_delay_min: Duration,
    /// The longest wait between two attempts to connect. Default 1 s, at least `redial_delay_min`.
    pub redial_delay_max: Duration,
    /// How many inbound connections may be in their handshake; more are closed at once. Default 64, at least 1.
    pub handshakes_max: usize,
    /// How many nodes may be connected to this one; more are closed. Default 128, at least 1.
    pub inbound_connections_max: usize,
    /// Where to dial some peers, `host:port`, instead of at their addresses as members: through a tunnel or a proxy. Default
    /// empty.
    pub routes: BTreeMap<NodeId, String>,
}

const FRAME_BYTES_MAX_RANGE: std::ops::RangeInclusive<usize> = 4 * 1024..=1024 * 1024 * 1024;
const SILENCE_TIMEOUT_MIN: Duration = Duration::from_secs(4);

impl Default for TransportOptions {
    fn default() -> Self {
        TransportOptions {
            queue_messages_max: 4096,
            queue_bytes_max: 64 * 1024 * 1024,
            frame_bytes_max: 16 * 1024 * 1024,
            connect_timeout: Duration::from_secs(2),
            handshake_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(6),
            redial_delay_min: Duration::from_millis(10),
            redial_delay_max: Duration::from_secs(1),
            handshakes_max: 64,
            inbound_connections_max: 128,
            routes: BTreeMap::new(),
        }
    }
}

impl TransportOptions {
    /// Whether each option is within its bounds.
    ///
    /// # Errors
    /// [`TransportError`] naming the first one that is not, and its bounds.
    pub fn check(&self) -> Result<(), TransportError> {
        let rules = [
            (self.queue_messages_max > 0, "queue_messages_max must be at least 1"),
            (
                self.queue_bytes_max >= self.frame_bytes_max,
                "queue_bytes_max must be at least frame_bytes_max",
            ),
            (
                FRAME_BYTES_MAX_RANGE.contains(&self.frame_bytes_max),
                "frame_bytes_max must be between 4 KiB and 1 GiB",
            ),
            (!self.connect_timeout.is_zero(), "connect_timeout must be more than 0"),
            (!self.handshake_timeout.is_zero(), "handshake_timeout must be more than 0"),
            (!self.write_timeout.is_zero(), "write_timeout must be more than 0"),
            (self.silence_timeout >= SILENCE_TIMEOUT_MIN, "silence_timeout must be at least 4 s"),
            (!self.redial_delay_min.is_zero(), "redial_delay_min must be more than 0"),
            (
                self.redial_delay_max >= self.redial_delay_min,
                "redial_delay_max must be at least redial_delay_min",
            ),
            (self.handshakes_max > 0, "handshakes_max must be at least 1"),
            (self.inbound_connections_max > 0, "inbound_connections_max must be at least 1"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(TransportError((*rule).to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut TransportOptions);

    #[test]
    fn each_bound_is_checked_and_named() {
        let cases: [(Change, &str); 12] = [
            (|options| options.queue_messages_max = 0, "queue_messages_max"),
            (|options| options.queue_bytes_max = options.frame_bytes_max - 1, "queue_bytes_max"),
            (|options| options.frame_bytes_max = 4095, "frame_bytes_max"),
            (|options| options.frame_bytes_max = (1 << 30) + 1, "queue_bytes_max"),
            (|options| options.connect_timeout = Duration::ZERO, "connect_timeout"),
            (|options| options.handshake_timeout = Duration::ZERO, "handshake_timeout"),
            (|options| options.write_timeout = Duration::ZERO, "write_timeout"),
            (|options| options.silence_timeout = Duration::from_secs(3), "silence_timeout"),
            (|options| options.redial_delay_min = Duration::ZERO, "redial_delay_min"),
            (|options| options.redial_delay_max = Duration::ZERO, "redial_delay_max"),
            (|options| options.handshakes_max = 0, "handshakes_max"),
            (|options| options.inbound_connections_max = 0, "inbound_connections_max"),
        ];
        assert!(TransportOptions::default().check().is_ok());
        for (change, named) in cases {
            let mut options = TransportOptions::default();
            change(&mut options);
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(named), "{error} names {named}");
        }
    }
}
