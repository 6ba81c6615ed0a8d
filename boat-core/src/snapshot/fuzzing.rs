//! Snapshots under attack: see [`crate::fuzzing`].

use std::path::Path;

use super::section_checksum;
use super::{About, END, Frozen, HEAD_BYTES, MAGIC, SECTION_HEAD_BYTES, SnapshotReader, VERSION};
use crate::apply::{Applier, Batch, SessionLimits, opening_body};
use crate::codec::Reader;
use crate::fuzzing::file::{Input, Inputs};
use crate::fuzzing::{Read, Target, Verdict, both, round_trip};
use crate::log::{EntryKind, LogEntry};
use crate::quarantine::Decisions;
use crate::{
    CallOutcome, ClusterId, Command, FrozenState, Malformed, Membership, Origin, Request, RequestKind,
    SessionRequest, StateKind,
};

/// What a session may hold is bounded by the genesis, not by a snapshot's length: here by little.
const LIMITS: SessionLimits = SessionLimits {
    sessions_max: 8,
    session_outcomes_max: 16,
    session_age_ms_max: 600_000,
    key_age_ms: 600_000,
    key_table_bytes_max: 1 << 20,
};

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "snapshot", run: snapshot, samples: snapshots },
        Target { name: "snapshot_about", run: about, samples: abouts },
    ]
}

/// Everything a snapshot says: what it is of, the applier's state as sections, and the predictor's.
type Said = (About, Vec<(u32, Vec<u8>)>, Vec<u8>);

fn read(input: &[u8]) -> Result<(Said, Applier), Malformed> {
    let malformed = Malformed("snapshot");
    let opened = SnapshotReader::open(&Inputs(input.to_vec()), Path::new("snapshot"));
    let mut reader = opened.map_err(|_| malformed)?;
    let about = reader.about().clone();
    let (applier, predictor) = reader.states(LIMITS).map_err(|_| malformed)?;
    let mut sections = Vec::new();
    let written = applier.write_state(&mut |tag, payload| {
        sections.push((tag, payload.to_vec()));
        Ok(())
    });
    written.map_err(|_| malformed)?;
    Ok(((about, sections, predictor), applier))
}

fn write(about: About, applier: Applier, predictor: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let file = Input::default();
    let frozen = Frozen { about, applier, predictor: FrozenState::from_bytes(predictor) };
    frozen.write_to(&file).map_err(|_| Malformed("snapshot"))?;
    Ok(file.into_bytes())
}

fn snapshot(input: &[u8]) -> Verdict {
    both(input, seal(input), |input| {
        let Ok((said, applier)) = read(input) else { return Ok(Read::Refused) };
        round_trip(Ok(said), |(about, _, predictor)| {
            let written = write(about.clone(), applier, predictor.clone())?;
            read(&written).map(|(said, _)| said)
        })
    })
}

/// Sets head, lengths and checksums right, section by section.
fn seal(input: &[u8]) -> Vec<u8> {
    let mut sealed = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    let mut checksum = crc32c::crc32c(&sealed);
    sealed.extend_from_slice(&checksum.to_le_bytes());
    let mut rest = input.get(HEAD_BYTES as usize..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_first_chunk::<SECTION_HEAD_BYTES>() {
        let mut fields = Reader::new(head, "section");
        let (Ok(_), Ok(tag), Ok(bytes)) = (fields.u32(), fields.u32(), fields.u32()) else { break };
        let (payload, behind) = behind.split_at((bytes as usize).min(behind.len()));
        rest = behind;
        let ends = (sealed.len() + SECTION_HEAD_BYTES + payload.len()) as u64;
        let end = ends.to_le_bytes();
        let payload = if tag == END && payload.len() == end.len() { &end[..] } else { payload };
        checksum = section_checksum(checksum, tag, payload);
        let head = [checksum, tag, payload.len() as u32];
        sealed.extend(head.into_iter().flat_map(u32::to_le_bytes));
        sealed.extend_from_slice(payload);
    }
    sealed
}

/// An applier with an open session and some keys.
fn applier() -> Option<Applier> {
    let mut applier = Applier::new(LIMITS);
    let place = |sequence| SessionRequest { session: 1, sequence };
    let request = |kind, origin, body: &[u8]| Request { kind, origin, body: body.to_vec().into() };
    let in_session = |sequence| Origin::Session { request: place(sequence), lowest_unanswered: 1 };
    let requests = vec![
        request(RequestKind::OpenSession, Origin::Opening(7), &opening_body(8)),
        request(RequestKind::Predict, in_session(1), b"1"),
        request(RequestKind::Predict, in_session(3), b"2"),
        request(RequestKind::Predict, Origin::Key("key".into()), b"3"),
        request(RequestKind::Feedback, Origin::Key("other".into()), b"4"),
    ];
    let data = Command { stamp_ms: 9, seed: 1, requests }.encode().into();
    let mut batch = Batch::default();
    let entry = LogEntry { index: 4, term: 3, kind: EntryKind::Normal, data };
    applier.admit(&mut batch, &entry).ok()?;
    let rejected = CallOutcome::Rejected("no".to_owned());
    let outcomes = vec![
        CallOutcome::Output("out".into()),
        rejected,
        CallOutcome::Quarantined,
        CallOutcome::Output("x".into()),
    ];
    applier.complete(&mut batch, outcomes, |_, _, _| {});
    Some(applier)
}

fn about_of(applier: &Applier) -> About {
    About {
        cluster: ClusterId(7),
        index: applier.index(),
        term: applier.term(),
        position: applier.position(),
        digest: applier.digest(),
        taken_ms: 5,
        state_kind: StateKind::Snapshot,
        membership: Membership { index: 1, ..Membership::default() },
        decisions: Decisions::default(),
    }
}

fn snapshots() -> Vec<Vec<u8>> {
    let Some(applier) = applier() else { return Vec::new() };
    let written = write(about_of(&applier), applier, b"what the model has seen".to_vec());
    written.into_iter().collect()
}

fn about(input: &[u8]) -> Verdict {
    round_trip(About::decode(input), |about| About::decode(&about.encode()))
}

fn abouts() -> Vec<Vec<u8>> {
    applier().map(|applier| about_of(&applier).encode()).into_iter().collect()
}
