//! Whether a model does the same wherever and however often it is run.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::state::Value;
use crate::{Call, CallOutcome, Model, ModelPredictor, RequestKind};

/// How often all requests are run again. Hash maps differ from run to run, but a small one may by chance come out the same.
const RUNS: usize = 4;
/// How long there is between two runs, so that a clock which is read shows another time.
const PAUSE: Duration = Duration::from_millis(3);
/// The bytes of states that are kept to tell how another one differs. Behind them only *that* it differs is known.
const STATES_BYTES_MAX: usize = 64 << 20;
/// Log time at the first request, in milliseconds since the Unix epoch.
const BASE_MS: u64 = 1_700_000_000_000;

/// How the requests were run when a difference showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run {
    /// Once more, from a fresh model, as at a replay or on another node.
    Again,
    /// Once more, and half way the model was put into a snapshot and taken out of it.
    ThroughSnapshot,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Differs {
    /// The model's answer.
    Outcome,
    /// What serde writes of the model.
    State,
    /// Nothing: the model cannot be run, or it panicked.
    Broken,
}

/// The first difference between two runs of the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Difference {
    /// The position of the request: 1 for the first; 0 for the model as it was made.
    pub position: u64,
    /// What differs.
    pub differs: Differs,
    /// How the requests were run the second time.
    pub run: Run,
    /// In which way.
    pub how: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { position, how, .. } = self;
        match self.differs {
            Differs::Outcome => write!(f, "the outcome at position {position} differs: {how}")?,
            Differs::State => write!(f, "the state after position {position} differs: {how}")?,
            Differs::Broken => return write!(f, "the model breaks at position {position}: {how}"),
        }
        f.write_str(match self.run {
            Run::Again => {
                ". The same requests were run once more from a fresh model: look for a clock, random numbers of its own, \
                 a hash map that is iterated, or state outside of the model"
            }
            Run::ThroughSnapshot => {
                ". The model had been put into a snapshot and taken out of it: look for a field that serde skips or does \
                 not read back as it was"
            }
        })
    }
}

/// Runs `requests` through models that `model` makes: once, then a few times more from a fresh one, then through a snapshot in
/// the middle. All runs must agree in every outcome and every state: that is what Boat expects of a model.
///
/// Requests travel as JSON, as those of clients do, with the times and the seeds that a log would give them. What can be found is what
/// shows within a few milliseconds on one machine: a clock that is read in whole seconds, or an environment that differs between
/// machines, does not. Maps are compared without regard to their order; a `HashSet` in the state is not, for serde writes it as a
/// list: hold a `BTreeSet`.
///
/// # Errors
/// The first [`Difference`] that shows.
///
/// ```
/// use boat_core::testing::check_determinism;
/// use boat_core::{Context, Model};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Mean { seen: u64, #[serde(skip)] sum: f64 }
///
/// impl Model for Mean {
///     type Request = f64;
///     type Response = f64;
///     fn predict(&mut self, _: &Context, x: f64) -> f64 {
///         self.seen += 1;
///         self.sum += x;
///         self.sum / self.seen as f64
///     }
/// }
///
/// let found = check_determinism(Mean::default, (0..10).map(f64::from)).unwrap_err();
/// assert_eq!(found.position, 6);
/// assert!(found.to_string().contains("a field that serde skips"));
/// ```
pub fn check_determinism<M: Model>(
    model: impl Fn() -> M,
    requests: impl IntoIterator<Item = M::Request>,
) -> Result<(), Box<Difference>> {
    let broken =
        |how: String| Box::new(Difference { position: 0, differs: Differs::Broken, run: Run::Again, how });
    let bodies: Result<Vec<Vec<u8>>, _> = requests.into_iter().map(|one| serde_json::to_vec(&one)).collect();
    let calls = calls(bodies.map_err(|error| broken(format!("a request is no JSON: {error}")))?);
    let make = || ModelPredictor::new(model()).map_err(|error| broken(error.to_string()));
    let mut first = Trace::default();
    first.follow(make()?, &calls, Run::Again)?;
    for _ in 0..RUNS {
        pause();
        first.follow(make()?, &calls, Run::Again)?;
    }
    first.follow(make()?, &calls, Run::ThroughSnapshot)
}

