//! Measuring: contenders take turns, so that a machine that slows down slows all of them down.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{Result, Size};

/// A spread beyond this part of the median is printed.
const SPREAD_MAX: f64 = 0.2;

/// What was measured in several rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    sorted: Vec<f64>,
}

impl Figure {
    /// A figure from its samples, in any order.
    pub fn new(mut samples: Vec<f64>) -> Figure {
        samples.sort_by(f64::total_cmp);
        Figure { sorted: samples }
    }

    /// The middle sample; 0 without samples.
    pub fn median(&self) -> f64 {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or_default()
    }

    /// The least and the greatest sample.
    pub fn range(&self) -> (f64, f64) {
        (self.sorted.first().copied().unwrap_or_default(), self.sorted.last().copied().unwrap_or_default())
    }

    /// Each sample as `convert` gives it.
    #[must_use]
    pub fn map(&self, convert: impl Fn(f64) -> f64) -> Figure {
        Figure::new(self.sorted.iter().copied().map(convert).collect())
    }
}

/// The median, with the range where it is wide: `12.3 (9.1-15.2)`.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, (least, most)) = (self.median(), self.range());
        let digits = f.precision().unwrap_or(2);
        let text = if most - least > SPREAD_MAX * median {
            format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
        } else {
            format!("{median:.digits$}")
        };
        f.pad_integral(true, "", &text)
    }
}

/// One of those who are measured against each other.
pub struct Contender<'a> {
    /// How it is called in the output.
    pub name: &'static str,
    /// Does the work once and says how long it took, preparations aside.
    pub run: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender whose whole run counts.
    pub fn new(name: &'static str, mut run: impl FnMut() -> Result<()> + 'a) -> Contender<'a> {
        let run = move || {
            let started = Instant::now();
            run()?;
            Ok(started.elapsed())
        };
        Contender { name, run: Box::new(run) }
    }
}

impl fmt::Debug for Contender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Lets all contenders run in turns, for one round to warm up and then `rounds` more of `turns` turns each, and gives the seconds
/// that each one's turns of a round took together.
///
/// # Errors
/// What a contender says.
pub fn race(contenders: &mut [Contender<'_>], rounds: usize, turns: usize) -> Result<Vec<Figure>> {
    let mut samples = vec![vec![0.0; rounds + 1]; contenders.len()];
    for round in 0..=rounds {
        for _ in 0..turns {
            for (contender, samples) in contenders.iter_mut().zip(&mut samples) {
                let took = (contender.run)().map_err(|error| format!("{}: {error}", contender.name))?;
                if let Some(sample) = samples.get_mut(round) {
                    *sample += took.as_secs_f64();
                }
            }
        }
    }
    Ok(samples.into_iter().map(|samples| Figure::new(samples.into_iter().skip(1).collect())).collect())
}

/// A goal, and how near a run came.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    name: String,
    measured: f64,
    target: f64,
    at_least: bool,
}

impl Goal {
    /// More is better.
    pub fn at_least(name: impl Into<String>, measured: f64, target: f64) -> Goal {
        Goal { name: name.into(), measured, target, at_least: true }
    }

    /// Less is better.
    pub fn at_most(name: impl Into<String>, measured: f64, target: f64) -> Goal {
        Goal { name: name.into(), measured, target, at_least: false }
    }

    /// Prints the goals of a run that means something.
    pub fn print(goals: &[Goal], size: Size) {
        if size > Size::Test {
            println!();
            goals.iter().for_each(|goal| println!("{goal}"));
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { name, measured, target, at_least } = self;
        let (sign, met) = if *at_least { (">=", measured >= target) } else { ("<=", measured <= target) };
        write!(f, "goal {name} {measured:.2} {sign} {target:.2} {}", if met { "met" } else { "missed" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_shows_its_range_where_it_is_wide() {
        assert_eq!(Figure::new(vec![3.0, 1.0, 2.0]).to_string(), "2.00 (1.00-3.00)");
        assert_eq!(format!("{:.1}", Figure::new(vec![10.0, 11.0, 10.5])), "10.5");
        assert_eq!(Figure::new(vec![2.0, 4.0]).map(|seconds| 8.0 / seconds).range(), (2.0, 4.0));
    }

    #[test]
    fn a_goal_says_whether_it_is_met() {
        assert_eq!(Goal::at_least("fast", 0.81, 0.8).to_string(), "goal fast 0.81 >= 0.80 met");
        assert_eq!(Goal::at_most("small", 51.0, 50.0).to_string(), "goal small 51.00 <= 50.00 missed");
    }

    #[test]
    fn contenders_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let contender = |name: &'static str| {
            let order = &order;
            Contender::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(())
            })
        };
        let figures = race(&mut [contender("a"), contender("b")], 2, 2).unwrap();
        assert_eq!((order.borrow().as_str(), figures.len()), ("abababababab", 2));
    }
}
