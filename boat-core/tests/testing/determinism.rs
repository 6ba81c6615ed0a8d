//! `check_determinism` finds what makes a model differ from itself.

use boat_core::Model;
use boat_core::testing::{Difference, Differs, Run, check_determinism};

use crate::models::{Forgetful, Fragile, HashOrder, Sound, WallClock};

fn found<M: Model<Request = u64> + Default>() -> Difference {
    *check_determinism(M::default, (0..40).map(|number| number * 31 % 17 + 1)).unwrap_err()
}

#[test]
fn a_sound_model_passes() {
    check_determinism(Sound::default, 0..200).unwrap();
}

#[test]
fn a_model_that_reads_the_wall_clock_is_found_at_its_first_answer() {
    let found = found::<WallClock>();
    assert_eq!((found.position, found.differs, found.run), (1, Differs::Outcome, Run::Again));
    assert!(found.to_string().contains("look for a clock"), "{found}");
}

#[test]
fn a_model_that_iterates_a_hash_map_is_found() {
    let found = found::<HashOrder>();
    assert_eq!((found.differs, found.run), (Differs::Outcome, Run::Again));
    assert!(found.position > 1, "{found}");
}

#[test]
fn a_snapshot_that_forgets_a_field_is_found_behind_the_snapshot() {
    let found = found::<Forgetful>();
    assert_eq!((found.position, found.differs, found.run), (21, Differs::Outcome, Run::ThroughSnapshot));
    assert!(found.to_string().contains("a field that serde skips"), "{found}");
}

#[test]
fn fresh_models_that_differ_are_found_by_their_states() {
    let numbers = std::cell::Cell::new(0);
    let made = || Forgetful::counting(numbers.replace(numbers.get() + 1));
    let found = check_determinism(made, 0..5).unwrap_err();
    assert_eq!((found.position, found.differs), (0, Differs::State));
    assert!(found.how.starts_with("state.seen is "), "{found}");
}

#[test]
fn a_model_that_panics_is_told_of_with_the_position() {
    let found = check_determinism(Fragile::default, 22..30).unwrap_err();
    assert_eq!((found.position, found.differs), (2, Differs::Broken));
    assert!(found.how.contains("23 is not to be had"), "{found}");
}
