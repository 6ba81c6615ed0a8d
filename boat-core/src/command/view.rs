//! Commands read in place: nothing is copied, allocated or counted, so a scan runs at the speed of memory.

use bytes::Bytes;

use super::decision::{BATCH, Decision};
use super::{Origin, Request, RequestKind, SessionRequest, VERSION};
use crate::codec::{Malformed, Reader, share};
use crate::digest::RequestHash;

/// A command that is read where it stands.
///
/// ```
/// use boat_core::{Command, CommandView, Origin, Request, RequestKind};
///
/// let request = Request { kind: RequestKind::Predict, origin: Origin::Opening(7), body: "3".into() };
/// let bytes = Command { stamp_ms: 1, seed: 2, requests: vec![request] }.encode();
/// let command = CommandView::new(&bytes)?;
/// assert_eq!((command.stamp_ms, command.seed), (1, 2));
/// for request in command.requests() {
///     assert_eq!(request?.body, b"3");
/// }
/// # Ok::<(), boat_core::Malformed>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CommandView<'a> {
    /// The leader's wall clock when it made the command, in milliseconds since the Unix epoch.
    pub stamp_ms: u64,
    /// Random, drawn by the leader: what the requests' random numbers come from.
    pub seed: u64,
    /// What the entry decides, if it carries a decision; it has no requests then.
    pub decision: Option<Decision>,
    requests: Requests<'a>,
}

impl<'a> CommandView<'a> {
    /// Reads what stands before the requests.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` do not begin a command of a known version. The requests are checked as they are read.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Result<CommandView<'a>, Malformed> {
        let mut reader = Reader::new(bytes, "command");
        let [version, kind, forced, _] = reader.array()?;
        if version != VERSION {
            return Err(Malformed("command version"));
        }
        let left = reader.u32()?;
        let (stamp_ms, seed) = (reader.u64()?, reader.u64()?);
        if kind != BATCH {
            // In the places of count and seed stand round and position.
            let decision = Some(Decision::from_parts(kind, forced, left, seed)?);
            let requests = Requests { reader, left: 0 };
            return Ok(CommandView { stamp_ms, seed: 0, decision, requests });
        }
        Ok(CommandView { stamp_ms, seed, decision: None, requests: Requests { reader, left } })
    }

    /// The requests, in order. The iterator ends with the first error: when the bytes are not exactly as many requests as
    /// the command claims.
    #[inline]
    pub fn requests(&self) -> Requests<'a> {
        self.requests
    }
}

/// The requests of a [`CommandView`].
#[derive(Debug, Clone, Copy)]
pub struct Requests<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl Requests<'_> {
    /// How many requests are left, at most: never more than the bytes that are left could hold.
    pub fn count_max(&self) -> usize {
        (self.left as usize).min(self.reader.rest_bytes() / REQUEST_HEAD_BYTES)
    }
}

impl<'a> Iterator for Requests<'a> {
    type Item = Result<RequestView<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            // Said once: what is left over is dropped.
            let rest = std::mem::replace(&mut self.reader, Reader::new(&[], "command"));
            return rest.finish().err().map(Err);
        };
        self.left = left;
        let request = RequestView::read(&mut self.reader);
        if request.is_err() {
            *self = Requests { reader: Reader::new(&[], "command"), left: 0 };
        }
        Some(request)
    }
}

/// The bytes before a request's origin.
const REQUEST_HEAD_BYTES: usize = 8;

/// A [`Request`] that is read where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestView<'a> {
    /// What is asked.
    pub kind: RequestKind,
    /// Whose it is.
    pub origin: OriginView<'a>,
    /// The request as its client sent it.
    pub body: &'a [u8],
}

/// An [`Origin`] that is read where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginView<'a> {
    /// See [`Origin::Opening`].
    Opening(u64),
    /// See [`Origin::Session`].
    Session {
        /// Which one.
        request: SessionRequest,
        /// The lowest number of the session that has no answer yet.
        lowest_unanswered: u64,
    },
    /// See [`Origin::Key`].
    Key(&'a [u8]),
}

impl<'a> RequestView<'a> {
    #[inline]
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<RequestView<'a>, Malformed> {
        let body_bytes = reader.u32()? as usize;
        let [kind, origin, key_low, key_high] = reader.array()?;
        let kind = RequestKind::from_byte(kind).ok_or(Malformed("request kind"))?;
        let origin = match origin {
            0 => OriginView::Opening(reader.u64()?),
            1 => {
                let [session, sequence, lowest_unanswered] = reader.numbers()?;
                OriginView::Session { request: SessionRequest { session, sequence }, lowest_unanswered }
            }
            2 => OriginView::Key(reader.slice(usize::from(u16::from_le_bytes([key_low, key_high])))?),
            _ => return Err(Malformed("request origin")),
        };
        Ok(RequestView { kind, origin, body: reader.slice(body_bytes)? })
    }

    /// The request as a value of its own, whose body and key are slices of `whole`, not copies.
    ///
    /// # Panics
    /// When the request was not read from `whole`.
    pub fn share(&self, whole: &Bytes) -> Request {
        Request { kind: self.kind, origin: self.origin.share(whole), body: share(whole, self.body) }
    }

    /// See [`Request::hash`].
    #[inline]
    pub fn hash(&self) -> RequestHash {
        RequestHash::of(self.kind as u8, self.body)
    }
}

impl OriginView<'_> {
    /// The origin as a value of its own, whose key is a slice of `whole`, not a copy.
    ///
    /// # Panics
    /// When the origin was not read from `whole`.
    pub fn share(&self, whole: &Bytes) -> Origin {
        match *self {
            OriginView::Opening(nonce) => Origin::Opening(nonce),
            OriginView::Session { request, lowest_unanswered } => {
                Origin::Session { request, lowest_unanswered }
            }
            OriginView::Key(key) => Origin::Key(share(whole, key)),
        }
    }
}
