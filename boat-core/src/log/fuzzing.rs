//! The log's decoders under attack: see [`crate::fuzzing`].

use std::path::Path;

use bytes::Bytes;

use super::catalog::{Point, Span};
use super::format::batch::{self, BODY_BYTES_MAX, HEADER_BYTES, Place};
use super::format::parse::{self, BatchState};
use super::format::sections::Sections;
use super::format::segment::{self, SegmentHeader};
use super::format::{membership, patch};
use super::watermark::{self, SLOT_BYTES};
use super::{EntryKind, HardState, LogEntry, LogStart, LogWrite, Watermark};
use crate::codec::{Malformed, Reader};
use crate::fuzzing::file::{Input, Inputs};
use crate::fuzzing::{Target, Verdict, both, round_trip};
use crate::{Birth, Member, Membership, NodeId, OperationToken, RaftId};

/// Where every batch and segment stands that is tried.
const PLACE: Place = Place { segment: 3, offset: 640, synced: 320, previous: 99 };
/// Magic and checksums stand before what is tried.
const SEGMENT_CHECKED_FROM: usize = 16;
const TRAILER_BYTES: usize = 16;

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "membership", run: one_membership, samples: memberships },
        Target { name: "log_batch", run: log_batch, samples: log_batches },
        Target { name: "segment_header", run: segment_header, samples: segment_headers },
        Target { name: "segment_footer", run: segment_footer, samples: segment_footers },
        Target { name: "watermark", run: mark, samples: marks },
    ]
}

fn path() -> &'static Path {
    Path::new("segment")
}

fn some_membership() -> Membership {
    let member = |node| {
        let raft_id = RaftId::new(NodeId(node), 9);
        Member { raft_id, birth: Birth(5), address: format!("host-{node}:8000") }
    };
    let members: Vec<Member> = (0..4).map(member).collect();
    let ids: Vec<RaftId> = members.iter().map(|member| member.raft_id).collect();
    Membership {
        index: 9,
        voters: ids.clone(),
        voters_outgoing: ids,
        learners: vec![RaftId::new(NodeId(4), 9)],
        auto_leave: true,
        members: members.into_iter().map(|member| (member.raft_id, member)).collect(),
        removed: vec![RaftId(7)],
        tokens: vec![OperationToken(1 << 90)],
        ..Membership::default()
    }
}

fn membership_bytes(known: &Membership) -> Vec<u8> {
    let mut bytes = Vec::new();
    membership::put(&mut bytes, known);
    bytes
}

fn one_membership(input: &[u8]) -> Verdict {
    round_trip(membership::get(input), |known| membership::get(&membership_bytes(known)))
}

fn memberships() -> Vec<Vec<u8>> {
    vec![membership_bytes(&Membership::default()), membership_bytes(&some_membership())]
}

/// Makes a batch of this place of what may be anything: length, place and checksum fit.
fn seal_batch(input: &[u8], place: Place) -> Vec<u8> {
    let mut sealed = input.to_vec();
    let body_bytes = sealed.len().saturating_sub(HEADER_BYTES).next_multiple_of(8);
    sealed.resize(HEADER_BYTES + body_bytes, 0);
    patch(&mut sealed, 4, &(body_bytes as u32).to_le_bytes());
    patch(&mut sealed, 8, &place.segment.to_le_bytes());
    patch(&mut sealed, 16, &place.offset.to_le_bytes());
    let checksum = crc32c::crc32c(sealed.get(4..).unwrap_or_default());
    patch(&mut sealed, 0, &checksum.to_le_bytes());
    sealed
}

fn read_batch(input: &[u8]) -> Result<LogWrite, Malformed> {
    let malformed = Malformed("batch");
    let header = parse::check(input, PLACE.segment, PLACE.offset, input.len() as u64);
    let header = header.map_err(|_| malformed)?;
    // What lies beyond no log ever holds, and adding to it would end at another index.
    header.first_index.checked_add(u64::from(header.entries)).ok_or(malformed)?;
    let body = input.get(HEADER_BYTES..HEADER_BYTES + header.body_bytes as usize).ok_or(malformed)?;
    let mut reader = Reader::new(body, "batch body");
    let BatchState { hard_state, membership, start } = header.state(&mut reader)?;
    let mut terms = Vec::new();
    header.terms(reader, |index, term| terms.push((index, term)))?;
    let mut entries = Vec::new();
    let block = Bytes::copy_from_slice(input);
    header.entries(&block, 0, (0, u64::MAX), &mut entries)?;
    let same = entries.iter().map(|entry| (entry.index, entry.term)).eq(terms);
    if same { Ok(LogWrite { start, entries, hard_state, membership }) } else { Err(malformed) }
}

fn write_batch(write: &LogWrite) -> Vec<u8> {
    let (mut bytes, membership) = (Vec::new(), write.membership.as_ref().map(membership_bytes));
    batch::put_write(&mut bytes, PLACE, write, membership.as_deref());
    bytes
}

