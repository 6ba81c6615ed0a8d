//! What can be wrong with a configuration.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Why a configuration was refused: names the field as it stands in the TOML file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value lies outside its bounds.
    #[error("`{field}` is {value}: it must be from {lowest} to {highest}")]
    Bound {
        /// The field, with its section.
        field: &'static str,
        /// What it is.
        value: String,
        /// The lowest value allowed.
        lowest: String,
        /// The highest value allowed.
        highest: String,
    },
    /// A field that has no default is not there.
    #[error("`{field}` is missing: {hint}")]
    Missing {
        /// The field.
        field: &'static str,
        /// What belongs there.
        hint: &'static str,
    },
    /// Two values do not go together.
    #[error("`{field}` {reason}")]
    Conflict {
        /// The field that should change.
        field: &'static str,
        /// What it conflicts with, and how.
        reason: String,
    },
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The file is no configuration: says where and why.
    #[error("configuration file {}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Line, column, key and what is wrong there.
        reason: String,
    },
}

impl From<ConfigError> for crate::Error {
    fn from(error: ConfigError) -> Self {
        crate::Error::Config(error.to_string())
    }
}

/// Checks that `value` lies in `range`.
pub(super) fn bound<T: PartialOrd + Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (lowest, highest) = (range.start().to_string(), range.end().to_string());
    Err(ConfigError::Bound { field, value: value.to_string(), lowest, highest })
}
