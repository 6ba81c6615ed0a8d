//! What was seen, as it is seen.

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use boat_core::history::Record;

use super::Failure;

/// The records of everybody, on one clock.
#[derive(Debug)]
pub(crate) struct Records {
    began: Instant,
    all: Mutex<Vec<Record>>,
}

impl Default for Records {
    fn default() -> Self {
        Records { began: Instant::now(), all: Mutex::default() }
    }
}

impl Records {
    /// Now, on the clock of the records.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn push(&self, record: Record) {
        self.lock().push(record);
    }

    pub(crate) fn all(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// How many there are of which kind, in words.
    pub(crate) fn counts(&self) -> String {
        let all = self.lock();
        let count = |wanted: fn(&Record) -> bool| all.iter().filter(|record| wanted(record)).count();
        format!(
            "{} sent, {} answered, {} failed, {} reads",
            count(|record| matches!(record, Record::Sent { .. })),
            count(|record| matches!(record, Record::Answered { .. })),
            count(|record| matches!(record, Record::Failed { .. })),
            count(|record| matches!(record, Record::Read { .. })),
        )
    }

    /// Writes them all into a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for record in self.lock().iter() {
            writeln!(file, "{}", record.to_line())?;
        }
        file.flush()?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
