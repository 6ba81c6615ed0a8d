//! Log time: what the leaders' stamps give once they are made never to fall.

/// How much one command may add to the age of sessions and keys: one bad clock must not make everything forgotten.
const AGE_STEP_MS_MAX: u64 = 60_000;

/// Time as the log has it (design D3). Two counters, because they fail differently: `time_ms` follows the highest stamp ever
/// seen, `age_ms` follows differences of neighbouring stamps and so recovers from a clock that was once far ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LogTime {
    /// Milliseconds since the Unix epoch; never falls.
    pub(crate) time_ms: u64,
    /// What sessions and keys grow old by.
    pub(crate) age_ms: u64,
    /// The last command's stamp.
    pub(super) stamp_ms: Option<u64>,
}

impl LogTime {
    /// Takes the stamp of the next command.
    pub(crate) fn advance(&mut self, stamp_ms: u64) {
        self.time_ms = self.time_ms.max(stamp_ms);
        let passed = stamp_ms.saturating_sub(self.stamp_ms.unwrap_or(stamp_ms));
        self.age_ms += passed.min(AGE_STEP_MS_MAX);
        self.stamp_ms = Some(stamp_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clock_far_ahead_neither_stops_time_nor_ages_everything() {
        let mut time = LogTime::default();
        time.advance(1_000_000);
        assert_eq!((time.time_ms, time.age_ms), (1_000_000, 0));
        time.advance(1_000_000 + 3_600_000);
        assert_eq!(time.age_ms, AGE_STEP_MS_MAX);
        time.advance(1_000_500);
        assert_eq!(time.time_ms, 4_600_000);
        time.advance(1_000_600);
        assert_eq!(time.age_ms, AGE_STEP_MS_MAX + 100);
    }
}