/// The requests as a log would hand them on.
pub(super) fn calls(bodies: impl IntoIterator<Item = impl Into<Bytes>>) -> Vec<Call> {
    let numbered = (1_u64..).zip(bodies);
    let call = |(position, body): (u64, _)| Call {
        position,
        predictions_before: position - 1,
        kind: RequestKind::Predict,
        body: Into::into(body),
        time_ms: BASE_MS + 7 * position,
        // Any numbers do that differ.
        seed: position.wrapping_mul(0x9E37_79B9_7F4A_7C15),
    };
    numbered.map(call).collect()
}

#[expect(clippy::disallowed_methods, reason = "time has to pass: what is looked for is whether it shows")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// What the first run gave; later ones are held against it.
#[derive(Debug, Default)]
struct Trace {
    outcomes: Vec<CallOutcome>,
    /// By position, from the fresh model on: its print, and what was written as long as there is room.
    states: Vec<(u64, Option<Vec<u8>>)>,
    states_bytes: usize,
}

impl Trace {
    /// Runs all calls. What is not known yet is taken; what is must be the same.
    fn follow<M: Model>(
        &mut self,
        mut model: ModelPredictor<M>,
        calls: &[Call],
        run: Run,
    ) -> Result<(), Box<Difference>> {
        self.state(&model, 0, run)?;
        for (place, call) in calls.iter().enumerate() {
            let position = call.position;
            let broken = |how| Box::new(Difference { position, differs: Differs::Broken, run, how });
            if run == Run::ThroughSnapshot && place == calls.len() / 2 {
                let written = model.written().map_err(|error| broken(error.to_string()))?;
                model.take(&written).map_err(|error| broken(error.to_string()))?;
            }
            let outcome = model.call(call).map_err(|error| broken(error.to_string()))?;
            match self.outcomes.get(place) {
                None => self.outcomes.push(outcome),
                Some(known) if *known == outcome => {}
                Some(known) => {
                    let how = format!("it was {}, and is {}", shown(known), shown(&outcome));
                    return Err(Box::new(Difference { position, differs: Differs::Outcome, run, how }));
                }
            }
            self.state(&model, position, run)?;
        }
        Ok(())
    }

    fn state<M: Model>(
        &mut self,
        model: &ModelPredictor<M>,
        position: u64,
        run: Run,
    ) -> Result<(), Box<Difference>> {
        let difference = |differs, how| Box::new(Difference { position, differs, run, how });
        let written = model.written().map_err(|error| difference(Differs::Broken, error.to_string()))?;
        let value = Value::read(&written).map_err(|why| difference(Differs::Broken, why))?;
        let place = usize::try_from(position).unwrap_or(usize::MAX);
        let Some((print, known)) = self.states.get(place) else {
            self.states_bytes = self.states_bytes.saturating_add(written.len());
            let kept = (self.states_bytes <= STATES_BYTES_MAX).then_some(written);
            self.states.push((value.print(), kept));
            return Ok(());
        };
        if *print == value.print() {
            return Ok(());
        }
        let known = known.as_deref().and_then(|known| Value::read(known).ok());
        let how = known.and_then(|known| known.difference(&value, "state"));
        Err(difference(Differs::State, how.unwrap_or_else(|| "it is too long to be told".to_owned())))
    }
}

/// An outcome as it is told.
pub(super) fn shown(outcome: &CallOutcome) -> String {
    match outcome {
        CallOutcome::Output(output) => String::from_utf8_lossy(output).into_owned(),
        CallOutcome::Rejected(why) => format!("rejected ({why})"),
        CallOutcome::Quarantined => "quarantined".to_owned(),
    }
}