fn log_batch(input: &[u8]) -> Verdict {
    debug_assert!(input.len() < BODY_BYTES_MAX as usize, "a fuzzer's inputs are short");
    both(input, seal_batch(input, PLACE), |input| {
        round_trip(read_batch(input), |write| read_batch(&write_batch(write)))
    })
}

fn some_write() -> LogWrite {
    let entry = |index, kind, data: &'static [u8]| LogEntry { index, term: 5, kind, data: data.into() };
    LogWrite {
        entries: vec![
            entry(7, EntryKind::Normal, b"seven"),
            entry(8, EntryKind::MembershipChange, b""),
            entry(9, EntryKind::Normal, b"nine, longer"),
        ],
        hard_state: Some(HardState { term: 5, vote: 1, commit: 6 }),
        membership: Some(some_membership()),
        start: Some(LogStart { index: 4, term: 2 }),
    }
}

fn log_batches() -> Vec<Vec<u8>> {
    let entries = LogWrite { hard_state: None, membership: None, start: None, ..some_write() };
    [some_write(), entries, LogWrite::default()].iter().map(write_batch).collect()
}

fn some_sections() -> Sections {
    Sections {
        hard_state: HardState { term: 1, vote: 2, commit: 3 },
        memberships: vec![some_membership(), Membership::default()],
        term_starts: vec![(1, 1), (5, 3)],
        spans: vec![Span { segment: 1, first_index: 1, end_index: 9, offset: 64, end_offset: 999 }],
        points: vec![Point { index: 1, offset: 64 }, Point { index: 4, offset: 512 }],
        first_index: Some(3),
    }
}

fn seal_segment(input: &[u8]) -> Vec<u8> {
    let mut sealed = input.to_vec();
    let header_bytes = (sealed.len() as u32).to_le_bytes();
    patch(&mut sealed, SEGMENT_CHECKED_FROM, &header_bytes);
    let checksum = crc32c::crc32c(sealed.get(SEGMENT_CHECKED_FROM..).unwrap_or_default());
    patch(&mut sealed, 12, &checksum.to_le_bytes());
    sealed
}

fn segment_header(input: &[u8]) -> Verdict {
    both(input, seal_segment(input), |input| {
        let read = SegmentHeader::read(&Input::new(input), path(), PLACE.segment);
        round_trip(read.map(|(header, _, _)| header), |header| {
            let again = SegmentHeader::read(&Input::new(&header.encode().0), path(), PLACE.segment);
            again.map(|(header, _, _)| header)
        })
    })
}

fn segment_headers() -> Vec<Vec<u8>> {
    let header =
        SegmentHeader { segment: PLACE.segment, previous: 1, next_index: 9, sections: some_sections() };
    vec![header.encode().0]
}

/// A footer stands alone in its file here.
const FOOTER: Place = Place { offset: 0, ..PLACE };

fn seal_footer(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    bytes.resize(bytes.len().max(HEADER_BYTES + TRAILER_BYTES).next_multiple_of(8), 0);
    let trailer_at = bytes.len() - TRAILER_BYTES;
    patch(&mut bytes, trailer_at, &[0; 8]);
    patch(&mut bytes, trailer_at + 8, b"BOATFOOT");
    seal_batch(&bytes, FOOTER)
}

fn read_footer(input: &[u8]) -> Result<Sections, super::LogError> {
    let end = input.len() as u64;
    segment::read_footer(&Input::new(input), path(), FOOTER.segment, end).map(|(sections, _)| sections)
}

fn write_footer(sections: &Sections) -> Vec<u8> {
    let mut bytes = Vec::new();
    segment::put_footer(&mut bytes, FOOTER, sections);
    bytes
}

fn segment_footer(input: &[u8]) -> Verdict {
    both(input, seal_footer(input), |input| {
        round_trip(read_footer(input), |sections| read_footer(&write_footer(sections)))
    })
}

fn segment_footers() -> Vec<Vec<u8>> {
    vec![write_footer(&some_sections()), write_footer(&Sections::default())]
}

/// Two slots with checksums that fit.
fn seal_mark(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    bytes.resize(2 * SLOT_BYTES, 0);
    for slot in bytes.chunks_mut(SLOT_BYTES) {
        let checksum = crc32c::crc32c(slot.get(16..).unwrap_or_default());
        patch(slot, 12, &checksum.to_le_bytes());
    }
    bytes
}

fn read_mark(input: &[u8]) -> Result<Watermark, ()> {
    watermark::read(&Inputs(input.to_vec()), Path::new("log")).map_err(drop)?.ok_or(())
}

fn mark(input: &[u8]) -> Verdict {
    both(input, seal_mark(input), |input| round_trip(read_mark(input), |mark| read_mark(&mark.encode(7))))
}

fn marks() -> Vec<Vec<u8>> {
    let mark = Watermark { term: 3, vote: 1, last_index: 9, last_term: 2, segment: 1, segment_bytes: 640 };
    let later = Watermark { last_index: 10, ..mark };
    // One slot torn away, and both whole.
    vec![mark.encode(1), [mark.encode(1), later.encode(2)].concat()]
}
