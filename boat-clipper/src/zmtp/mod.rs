//! ZeroMQ's wire protocol, ZMTP 3.0 with the mechanism NULL: as much of it as a ROUTER and a DEALER over TCP need.
//!
//! It is Boat's own because what strangers send must not make a node reserve memory: the crate `zeromq` (0.7) reserves
//! whatever length a frame announces, and puts no bound on the frames of a message. Here both are bounded before anything
//! is reserved, and a connection that ends is seen at once. libzmq and pyzmq are the yardstick of the tests.
//!
//! ```text
//! greeting | ff 00 x8 7f | 03 00 (version) | "NULL" + 00 x16 | 00 (as server) | 00 x31 |
//! READY    | 04 (a command) | bytes u8 | 05 "READY" | count x property |
//! property | name_bytes u8 | name | value_bytes u32, big-endian | value |
//! frame    | flags u8: 1 more follow, 2 long, 4 command | bytes u8, or u64 big-endian where long | body |
//! ```

mod connection;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod greeting;

pub(crate) use self::connection::{Incoming, Outgoing, handshake};
pub(crate) use self::frame::Limits;
pub(crate) use self::greeting::SocketType;

/// The frames of one message.
pub(crate) type Message = Vec<bytes::Bytes>;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZmtpError {
    /// The peer closed it, or the network did.
    #[error("the connection ended: {0}")]
    Ended(#[from] std::io::Error),
    /// The peer speaks something else.
    #[error("the peer does not speak ZMTP 3 with mechanism NULL: {0}")]
    Foreign(&'static str),
    /// A message is longer than allowed.
    #[error("a message of more than {bytes_max} bytes or {frames_max} frames")]
    TooLong {
        /// The limit in bytes.
        bytes_max: usize,
        /// The limit in frames.
        frames_max: usize,
    },
}
