//! What metrics are made of: meters and histograms with Clipper's fields.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// A meter counts in steps of this length.
const STEP: Duration = Duration::from_secs(5);
/// The longest window of a meter, in steps: fifteen minutes.
const STEPS_MAX: usize = 180;
/// How many of the last values a histogram knows.
const VALUES_MAX: usize = 512;

/// Events per second, since the start and over the last minutes.
#[derive(Debug)]
pub(super) struct Meter {
    started: Instant,
    count: u64,
    /// Events of the steps that are over, the last one at the end, and of the current one behind them.
    steps: VecDeque<u64>,
    /// How many steps have begun.
    begun: u64,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Meter { started: now, count: 0, steps: VecDeque::from([0]), begun: 1 }
    }

    pub(super) fn add(&mut self, events: u64, now: Instant) {
        self.go_on(now);
        self.count += events;
        if let Some(current) = self.steps.back_mut() {
            *current += events;
        }
    }

    fn go_on(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started).as_millis() / STEP.as_millis();
        let begun = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(1);
        // After a long rest only as many steps as are kept.
        for _ in 0..begun.saturating_sub(self.begun).min(STEPS_MAX as u64 + 1) {
            self.steps.push_back(0);
            if self.steps.len() > STEPS_MAX + 1 {
                self.steps.pop_front();
            }
        }
        self.begun = self.begun.max(begun);
    }

    /// Events per second in the last `minutes`, -1 before so much time has passed.
    fn rate_over(&self, minutes: usize) -> f64 {
        let steps = minutes * 60 / STEP.as_secs() as usize;
        if self.begun <= steps as u64 {
            return -1.0;
        }
        let events: u64 = self.steps.iter().rev().skip(1).take(steps).sum();
        events as f64 / (minutes * 60) as f64
    }

    pub(super) fn show(&mut self, now: Instant) -> Value {
        self.go_on(now);
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        let rate = if seconds > 0.0 { self.count as f64 / seconds } else { 0.0 };
        json!({
            "unit": "events per second",
            "rate": rate.to_string(),
            "rate_1min": self.rate_over(1).to_string(),
            "rate_5min": self.rate_over(5).to_string(),
            "rate_15min": self.rate_over(15).to_string(),
        })
    }
}

/// The last values of something.
#[derive(Debug)]
pub(super) struct Histogram {
    unit: &'static str,
    values: VecDeque<f64>,
}

impl Histogram {
    pub(super) fn new(unit: &'static str) -> Self {
        Histogram { unit, values: VecDeque::new() }
    }

    pub(super) fn add(&mut self, value: f64) {
        if self.values.len() == VALUES_MAX {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    pub(super) fn show(&self) -> Value {
        let mut sorted: Vec<f64> = self.values.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len().max(1) as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let at = |part: f64| {
            let place = (part * sorted.len() as f64).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0).to_string()
        };
        json!({
            "unit": self.unit,
            "size": sorted.len().to_string(),
            "min": at(0.0),
            "max": at(1.0),
            "mean": mean.to_string(),
            "std_dev": variance.sqrt().to_string(),
            "p50": at(0.5),
            "p95": at(0.95),
            "p99": at(0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_tells_rates_once_their_window_is_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::new(start);
        meter.add(600, at(10));
        assert_eq!(meter.show(at(10))["rate"], "60");
        assert_eq!(meter.show(at(59))["rate_1min"], "-1");
        assert_eq!(meter.show(at(60))["rate_1min"], "10");
        assert_eq!(meter.show(at(75))["rate_1min"], "0");
        assert_eq!(meter.show(at(299))["rate_5min"], "-1");
        assert_eq!(meter.show(at(300))["rate_5min"], "2");
        assert_eq!(meter.show(at(100_000))["rate_15min"], "0");
        assert!(meter.steps.len() <= STEPS_MAX + 1);
    }

    #[test]
    fn a_histogram_tells_of_its_last_values() {
        let mut histogram = Histogram::new("microseconds");
        assert_eq!(histogram.show()["p99"], "0");
        (0..=100).for_each(|value| histogram.add(f64::from(value)));
        let shown = histogram.show();
        assert_eq!(
            (&shown["size"], &shown["min"], &shown["max"]),
            (&json!("101"), &json!("0"), &json!("100"))
        );
        assert_eq!(
            (&shown["mean"], &shown["p50"], &shown["p99"]),
            (&json!("50"), &json!("50"), &json!("99"))
        );
        (0..VALUES_MAX).for_each(|_| histogram.add(7.0));
        assert_eq!((&histogram.show()["min"], &histogram.show()["std_dev"]), (&json!("7"), &json!("0")));
    }
}
