//! Raft's own log lines, as lines of the `log` crate.

use std::fmt::Write as _;

use slog::{Drain, KV, Key, Logger, OwnedKVList, Record, Serializer};

/// A logger for `raft` whose lines go to `log` under the target `boat_core::raft`, one level down: what Raft calls news is
/// detail to an operator.
pub(super) fn logger() -> Logger {
    Logger::root(ToLog, slog::o!())
}

struct ToLog;

impl Drain for ToLog {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let level = match record.level() {
            slog::Level::Critical | slog::Level::Error => log::Level::Error,
            slog::Level::Warning => log::Level::Info,
            slog::Level::Info => log::Level::Debug,
            slog::Level::Debug | slog::Level::Trace => log::Level::Trace,
        };
        const TARGET: &str = "boat_core::raft";
        if log::log_enabled!(target: TARGET, level) {
            let mut text = Text(record.msg().to_string());
            // A line that cannot be written whole is still worth its message.
            let _ = record.kv().serialize(record, &mut text);
            let _ = values.serialize(record, &mut text);
            log::log!(target: TARGET, level, "{}", text.0);
        }
        Ok(())
    }
}

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, " {key}={value}").map_err(slog::Error::from)
    }
}
