//! Waiting longer after each failure, up to a bound, and never in step with others.

use std::time::Duration;

/// A capped exponential backoff with jitter: each delay is drawn from the upper half of a span that doubles.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    span: Duration,
}

impl Backoff {
    /// Delays of at most `min` after the first failure, and at most `max` after any.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Backoff { min, max, span: min }
    }

    /// Starts again with the shortest delay.
    pub(crate) fn reset(&mut self) {
        self.span = self.min;
    }

    /// How long to wait after one more failure. `random` decides within the span.
    pub(crate) fn next(&mut self, random: u32) -> Duration {
        let half = self.span / 2;
        let jitter = half.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.span = self.span.saturating_mul(2).min(self.max);
        half + jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_bound() {
        let mut backoff = Backoff::new(MIN, MAX);
        let longest: Vec<_> = (0..9).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), MIN);
    }

    #[test]
    fn jitter_takes_off_half_at_most() {
        let delay = |random| Backoff::new(MIN, MAX).next(random);
        assert_eq!(delay(0), MIN / 2);
        assert!(delay(1 << 31) > MIN * 7 / 10 && delay(1 << 31) < MIN * 8 / 10);
        assert_eq!(delay(u32::MAX), MIN);
    }
}
