//! What an entry carries: a batch of requests, stamped with the leader's time and a random seed, or one decision.
//!
//! ```text
//! command  | version u8 = 1 | kind u8 = 0 | reserved u8 x2 | count u32 | stamp_ms u64 | seed u64 | count x request |
//! decision | version u8 = 1 | kind u8 = 1 or 2 | forced u8 | reserved u8 | round u32 | stamp_ms u64 | position u64 |
//! request  | body_bytes u32 | kind u8 | origin u8 | key_bytes u16 | origin's fields | key | body |
//! origin 0 | nonce u64 | (a session is opened)
//! origin 1 | session u64 | sequence u64 | lowest_unanswered u64 |
//! origin 2 | (a key: key_bytes of it)
//! ```
//! A decision of kind 1 quarantines the request at its position, one of kind 2 has it tried again.
//!
//! All integers are little-endian. An empty entry is Raft's own and carries no command.

use bytes::Bytes;

pub use self::decision::Decision;
pub use self::view::{CommandView, OriginView, RequestView, Requests};
use crate::codec::{Malformed, Reader};
use crate::digest::RequestHash;

mod decision;
mod view;

/// The version that [`Command`]s are written with.
const VERSION: u8 = 1;
/// Bytes before the first request.
pub(crate) const COMMAND_HEAD_BYTES: usize = 24;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RequestKind {
    /// A prediction.
    Predict = 0,
    /// What turned out to be true, for a model that learns.
    Feedback = 1,
    /// A change of the backend's configuration.
    Configure = 2,
    /// A session is opened. Its position is the session's id; no predictor sees it.
    OpenSession = 3,
}

impl RequestKind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(RequestKind::Predict),
            1 => Some(RequestKind::Feedback),
            2 => Some(RequestKind::Configure),
            3 => Some(RequestKind::OpenSession),
            _ => None,
        }
    }
}

/// A request's place in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionRequest {
    /// The session: the position of its opening.
    pub session: u64,
    /// The request's number in the session.
    pub sequence: u64,
}

impl std::fmt::Display for SessionRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.session, self.sequence)
    }
}

/// Whose request it is: what makes a retry recognizable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The opening of a session, told from others by a random number of the opener's.
    Opening(u64),
    /// A request of a session.
    Session {
        /// Which one.
        request: SessionRequest,
        /// The lowest number of the session that has no answer yet; outcomes below are forgotten. At most `sequence`.
        lowest_unanswered: u64,
    },
    /// A request under a client's own key (`Idempotency-Key`), already scoped by the caller's token.
    Key(Bytes),
}

/// One prediction, feedback or configuration change, with its client's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub kind: RequestKind,
    /// Whose it is.
    pub origin: Origin,
    /// The request as its client sent it.
    pub body: Bytes,
}

impl Request {
    /// How many bytes [`Request::encode`] appends.
    pub fn encoded_bytes(&self) -> usize {
        let origin = match &self.origin {
            Origin::Opening(_) => 8,
            Origin::Session { .. } => 24,
            Origin::Key(key) => key.len(),
        };
        8 + origin + self.body.len()
    }

    /// Appends the request as it stands in a command.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.body.len() as u32).to_le_bytes());
        out.push(self.kind as u8);
        match &self.origin {
            Origin::Opening(nonce) => {
                out.extend_from_slice(&[0, 0, 0]);
                out.extend_from_slice(&nonce.to_le_bytes());
            }
            Origin::Session { request, lowest_unanswered } => {
                out.extend_from_slice(&[1, 0, 0]);
                out.extend_from_slice(&request.session.to_le_bytes());
                out.extend_from_slice(&request.sequence.to_le_bytes());
                out.extend_from_slice(&lowest_unanswered.to_le_bytes());
            }
            Origin::Key(key) => {
                out.push(2);
                out.extend_from_slice(&(key.len() as u16).to_le_bytes());
                out.extend_from_slice(key);
            }
        }
        out.extend_from_slice(&self.body);
    }

    /// Reads one request that fills `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` are not exactly one request.
    pub fn decode(bytes: &Bytes) -> Result<Request, Malformed> {
        let mut reader = Reader::new(bytes, "request");
        let request = RequestView::read(&mut reader)?;
        reader.finish()?;
        Ok(request.share(bytes))
    }

    /// What stands for this request when a retry is compared with it.
    pub fn hash(&self) -> RequestHash {
        RequestHash::of(self.kind as u8, &self.body)
    }
}

