//! The applier's state as the sections of a snapshot.
//!
//! ```text
//! section  tag u32, payload (how they stand in a file: docs/log-format.md)
//! 16       position u64 | predictions u64 | index u64 | term u64 | digest u128
//!          | time_ms u64 | age_ms u64 | has a stamp u8 | stamp_ms u64
//! 17       a session: id u64 | term u64 | secret u64 | active_age_ms u64 | outcomes_max u32 | lowest u64 | end u64
//! 18       outcomes of the session before: n x (sequence u64 | hash u128 | outcome)
//! 19       keys, oldest first: n x (came_age_ms u64 | key_bytes u16 | key | hash u128 | outcome)
//! outcome  position u64 | term u64 | kind u8 (0 output, 1 rejection, 2 quarantined) | bytes u32 | that many bytes
//! ```
//! Sections 18 and 19 may stand several times, so that none is long. What is added to the state gets a tag of its own; a
//! reader refuses tags that it does not know, because what it left out would be missing on this node alone.

use std::io;

use bytes::Bytes;

use super::session::Session;
use super::window::Window;
use super::{Applier, Outcome, SessionLimits};
use crate::CallOutcome;
use crate::codec::{Malformed, Reader};
use crate::digest::{Digest, RequestHash};

const COUNTERS: u32 = 16;
const SESSION: u32 = 17;
const SESSION_OUTCOMES: u32 = 18;
const KEYS: u32 = 19;

/// A section with rows is ended once it is so long.
const ROWS_BYTES: usize = 64 << 10;

/// Where sections go, with their tags.
pub(crate) type Sink<'a> = dyn FnMut(u32, &[u8]) -> io::Result<()> + 'a;

impl Applier {
    /// Gives all that is known to `sink`, between two batches.
    ///
    /// # Errors
    /// What `sink` says; [`io::ErrorKind::InvalidData`] for an outcome of 4 GiB or more, which has no place in a snapshot.
    ///
    /// # Panics
    /// When a batch was admitted and not completed.
    pub(crate) fn write_state(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        assert_eq!(self.position, self.admitted, "no batch is under way");
        self.write_counters(sink)?;
        let mut rows = Rows::default();
        for session in self.sessions.all() {
            write_session(session, sink)?;
            for (sequence, hash, outcome) in session.window.done() {
                rows.0.extend_from_slice(&sequence.to_le_bytes());
                rows.0.extend_from_slice(&hash.to_le_bytes());
                put_outcome(&mut rows.0, outcome)?;
                rows.flush(SESSION_OUTCOMES, ROWS_BYTES, sink)?;
            }
            rows.flush(SESSION_OUTCOMES, 1, sink)?;
        }
        for (age_ms, key, hash, outcome) in self.keys.all() {
            rows.0.extend_from_slice(&age_ms.to_le_bytes());
            let key_bytes = u16::try_from(key.len()).map_err(|_| too_long("a key"))?;
            rows.0.extend_from_slice(&key_bytes.to_le_bytes());
            rows.0.extend_from_slice(key);
            rows.0.extend_from_slice(&hash.to_le_bytes());
            put_outcome(&mut rows.0, outcome)?;
            rows.flush(KEYS, ROWS_BYTES, sink)?;
        }
        rows.flush(KEYS, 1, sink)
    }

    fn write_counters(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        let mut out = Vec::new();
        let Applier { position, predictions, index, term, digest, time, .. } = self;
        out.extend([position, predictions, index, term].into_iter().flat_map(|number| number.to_le_bytes()));
        out.extend_from_slice(&digest.0.to_le_bytes());
        out.extend([time.time_ms, time.age_ms].into_iter().flat_map(u64::to_le_bytes));
        out.push(u8::from(time.stamp_ms.is_some()));
        out.extend_from_slice(&time.stamp_ms.unwrap_or(0).to_le_bytes());
        sink(COUNTERS, &out)
    }
}

/// Rows that wait for their section to be long enough.
#[derive(Default)]
struct Rows(Vec<u8>);

impl Rows {
    fn flush(&mut self, tag: u32, bytes_min: usize, sink: &mut Sink<'_>) -> io::Result<()> {
        if self.0.len() >= bytes_min {
            sink(tag, &self.0)?;
            self.0.clear();
            self.0.shrink_to(2 * ROWS_BYTES);
        }
        Ok(())
    }
}

fn write_session(session: &Session, sink: &mut Sink<'_>) -> io::Result<()> {
    let Session { id, term, secret, active_age_ms, window } = session;
    let mut out = Vec::new();
    out.extend([id, term, secret, active_age_ms].into_iter().flat_map(|number| number.to_le_bytes()));
    let outcomes_max = u32::try_from(window.outcomes_max).unwrap_or(u32::MAX);
    out.extend_from_slice(&outcomes_max.to_le_bytes());
    out.extend([window.lowest, window.end].into_iter().flat_map(u64::to_le_bytes));
    sink(SESSION, &out)
}

fn too_long(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is too long for a snapshot"))
}

fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) -> io::Result<()> {
    let (kind, bytes) = match &outcome.result {
        CallOutcome::Output(output) => (0, output.as_ref()),
        CallOutcome::Rejected(why) => (1, why.as_bytes()),
        CallOutcome::Quarantined => (2, &[][..]),
    };
    out.extend_from_slice(&outcome.position.to_le_bytes());
    out.extend_from_slice(&outcome.term.to_le_bytes());
    out.push(kind);
    let count = u32::try_from(bytes.len()).map_err(|_| too_long("an outcome"))?;
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn get_outcome(reader: &mut Reader<'_>) -> Result<Outcome, Malformed> {
    let (position, term, kind) = (reader.u64()?, reader.u64()?, reader.u8()?);
    let count = reader.u32()? as usize;
    let bytes = reader.slice(count)?;
    let result = match kind {
        0 => CallOutcome::Output(Bytes::copy_from_slice(bytes)),
        1 => CallOutcome::Rejected(String::from_utf8(bytes.to_vec()).map_err(|_| reader.malformed())?),
        2 if bytes.is_empty() => CallOutcome::Quarantined,
        _ => return Err(Malformed("outcome of an unknown kind")),
    };
    Ok(Outcome { position, term, result })
}

/// An applier that is read from the sections of a snapshot.
#[derive(Debug)]
pub(crate) struct ApplierReader {
    applier: Applier,
    has_counters: bool,
    /// The session whose outcomes come next.
    session: Option<Session>,
}

impl ApplierReader {
    /// Nothing was read yet. The limits are the genesis's.
    pub(crate) fn new(limits: SessionLimits) -> Self {
        ApplierReader { applier: Applier::new(limits), has_counters: false, session: None }
    }

    /// Takes the next section. False: it is not one of the applier's.
    ///
    /// # Errors
    /// [`Malformed`] when that is not what an applier writes.
    pub(crate) fn section(&mut self, tag: u32, payload: &[u8]) -> Result<bool, Malformed> {
        match tag {
            COUNTERS => self.counters(Reader::new(payload, "the applier's counters"))?,
            SESSION => self.session(Reader::new(payload, "a session"))?,
            SESSION_OUTCOMES => self.outcomes(Reader::new(payload, "a session's outcomes"))?,
            KEYS => self.keys(Reader::new(payload, "keys"))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The applier, once all sections were taken.
    ///
    /// # Errors
    /// [`Malformed`] when some are missing.
    pub(crate) fn finish(mut self) -> Result<Applier, Malformed> {
        self.end_session()?;
        if !self.has_counters {
            return Err(Malformed("applier: its counters are missing"));
        }
        let applier = &mut self.applier;
        applier.checkpoints.note(applier.position, applier.digest);
        Ok(self.applier)
    }

    fn counters(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        let applier = &mut self.applier;
        (applier.position, applier.predictions) = (reader.u64()?, reader.u64()?);
        (applier.index, applier.term) = (reader.u64()?, reader.u64()?);
        applier.digest = Digest(u128::from_le_bytes(reader.array()?));
        (applier.time.time_ms, applier.time.age_ms) = (reader.u64()?, reader.u64()?);
        let (has_stamp, stamp_ms) = (reader.u8()?, reader.u64()?);
        applier.time.stamp_ms = (has_stamp != 0).then_some(stamp_ms);
        applier.admitted = applier.position;
        applier.admitted_term = applier.term;
        if std::mem::replace(&mut self.has_counters, true) || has_stamp > 1 {
            return Err(reader.malformed());
        }
        reader.finish()
    }

    fn session(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        self.end_session()?;
        let (id, term) = (reader.u64()?, reader.u64()?);
        let (secret, active_age_ms) = (reader.u64()?, reader.u64()?);
        let (outcomes_max, lowest, end) = (reader.u32()?, reader.u64()?, reader.u64()?);
        let width = end.checked_sub(lowest).ok_or(reader.malformed())?;
        if outcomes_max > self.applier.limits.session_outcomes_max || width > u64::from(outcomes_max) {
            return Err(reader.malformed());
        }
        let mut window = Window::new(outcomes_max as usize);
        window.forget_below(lowest);
        window.end = end;
        self.session = Some(Session { id, term, secret, active_age_ms, window });
        reader.finish()
    }

    fn outcomes(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        let session = self.session.as_mut().ok_or(reader.malformed())?;
        while reader.rest_bytes() > 0 {
            let (sequence, hash) = (reader.u64()?, RequestHash::from_le_bytes(reader.array()?));
            let outcome = get_outcome(&mut reader)?;
            if sequence >= session.window.end {
                return Err(reader.malformed());
            }
            session.window.slot(sequence).map_err(|_| reader.malformed())?.finish(hash, outcome);
        }
        Ok(())
    }

    fn end_session(&mut self) -> Result<(), Malformed> {
        let follows = self.session.take().is_none_or(|session| self.applier.sessions.restore(session));
        if follows { Ok(()) } else { Err(Malformed("sessions: their ids do not rise")) }
    }

    fn keys(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        while reader.rest_bytes() > 0 {
            let age_ms = reader.u64()?;
            let key_bytes = usize::from(reader.u16()?);
            let key = Bytes::copy_from_slice(reader.slice(key_bytes)?);
            let hash = RequestHash::from_le_bytes(reader.array()?);
            let outcome = get_outcome(&mut reader)?;
            if !self.applier.keys.restore(age_ms, key, hash, outcome) {
                return Err(reader.malformed());
            }
        }
        Ok(())
    }
}
