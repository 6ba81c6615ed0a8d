//! What segment headers and footers say: a row of tagged sections, ended by a tag of zero.
//!
//! ```text
//! section  tag u32 | bytes u32 | payload
//! 1        hard state: term u64 | vote u64 | commit u64
//! 2        membership (may stand several times, by rising index)
//! 3        term starts: n x (index u64 | term u64)
//! 4        spans: n x (segment u64 | first_index u64 | end_index u64 | offset u64 | end_offset u64)
//! 5        points: n x (index u64 | offset u64)
//! 6        where the log begins, if not with entry 1: first_index u64
//! 0        the end; zeros up to the next multiple of 8 follow
//! ```

use super::batch::{get_hard_state, put_hard_state};
use super::{ALIGNMENT, membership, pad};
use crate::Membership;
use crate::codec::{Malformed, Reader};
use crate::log::HardState;
use crate::log::catalog::{Point, Span};

const HARD_STATE: u32 = 1;
const MEMBERSHIP: u32 = 2;
const TERM_STARTS: u32 = 3;
const SPANS: u32 = 4;
const POINTS: u32 = 5;
const FIRST_INDEX: u32 = 6;

/// The sections of a segment header (points excepted) or footer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sections {
    pub(crate) hard_state: HardState,
    pub(crate) memberships: Vec<Membership>,
    pub(crate) term_starts: Vec<(u64, u64)>,
    pub(crate) spans: Vec<Span>,
    pub(crate) points: Vec<Point>,
    /// `None` stands for 1: nothing was cut.
    pub(crate) first_index: Option<u64>,
}

impl Sections {
    /// Appends what [`Sections::get`] reads; `out` began to be aligned at `start`.
    pub(crate) fn put(&self, out: &mut Vec<u8>, start: usize) {
        section(out, HARD_STATE, |out| put_hard_state(out, self.hard_state));
        for membership in &self.memberships {
            section(out, MEMBERSHIP, |out| membership::put(out, membership));
        }
        numbers(out, TERM_STARTS, self.term_starts.iter().map(|(index, term)| [*index, *term]));
        numbers(out, SPANS, self.spans.iter().map(Span::numbers));
        numbers(out, POINTS, self.points.iter().map(|point| [point.index, point.offset]));
        if let Some(first_index) = self.first_index {
            section(out, FIRST_INDEX, |out| out.extend_from_slice(&first_index.to_le_bytes()));
        }
        section(out, 0, |_| {});
        pad(out, start);
    }

    /// Reads sections that end `bytes`.
    ///
    /// # Errors
    /// [`Malformed`] when they are not all known and whole.
    pub(crate) fn get(bytes: &[u8]) -> Result<Sections, Malformed> {
        let mut reader = Reader::new(bytes, "sections");
        let mut sections = Sections::default();
        loop {
            let (tag, count) = (reader.u32()?, reader.u32()? as usize);
            let payload = reader.slice(count)?;
            let mut numbers = Reader::new(payload, "section");
            match tag {
                0 => break,
                HARD_STATE => sections.hard_state = get_hard_state(&mut numbers)?,
                MEMBERSHIP => sections.memberships.push(membership::get(payload)?),
                TERM_STARTS => sections.term_starts = rows(numbers, |[index, term]| (index, term))?,
                SPANS => sections.spans = rows(numbers, Span::from_numbers)?,
                POINTS => sections.points = rows(numbers, |[index, offset]| Point { index, offset })?,
                FIRST_INDEX => sections.first_index = Some(numbers.u64()?),
                _ => return Err(Malformed("section of an unknown tag")),
            }
        }
        if reader.rest_bytes() < ALIGNMENT as usize { Ok(sections) } else { Err(reader.malformed()) }
    }
}

fn section(out: &mut Vec<u8>, tag: u32, payload: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&tag.to_le_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let count = (out.len() - at - 4) as u32;
    super::patch(out, at, &count.to_le_bytes());
}

fn numbers<const N: usize>(out: &mut Vec<u8>, tag: u32, rows: impl Iterator<Item = [u64; N]>) {
    section(out, tag, |out| out.extend(rows.flatten().flat_map(u64::to_le_bytes)));
}

fn rows<const N: usize, T>(
    mut reader: Reader<'_>,
    make: impl Fn([u64; N]) -> T,
) -> Result<Vec<T>, Malformed> {
    let mut rows = Vec::with_capacity(reader.rest_bytes() / (N * 8));
    while reader.rest_bytes() > 0 {
        let mut row = [0; N];
        for number in &mut row {
            *number = reader.u64()?;
        }
        rows.push(make(row));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_read_back_and_every_cut_is_an_error() {
        let sections = Sections {
            hard_state: HardState { term: 1, vote: 2, commit: 3 },
            memberships: vec![Membership { index: 4, ..Membership::default() }, Membership::default()],
            term_starts: vec![(1, 1), (5, 3)],
            spans: vec![Span { segment: 1, first_index: 1, end_index: 9, offset: 64, end_offset: 999 }],
            points: vec![Point { index: 1, offset: 64 }, Point { index: 4, offset: 512 }],
            first_index: Some(3),
        };
        let mut bytes = Vec::new();
        sections.put(&mut bytes, 0);
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(Sections::get(&bytes), Ok(sections));
        for cut in 0..bytes.len() - 8 {
            assert!(Sections::get(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
