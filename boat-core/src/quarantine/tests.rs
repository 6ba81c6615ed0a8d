use super::*;
use crate::{Decision, RequestKind};

fn calls(positions: std::ops::RangeInclusive<u64>) -> Vec<Call> {
    let call = |position| Call {
        position,
        predictions_before: position - 1,
        kind: RequestKind::Predict,
        body: bytes::Bytes::new(),
        time_ms: 0,
        seed: 0,
    };
    positions.map(call).collect()
}

/// Crashes at `position` until it is held; how often it ran.
fn crash_until_held(quarantine: &mut Quarantine, position: u64) -> u32 {
    for runs in 0.. {
        quarantine.fresh();
        match quarantine.begin(&calls(position..=position)) {
            Run::Held => return runs,
            run => assert_eq!(run, Run::Calls(1)),
        }
        let holds = quarantine.lost(&calls(position..=position), false);
        assert_eq!(holds, runs + 1 >= CRASHES_MAX);
    }
    unreachable!()
}

#[test]
fn suspects_run_alone_and_what_comes_before_and_behind_together() {
    let mut quarantine = Quarantine::new();
    assert_eq!(quarantine.begin(&calls(1..=100)), Run::Calls(100));
    quarantine.ended(&calls(1..=100));
    assert_eq!(quarantine.begin(&calls(101..=110)), Run::Calls(10));
    assert!(!quarantine.lost(&calls(101..=110), false));
    quarantine.fresh();
    assert_eq!(quarantine.begin(&calls(1..=110)), Run::Calls(100));
    quarantine.ended(&calls(1..=100));
    for suspect in 101..=110 {
        assert_eq!(quarantine.begin(&calls(suspect..=200)), Run::Calls(1));
        quarantine.ended(&calls(suspect..=suspect));
    }
    let mut next = 111;
    for together in [1, 2, 4, 8] {
        assert_eq!(quarantine.begin(&calls(next..=300)), Run::Calls(together));
        quarantine.ended(&calls(next..=next + together as u64 - 1));
        next += together as u64;
    }
}

#[test]
fn a_request_is_held_after_its_third_crash_and_run_again_after_a_retry() {
    let mut quarantine = Quarantine::new();
    assert_eq!(crash_until_held(&mut quarantine, 4), CRASHES_MAX);
    let hold = Hold { position: 4, round: 0, crashed: true };
    assert_eq!(quarantine.holds(), [hold]);
    let mut decisions = quarantine.decisions().clone();
    decisions.take(9, Decision::Retry { position: 4, round: 0 });
    quarantine.decided(decisions);
    assert_eq!(quarantine.holds(), []);
    assert_eq!(crash_until_held(&mut quarantine, 4), CRASHES_MAX);
    assert_eq!(quarantine.holds(), [Hold { round: 1, ..hold }]);
}

#[test]
fn a_request_that_ends_is_no_suspect_any_more() {
    let mut quarantine = Quarantine::new();
    for _ in 0..10 {
        for _ in 1..CRASHES_MAX {
            assert_eq!(quarantine.begin(&calls(4..=4)), Run::Calls(1));
            assert!(!quarantine.lost(&calls(4..=4), false));
        }
        assert_eq!(quarantine.begin(&calls(4..=4)), Run::Calls(1));
        quarantine.ended(&calls(4..=4));
    }
    assert_eq!(quarantine.holds(), []);
}

#[test]
fn what_runs_or_has_run_is_not_promised() {
    let mut quarantine = Quarantine::new();
    quarantine.doubt_up_to(7);
    assert_eq!(quarantine.begin(&calls(1..=3)), Run::Calls(3));
    assert!(!quarantine.hold(4, 0), "it may have been answered before");
    quarantine.reached(7);
    assert!(!quarantine.hold(3, 0), "it may end");
    assert!(quarantine.hold(4, 0));
    assert!(!quarantine.hold(4, 0), "promised already");
    assert!(!quarantine.hold(5, 1), "of another round");
    quarantine.ended(&calls(1..=3));
    assert!(!quarantine.hold(3, 0));
    quarantine.fresh();
    assert!(!quarantine.hold(3, 0), "a rebuild takes no answer back");
    assert_eq!(quarantine.begin(&calls(1..=6)), Run::Calls(3));
    quarantine.ended(&calls(1..=3));
    assert_eq!(quarantine.begin(&calls(4..=6)), Run::Held);
}

#[test]
fn a_quarantined_request_is_passed_over_and_a_predictor_that_ran_it_is_outdated() {
    let mut quarantine = Quarantine::new();
    assert_eq!(quarantine.begin(&calls(1..=5)), Run::Calls(5));
    quarantine.ended(&calls(1..=5));
    let mut decisions = Decisions::default();
    decisions.take(9, Decision::Quarantine { position: 4, round: 0, forced: true });
    quarantine.decided(decisions);
    assert!(quarantine.is_outdated());
    quarantine.fresh();
    assert!(!quarantine.is_outdated());
    assert_eq!(quarantine.begin(&calls(1..=5)), Run::Calls(3));
    quarantine.ended(&calls(1..=3));
    assert_eq!(quarantine.begin(&calls(4..=5)), Run::Quarantined);
    assert_eq!(quarantine.begin(&calls(5..=5)), Run::Calls(1));
    quarantine.ended(&calls(5..=5));
    assert!(!quarantine.is_outdated());
}

#[test]
fn a_batch_that_took_too_long_is_cut_for_good() {
    let mut quarantine = Quarantine::new();
    assert_eq!(quarantine.begin(&calls(1..=800)), Run::Calls(800));
    quarantine.lost(&calls(1..=800), true);
    quarantine.fresh();
    for position in 1..=800 {
        assert_eq!(quarantine.begin(&calls(position..=2_000)), Run::Calls(1));
        quarantine.ended(&calls(position..=position));
    }
    let mut next = 801;
    for _ in 0..20 {
        let Run::Calls(count) = quarantine.begin(&calls(next..=next + 1_000)) else {
            panic!("nothing is held")
        };
        assert!(count <= 200, "{count}");
        quarantine.ended(&calls(next..=next + count as u64 - 1));
        next += count as u64;
    }
}

#[test]
fn promises_and_decisions_are_there_after_a_restart() {
    let mut quarantine = Quarantine::new();
    crash_until_held(&mut quarantine, 4);
    quarantine.doubt_up_to(0);
    quarantine.reached(0);
    assert!(quarantine.hold(9, 0));
    let mut decisions = Decisions::default();
    decisions.take(3, Decision::Quarantine { position: 2, round: 0, forced: false });
    quarantine.decided(decisions);
    let bytes = quarantine.encode();
    let mut again = Quarantine::decode(&bytes).unwrap();
    assert_eq!((again.holds(), again.decisions()), (quarantine.holds(), quarantine.decisions()));
    assert_eq!(again.begin(&calls(4..=4)), Run::Held);
    assert_eq!(again.begin(&calls(2..=3)), Run::Quarantined);
    for cut in 0..bytes.len() {
        assert!(Quarantine::decode(&bytes[..cut]).is_err(), "{cut}");
    }
}
