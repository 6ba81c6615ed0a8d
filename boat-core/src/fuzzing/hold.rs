//! Drawing inputs: any bytes, and what was well changed a little.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::{Broken, Read, Target, Verdict, allocated_bytes_max};

/// How long bytes are that are drawn from nothing, at most.
const BYTES_MAX: usize = 300;
/// How many changes are made to one sample, at most.
const CHANGES_MAX: usize = 6;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Runs what it is given, and says how many bytes were allocated at once meanwhile.
pub type Allocated = dyn Fn(&mut dyn FnMut()) -> usize;

/// Holds each target to what it must do: its samples are read, and no input breaks it or makes it allocate beyond its bound.
/// `allocated` measures; nothing else may run in the process.
///
/// # Errors
/// The target, the smallest input that was found, and what it did.
pub fn hold(targets: &[Target], cases: u32, allocated: &Allocated) -> Result<(), String> {
    for target in targets {
        let samples = (target.samples)();
        for sample in &samples {
            let (verdict, _) = measured(target, sample, allocated);
            if verdict != Ok(Read::Whole) {
                return Err(format!("{}: the sample {sample:02x?} is {verdict:?}", target.name));
            }
        }
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let held = TestRunner::new(config).run(&input(samples), |input| {
            let (verdict, bytes) = measured(target, &input, allocated);
            verdict.map_err(|Broken(why)| TestCaseError::fail(why))?;
            let bytes_max = allocated_bytes_max(input.len());
            prop_assert!(bytes <= bytes_max, "{bytes} bytes were allocated, {bytes_max} at most");
            Ok(())
        });
        held.map_err(|error| format!("{}: {error}", target.name))?;
    }
    Ok(())
}

fn measured(target: &Target, input: &[u8], allocated: &Allocated) -> (Verdict, usize) {
    let mut verdict = Ok(Read::Refused);
    let bytes = allocated(&mut || verdict = (target.run)(input));
    (verdict, bytes)
}

/// One change of an input.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Number(Index, u64, usize),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, Index),
}

fn input(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (select(samples), vec(change(), 0..=CHANGES_MAX)).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|change| make(&mut bytes, change));
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..BYTES_MAX), 4 => changed]
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), select(EDGES.to_vec()), select(vec![1_usize, 2, 4, 8]))
            .prop_map(|(at, number, width)| Change::Number(at, number, width)),
        at().prop_map(Change::Cut),
        (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..20_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn make(bytes: &mut Vec<u8>, change: Change) {
    let place = |at: Index| at.index(bytes.len() + 1);
    match change {
        Change::Flip(at, bit) => {
            let place = place(at);
            bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << bit);
        }
        Change::Number(at, number, width) => {
            let place = place(at);
            let number = number.to_le_bytes().into_iter().take(width);
            bytes.iter_mut().skip(place).zip(number).for_each(|(byte, new)| *byte = new);
        }
        Change::Cut(at) => bytes.truncate(place(at)),
        Change::Insert(at, new) => drop(bytes.splice(place(at)..place(at), new)),
        Change::Remove(at, count) => {
            let place = place(at);
            drop(bytes.drain(place..(place + count).min(bytes.len())));
        }
        Change::Repeat(from, to) => {
            let (from, to) = (place(from), place(to));
            let part = bytes.get(from.min(to)..from.max(to)).unwrap_or_default().to_vec();
            bytes.extend(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: u32 = 256;
    const BYTES: usize = 1 << 30;

    fn samples() -> Vec<Vec<u8>> {
        vec![vec![1; 20]]
    }

    fn longer_than_the_sample(input: &[u8]) -> bool {
        input.len() > 20
    }

    /// What holding a decoder to its promise says when `input` is read by `run` and takes as much as `bytes` says.
    fn said(run: fn(&[u8]) -> Verdict, bytes: usize) -> String {
        let allocated = move |work: &mut dyn FnMut()| {
            work();
            bytes
        };
        hold(&[Target { name: "one", run, samples }], CASES, &allocated).err().unwrap_or_default()
    }

    #[test]
    fn what_is_wrong_with_a_decoder_is_found() {
        assert_eq!(said(|_| Ok(Read::Whole), 0), "");
        assert!(said(|_| Ok(Read::Refused), 0).starts_with("one: the sample"));
        let broken = |input: &[u8]| match longer_than_the_sample(input) {
            true => Err(Broken("it differs".to_owned())),
            false => Ok(Read::Whole),
        };
        assert!(said(broken, 0).contains("it differs"));
        assert!(said(|_| Ok(Read::Whole), BYTES).contains("bytes were allocated"));
        let panics = |input: &[u8]| {
            assert!(!longer_than_the_sample(input), "it panics");
            Ok(Read::Whole)
        };
        assert!(said(panics, 0).contains("it panics"));
    }
}
