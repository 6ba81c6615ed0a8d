//! `Simulation` serves a model under faults, and finds one that does not keep up.

use std::time::Duration;

use boat_core::Model;
use boat_core::sim::Fault;
use boat_core::testing::{Failure, Simulation, Summary};

use crate::models::{Forgetful, Fragile, HashOrder, Sound, WallClock};

fn found<M: Model<Request = u64> + Default>() -> Failure {
    *Simulation::new(M::default, |number| number).seeds(0..200).run().unwrap_err()
}

fn count(summary: &Summary, fault: Fault) -> u64 {
    summary.faults.iter().find(|(known, _)| *known == fault).map_or(0, |(_, count)| count)
}

#[test]
fn a_sound_model_keeps_every_promise_under_faults() {
    let summary = Simulation::new(Sound::default, |number| number).seeds(0..8).run().unwrap();
    assert_eq!(summary.seeds, 8);
    assert!(summary.positions > 100, "{summary:?}");
    assert!(count(&summary, Fault::Kill) > 0 && count(&summary, Fault::SnapshotRestored) > 0);
}

#[test]
fn the_number_of_nodes_and_the_length_are_the_callers() {
    let simulation = Simulation::new(Sound::default, |number| number).nodes(5).seeds(3..5);
    let simulation = simulation.faults_for(Duration::from_secs(2)).with(|options| {
        assert_eq!((options.nodes, options.founders, options.faulty_ms), (5, 5, 2_000));
        options.wipe_per_mille = 50;
    });
    let summary = simulation.run().unwrap();
    assert_eq!(summary, simulation.run().unwrap());
}

#[test]
fn a_model_that_reads_the_wall_clock_is_found() {
    let found = found::<WallClock>();
    assert_eq!(found.found.invariant, "S5 dense and closed");
}

#[test]
fn a_model_that_iterates_a_hash_map_is_found() {
    found::<HashOrder>();
}

#[test]
fn a_snapshot_that_forgets_a_field_is_found() {
    let found = found::<Forgetful>();
    assert_eq!(found.found.invariant, "S5 dense and closed", "{found}");
}

#[test]
fn a_model_that_panics_is_served_all_the_same() {
    let summary = Simulation::new(Fragile::default, |number| number % 100).seeds(0..3).run().unwrap();
    assert!(count(&summary, Fault::Quarantined) > 0, "{summary:?}");
}

#[test]
fn what_is_found_names_the_seed_and_the_command() {
    let found = found::<WallClock>();
    let (seed, text) = (found.found.seed, found.to_string());
    let test = "simulation::what_is_found_names_the_seed_and_the_command";
    assert_eq!(found.command, format!("BOAT_SEED={seed} cargo test {test} -- --nocapture"));
    assert!(text.contains(&format!("seed {seed}: S5")) && text.ends_with(&found.command), "{text}");
    assert!(found.found.trace.len() > 1);
}
