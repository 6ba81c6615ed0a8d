//! A configuration whose bounds were checked.

use std::ops::Deref;

/// A configuration that passed its `check`: constructors take only this, so nothing runs on values that were never
/// looked at. Reads like the configuration itself.
///
/// ```
/// use boat_core::config::HttpOptions;
/// let options = HttpOptions { connections_max: 10, ..HttpOptions::default() }.check()?;
/// assert_eq!(options.connections_max, 10);
/// assert!(HttpOptions { connections_max: 0, ..HttpOptions::default() }.check().is_err());
/// # Ok::<(), boat_core::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// For the `check` functions of this module alone.
    pub(super) fn vouch(config: T) -> Self {
        Checked(config)
    }

    /// The configuration by itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
