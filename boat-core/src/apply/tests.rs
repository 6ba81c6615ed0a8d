use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{Command, Request, SessionRequest};

fn entry(index: u64, stamp_ms: u64, requests: Vec<Request>) -> LogEntry {
    let data = Command { stamp_ms, seed: 7, requests }.encode().into();
    LogEntry { index, term: 3, kind: EntryKind::Normal, data }
}

fn opening(nonce: u64, outcomes_max: u32) -> Request {
    let body = opening_body(outcomes_max);
    Request { kind: RequestKind::OpenSession, origin: Origin::Opening(nonce), body }
}

fn keyed(key: &str, body: &str) -> Request {
    let origin = Origin::Key(Bytes::copy_from_slice(key.as_bytes()));
    Request { kind: RequestKind::Predict, origin, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn numbered(session: u64, sequence: u64, lowest_unanswered: u64, body: &str) -> Request {
    let origin = Origin::Session { request: SessionRequest { session, sequence }, lowest_unanswered };
    Request { kind: RequestKind::Predict, origin, body: Bytes::copy_from_slice(body.as_bytes()) }
}

/// Applies one entry with a predictor that says position and body back.
fn apply(applier: &mut Applier, stamp_ms: u64, requests: Vec<Request>) -> Vec<Applied> {
    let mut batch = Batch::default();
    let entry = entry(applier.index() + 1, stamp_ms, requests);
    applier.admit(&mut batch, &entry).unwrap();
    let say = |call: &Call| {
        CallOutcome::Output(format!("{}:{}", call.position, String::from_utf8_lossy(&call.body)).into())
    };
    let outcomes: Vec<_> = batch.calls.iter().map(say).collect();
    let mut answers = Vec::new();
    applier.complete(&mut batch, outcomes, |_, _, applied| answers.push(applied.clone()));
    answers
}

fn output(applied: &Applied) -> (u64, String, bool) {
    let outcome = applied.result.as_ref().unwrap();
    let CallOutcome::Output(output) = &outcome.result else { panic!("{outcome:?}") };
    (outcome.position, String::from_utf8_lossy(output).into_owned(), applied.replayed)
}

#[test]
fn a_retry_gets_the_first_outcome_within_and_across_entries() {
    let mut applier = Applier::new(SessionLimits::default());
    let answers = apply(&mut applier, 1, vec![keyed("a", "x"), keyed("a", "x"), keyed("b", "y")]);
    let answers: Vec<_> = answers.iter().map(output).collect();
    assert_eq!(answers, [(1, "1:x".into(), false), (1, "1:x".into(), true), (2, "2:y".into(), false)]);
    let again = apply(&mut applier, 2, vec![keyed("a", "x"), keyed("a", "other")]);
    assert_eq!(output(&again[0]), (1, "1:x".into(), true));
    assert_eq!(again[1].result, Err(Refused::KeyReused { position: 1 }));
    assert_eq!(applier.position(), 2);
}

#[test]
fn a_session_forgets_what_its_client_acknowledged_and_bounds_the_rest() {
    let mut applier = Applier::new(SessionLimits::default());
    apply(&mut applier, 1, vec![opening(9, 3)]);
    let answers = apply(&mut applier, 1, vec![numbered(1, 0, 0, "a"), numbered(1, 2, 0, "c")]);
    assert_eq!(output(&answers[1]).0, 3);
    let answers = apply(&mut applier, 1, vec![numbered(1, 3, 0, "d"), numbered(1, 3, 1, "d")]);
    assert_eq!(answers[0].result, Err(Refused::WindowFull { outcomes_max: 3 }));
    assert_eq!(output(&answers[1]).0, 4);
    let answers = apply(&mut applier, 1, vec![numbered(1, 0, 0, "a"), numbered(1, 2, 1, "c")]);
    assert_eq!(answers[0].result, Err(Refused::OutcomeForgotten));
    assert_eq!(output(&answers[1]), (3, "3:c".into(), true));
}

#[test]
fn sessions_and_keys_grow_old_by_log_age() {
    let limits = SessionLimits { session_age_ms_max: 1000, key_age_ms: 2000, ..SessionLimits::default() };
    let mut applier = Applier::new(limits);
    apply(&mut applier, 10_000, vec![opening(1, 4), keyed("k", "x")]);
    apply(&mut applier, 11_000, vec![numbered(1, 0, 0, "a")]);
    let answers = apply(&mut applier, 12_001, vec![numbered(1, 1, 0, "b"), keyed("k", "x")]);
    assert_eq!(answers[0].result, Err(Refused::SessionExpired { session: 1 }));
    assert_eq!(answers[1].result.as_ref().map(|outcome| outcome.position), Ok(4));
    assert!(!answers[1].replayed);
}

#[test]
fn a_full_key_table_refuses_the_young_and_remembers_the_old() {
    let limits = SessionLimits { key_table_bytes_max: 600, ..SessionLimits::default() };
    let mut applier = Applier::new(limits);
    let answers = apply(&mut applier, 1, vec![keyed("a", "x"), keyed("b", "x"), keyed("c", "x")]);
    assert_eq!(answers[2].result, Err(Refused::KeyTableFull));
    assert!(!applier.has_room_for_keys());
    assert_eq!(output(&apply(&mut applier, 2, vec![keyed("a", "x")])[0]).0, 1);
}

#[test]
fn too_many_sessions_are_refused() {
    let limits = SessionLimits { sessions_max: 1, ..SessionLimits::default() };
    let mut applier = Applier::new(limits);
    let answers = apply(&mut applier, 1, vec![opening(1, 4), opening(2, 4)]);
    assert_eq!(answers[1].result, Err(Refused::TooManySessions));
    assert_eq!(applier.sessions(), 1);
}

proptest! {
    /// Against ten lines: a (session, sequence) has one position for ever, and positions are dense.
    #[test]
    fn a_request_has_one_position(attempts in vec((0_u64..12, 0_usize..4), 1..80)) {
        let mut applier = Applier::new(SessionLimits::default());
        apply(&mut applier, 1, vec![opening(1, 64)]);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        let mut batch = Vec::new();
        for (sequence, cut) in attempts {
            batch.push(numbered(1, sequence, 0, &sequence.to_string()));
            if cut > 0 { continue; }
            let sent: Vec<_> = std::mem::take(&mut batch);
            let answers = apply(&mut applier, 1, sent.clone());
            for (request, applied) in sent.iter().zip(&answers) {
                let Origin::Session { request, .. } = &request.origin else { continue };
                let next = model.len() as u64 + 2;
                let expected = *model.entry(request.sequence).or_insert(next);
                prop_assert_eq!(output(applied).0, expected);
                prop_assert_eq!(applied.replayed, expected != next);
            }
            prop_assert_eq!(applier.position(), model.len() as u64 + 1);
        }
    }
}

#[test]
fn an_opening_that_was_sent_twice_opens_one_session() {
    let mut applier = Applier::new(SessionLimits::default());
    let answers = apply(&mut applier, 1, vec![opening(7, 4), opening(7, 4), opening(8, 4)]);
    let positions: Vec<u64> = answers.iter().map(|applied| output(applied).0).collect();
    assert_eq!((positions, applier.sessions()), (vec![1, 1, 2], 2));
    assert_eq!(output(&apply(&mut applier, 2, vec![opening(7, 4)])[0]), (1, String::new(), true));
    assert_eq!(applier.position(), 2);
}

/// Applies entries in batches that end where `cuts` say.
fn apply_cut(limits: SessionLimits, entries: &[LogEntry], cuts: &[bool]) -> (u64, Digest) {
    let mut applier = Applier::new(limits);
    let mut batch = Batch::default();
    for (n, entry) in entries.iter().enumerate() {
        applier.admit(&mut batch, entry).unwrap();
        if n + 1 == entries.len() || cuts.get(n).copied().unwrap_or(false) {
            let say = |call: &Call| CallOutcome::Output(vec![b'x'; 100 + call.position as usize].into());
            let outcomes: Vec<_> = batch.calls.iter().map(say).collect();
            applier.complete(&mut batch, outcomes, |_, _, _| {});
        }
    }
    (applier.position(), applier.digest())
}

proptest! {
    /// Batches are cut differently on every node and at every replay, and that must not show.
    #[test]
    fn where_batches_are_cut_decides_nothing(
        keys in vec(vec(0_u8..12, 0..4), 1..20),
        stamps in vec(0_u64..2_000, 20),
        cuts in vec(any::<bool>(), 20),
    ) {
        let limits = SessionLimits {
            key_table_bytes_max: 3_000,
            key_age_ms: 4_000,
            session_age_ms_max: 3_000,
            sessions_max: 3,
            ..SessionLimits::default()
        };
        let mut stamp_ms = 1;
        let entries: Vec<LogEntry> = keys.iter().zip(&stamps).zip(1..).map(|((keys, passed), index)| {
            stamp_ms += passed;
            let request = |key: &u8| match key {
                0 => opening(index, 4),
                1..3 => numbered(u64::from(*key), index / 2, 0, "in a session"),
                _ => keyed(&key.to_string(), "under a key"),
            };
            entry(index, stamp_ms, keys.iter().map(request).collect())
        }).collect();
        prop_assert_eq!(apply_cut(limits, &entries, &cuts), apply_cut(limits, &entries, &[true; 20]));
    }
}

/// What a snapshot makes of an applier: written section by section, and read back.
fn through_a_snapshot(applier: &Applier) -> Applier {
    let mut reader = ApplierReader::new(applier.limits);
    let mut sections = Vec::new();
    applier
        .write_state(&mut |tag, payload| {
            sections.push((tag, payload.to_vec()));
            Ok(())
        })
        .unwrap();
    for (tag, payload) in sections {
        assert!(reader.section(tag, &payload).unwrap());
    }
    reader.finish().unwrap()
}

fn sections_of(applier: &Applier) -> Vec<(u32, Vec<u8>)> {
    let mut sections = Vec::new();
    let mut sink = |tag, payload: &[u8]| {
        sections.push((tag, payload.to_vec()));
        Ok(())
    };
    applier.write_state(&mut sink).unwrap();
    sections
}

proptest! {
    /// Wherever a snapshot is taken, what comes later is answered as if there had been none.
    #[test]
    fn an_applier_from_a_snapshot_goes_on_as_the_one_that_was_frozen(
        steps in vec((0_u64..90_000, vec((0_u8..4, 0_u64..6, 0_u64..6), 0..5)), 1..60),
        cut in 0_usize..60,
    ) {
        let limits = SessionLimits {
            sessions_max: 3,
            session_outcomes_max: 8,
            session_age_ms_max: 300_000,
            key_age_ms: 200_000,
            key_table_bytes_max: 2_600,
        };
        let (mut one, mut other) = (Applier::new(limits), Applier::new(limits));
        let mut stamp_ms = 1_000_000;
        for (n, (passed_ms, requests)) in steps.into_iter().enumerate() {
            if n == cut {
                other = through_a_snapshot(&one);
                prop_assert_eq!(sections_of(&other), sections_of(&one));
            }
            stamp_ms += passed_ms;
            let requests: Vec<_> = requests
                .into_iter()
                .map(|(kind, a, b)| match kind {
                    0 => opening(a, 8),
                    1 => keyed(&a.to_string(), &(b / 3).to_string()),
                    _ => numbered(1 + a / 2, b, b.saturating_sub(3), &a.to_string()),
                })
                .collect();
            let answers = apply(&mut one, stamp_ms, requests.clone());
            if n < cut {
                other = one.clone();
            } else {
                prop_assert_eq!(apply(&mut other, stamp_ms, requests), answers);
            }
            prop_assert_eq!((one.position(), one.digest(), one.index()), (other.position(), other.digest(), other.index()));
            prop_assert_eq!(one.session_secrets(), other.session_secrets());
        }
    }
}

#[test]
fn sections_that_no_applier_wrote_are_refused() {
    let mut applier = Applier::new(SessionLimits::default());
    apply(&mut applier, 1, vec![opening(9, 3), keyed("a", "x"), keyed("b", "y")]);
    apply(&mut applier, 2, vec![numbered(1, 0, 0, "a"), numbered(1, 1, 0, "b")]);
    let sections = sections_of(&applier);
    for (tag, payload) in &sections {
        let before = || {
            let mut reader = ApplierReader::new(SessionLimits::default());
            for (earlier, payload) in sections.iter().take_while(|(earlier, _)| earlier < tag) {
                reader.section(*earlier, payload).unwrap();
            }
            reader
        };
        let mut refused = 0;
        for cut in 0..payload.len() {
            refused += usize::from(before().section(*tag, &payload[..cut]).is_err());
        }
        // A row that is left out as a whole is a shorter section: the file's checksums find that.
        let rows = if *tag >= 18 { 2 } else { 0 };
        assert!(refused >= payload.len() - rows, "{tag}");
        let twice = [&payload[..], &payload[..]].concat();
        // The same outcome twice is the same.
        assert!(*tag == 18 || before().section(*tag, &twice).is_err(), "{tag}");
    }
    assert!(ApplierReader::new(SessionLimits::default()).finish().is_err());
    assert!(!ApplierReader::new(SessionLimits::default()).section(99, b"new").unwrap());
}

#[test]
fn what_is_remembered_of_a_request_is_told_apart_from_what_never_was() {
    let mut applier = Applier::new(SessionLimits { session_age_ms_max: 1_000, ..SessionLimits::default() });
    apply(
        &mut applier,
        1,
        vec![opening(9, 3), keyed("k", "x"), numbered(1, 0, 0, "a"), numbered(1, 1, 1, "b")],
    );
    let remembered = |applier: &Applier, request: &Request| match applier.remembered(&request.origin) {
        Remembered::Outcome(outcome) => Ok(outcome.position),
        other => Err(other),
    };
    assert_eq!(remembered(&applier, &keyed("k", "any")), Ok(2));
    assert_eq!(remembered(&applier, &keyed("l", "x")), Err(Remembered::Unknown));
    assert_eq!(remembered(&applier, &numbered(1, 1, 0, "b")), Ok(4));
    assert_eq!(remembered(&applier, &numbered(1, 0, 0, "a")), Err(Remembered::Forgotten), "acknowledged");
    assert_eq!(remembered(&applier, &numbered(1, 2, 0, "c")), Err(Remembered::Nothing));
    assert_eq!(remembered(&applier, &numbered(3, 0, 0, "c")), Err(Remembered::Forgotten), "no session");
    assert_eq!(remembered(&applier, &numbered(9, 0, 0, "c")), Err(Remembered::Unknown), "not applied yet");
    apply(&mut applier, 5_000, vec![keyed("m", "x")]);
    assert_eq!(remembered(&applier, &numbered(1, 1, 0, "b")), Err(Remembered::Forgotten), "expired");
}
