//! Every decoder of this crate, whatever bytes it is given: it neither panics nor allocates beyond its bound, and what it reads
//! comes back. The fuzz targets in `fuzz` go the same way; this is their share of every test run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use boat_core::fuzzing::hold;
use peak_alloc::PeakAlloc;

/// It counts for the whole process, so nothing else may run in it: this file has one test.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CASES: u32 = 4_096;

/// Runs `work`, and says how many bytes it had allocated at once.
fn allocated(work: &mut dyn FnMut()) -> usize {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    work();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

#[test]
fn every_decoder_holds_whatever_bytes_come() {
    let targets = boat_clipper::fuzzing::targets();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let names = files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned());
    let expected: BTreeSet<String> = targets.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names.collect::<BTreeSet<_>>(), expected, "each decoder has its fuzz target");
    hold(&targets, CASES, &allocated).unwrap();
}
