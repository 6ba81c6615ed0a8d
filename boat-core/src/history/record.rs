//! What a history is made of, and its lines.

use std::io::{BufRead, Read};

use serde::{Deserialize, Serialize};

/// The longest line that is read.
pub const LINE_BYTES_MAX: u64 = 1 << 20;

/// Something that was seen from outside. Times are microseconds on one clock, the same for all records of a history.
///
/// An *operation* is one thing that a client wants done once, however often it asks; its name is unique in the history (the
/// idempotency key serves). Each asking is a [`Record::Sent`], and ends with one [`Record::Answered`] or [`Record::Failed`] at most.
///
/// A line of a file is the record as JSON, its name in snake case under `record`:
///
/// ```
/// # use boat_core::history::Record;
/// let record = Record::Failed { at_us: 7, operation: "a/1".to_owned(), definite: false };
/// assert_eq!(record.to_line(), r#"{"record":"failed","at_us":7,"operation":"a/1","definite":false}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A client is about to send an operation's request, for the first time or once more.
    Sent {
        /// When.
        at_us: u64,
        /// Which operation.
        operation: String,
    },
    /// A client was given an operation's outcome.
    Answered {
        /// When.
        at_us: u64,
        /// Which operation.
        operation: String,
        /// Its position.
        position: u64,
        /// What the client was told, as text or a hash of it.
        outcome: String,
    },
    /// An asking ended without an outcome.
    Failed {
        /// When.
        at_us: u64,
        /// Which operation.
        operation: String,
        /// Whether the client was told that this asking was not applied and never will be. A connection that broke tells
        /// nothing.
        definite: bool,
    },
    /// A client read the model's state.
    Read {
        /// When it asked.
        from_us: u64,
        /// When it was answered.
        to_us: u64,
        /// The position that the answer covers.
        position: u64,
        /// Whether it asked for everything that had been answered before; else any earlier state is good.
        linearizable: bool,
    },
    /// A node holds this request at this position. Either all positions of a node are told, from 1 on, or none; those of the last
    /// requests may be missing where [`Record::Ended`] tells of them.
    Applied {
        /// Which node.
        node: u16,
        /// The position.
        position: u64,
        /// Which operation; nothing for what no client of this history asked for, as the opening of a session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
        /// The outcome that it had there, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        outcome: Option<String>,
        /// The running digest behind it, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// What a node had come to when everything was over, and the cluster had had time to heal.
    Ended {
        /// Which node.
        node: u16,
        /// Its last position.
        position: u64,
        /// Its running digest.
        digest: String,
    },
}

impl Record {
    /// The record as one line, without its end.
    pub fn to_line(&self) -> String {
        // Strings, numbers and booleans under fixed names: nothing here can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The source failed.
    #[error("line {line}: {error}")]
    Unreadable {
        /// Which line, counted from 1.
        line: usize,
        /// Why.
        error: std::io::Error,
    },
    /// A line is longer than [`LINE_BYTES_MAX`].
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// Which line, counted from 1.
        line: usize,
    },
    /// A line is no record.
    #[error("line {line} is no record: {error}")]
    Malformed {
        /// Which line, counted from 1.
        line: usize,
        /// Why not.
        error: serde_json::Error,
    },
}

/// Reads a history: one record a line, in any order. Empty lines are passed over.
///
/// # Errors
/// [`HistoryError`] names the first line that is no record.
pub fn read(mut source: impl BufRead) -> Result<Vec<Record>, HistoryError> {
    let mut records = Vec::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut limited = source.by_ref().take(LINE_BYTES_MAX + 1);
        let count = limited.read_until(b'\n', &mut bytes);
        let count = count.map_err(|error| HistoryError::Unreadable { line, error })?;
        if count == 0 {
            break;
        }
        if count as u64 > LINE_BYTES_MAX {
            return Err(HistoryError::TooLong { line });
        }
        if !bytes.trim_ascii().is_empty() {
            let record = serde_json::from_slice(&bytes);
            records.push(record.map_err(|error| HistoryError::Malformed { line, error })?);
        }
    }
    Ok(records)
}
