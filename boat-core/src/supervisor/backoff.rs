//! How long to wait before a start.

use std::time::Duration;

use super::SupervisorOptions;

/// Waits that double with each quick death, up to a limit; a healthy run starts over. No jitter: the children share one
/// machine, and nothing that they could overrun together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    healthy_after: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(options: &SupervisorOptions) -> Self {
        let first = options.backoff_first.min(options.backoff_max);
        Self { first, max: options.backoff_max, healthy_after: options.healthy_after, next: first }
    }

    /// The wait after a run of this length.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        if ran >= self.healthy_after {
            self.next = self.first;
        }
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.max);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::ZERO;

    fn backoff(first_ms: u64, max_ms: u64) -> Backoff {
        Backoff::new(&SupervisorOptions {
            backoff_first: Duration::from_millis(first_ms),
            backoff_max: Duration::from_millis(max_ms),
            healthy_after: Duration::from_secs(10),
            ..SupervisorOptions::default()
        })
    }

    #[test]
    fn waits_double_up_to_the_limit() {
        let mut backoff = backoff(100, 500);
        let waits: Vec<u128> = (0..5).map(|_| backoff.after(QUICK).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 500, 500]);
    }

    #[test]
    fn a_healthy_run_starts_over() {
        let mut backoff = backoff(100, 500);
        backoff.after(QUICK);
        backoff.after(QUICK);
        assert_eq!(backoff.after(Duration::from_secs(10)), Duration::from_millis(100));
        assert_eq!(backoff.after(QUICK), Duration::from_millis(200));
    }

    #[test]
    fn the_first_wait_keeps_the_limit_too() {
        assert_eq!(backoff(900, 500).after(QUICK), Duration::from_millis(500));
    }
}