/// A batch of requests: one entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The leader's wall clock when it made the command, in milliseconds since the Unix epoch.
    pub stamp_ms: u64,
    /// Random, drawn by the leader: what the requests' random numbers come from.
    pub seed: u64,
    /// The requests, in order.
    pub requests: Vec<Request>,
}

/// Requests that [`Request::encode`] wrote one behind the other, as they stand in one command.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    count: u32,
}

impl Packed {
    /// Empty again, with the room it has.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends a request, unless all together would take more than `bytes_max`. One always fits.
    pub(crate) fn push(&mut self, encoded_request: &[u8], bytes_max: usize) -> bool {
        let fits = self.is_empty() || self.bytes.len() + encoded_request.len() <= bytes_max;
        if fits {
            self.bytes.extend_from_slice(encoded_request);
            self.count += 1;
        }
        fits
    }

    /// The command of these requests.
    pub(crate) fn to_command(&self, stamp_ms: u64, seed: u64) -> Vec<u8> {
        let mut command = Vec::with_capacity(COMMAND_HEAD_BYTES + self.bytes.len());
        command.extend_from_slice(&[VERSION, 0, 0, 0]);
        command.extend_from_slice(&self.count.to_le_bytes());
        command.extend_from_slice(&stamp_ms.to_le_bytes());
        command.extend_from_slice(&seed.to_le_bytes());
        command.extend_from_slice(&self.bytes);
        command
    }
}

impl Command {
    /// Reads a command. Bodies and keys are slices of `bytes`, not copies. Of a [`Decision`] it reads the stamp, and no
    /// requests.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` are not exactly one command of a known version.
    pub fn decode(bytes: &Bytes) -> Result<Command, Malformed> {
        let view = CommandView::new(bytes)?;
        let mut requests = Vec::with_capacity(view.requests().count_max());
        for request in view.requests() {
            requests.push(request?.share(bytes));
        }
        Ok(Command { stamp_ms: view.stamp_ms, seed: view.seed, requests })
    }

    /// The command as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut packed = Packed::default();
        self.requests.iter().for_each(|request| request.encode(&mut packed.bytes));
        packed.count = self.requests.len() as u32;
        packed.to_command(self.stamp_ms, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn request() -> impl Strategy<Value = Request> {
        let kind = prop_oneof![
            Just(RequestKind::Predict),
            Just(RequestKind::Feedback),
            Just(RequestKind::Configure),
            Just(RequestKind::OpenSession)
        ];
        let origin = prop_oneof![
            any::<u64>().prop_map(Origin::Opening),
            any::<(u64, u64, u64)>().prop_map(|(session, sequence, lowest_unanswered)| Origin::Session {
                request: SessionRequest { session, sequence },
                lowest_unanswered
            }),
            vec(any::<u8>(), 0..300).prop_map(|key| Origin::Key(key.into()))
        ];
        (kind, origin, vec(any::<u8>(), 0..100)).prop_map(|(kind, origin, body)| Request {
            kind,
            origin,
            body: body.into(),
        })
    }

    fn command() -> impl Strategy<Value = Command> {
        (any::<u64>(), any::<u64>(), vec(request(), 0..5)).prop_map(|(stamp_ms, seed, requests)| Command {
            stamp_ms,
            seed,
            requests,
        })
    }

    proptest! {
        #[test]
        fn a_command_reads_back_as_it_was_written(command in command()) {
            let bytes = Bytes::from(command.encode());
            prop_assert_eq!(Command::decode(&bytes), Ok(command));
        }

        #[test]
        fn a_request_knows_its_size(request in request()) {
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), request.encoded_bytes());
            prop_assert_eq!(Request::decode(&bytes.into()), Ok(request));
        }

        #[test]
        fn a_cut_command_is_an_error(command in command(), keep in 0.0..1.0) {
            let bytes = Bytes::from(command.encode());
            let keep = (bytes.len() as f64 * keep) as usize;
            prop_assert!(Command::decode(&bytes.slice(..keep)).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(&bytes.into());
        }
    }
}
