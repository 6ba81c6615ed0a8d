//! What a snapshot proves: that the log was committed as far as it goes.

use std::path::Path;

use super::path;
use super::store::{list, look};
use crate::log::files::Files;
use crate::log::{LogError, Recovered};
use crate::quarantine::Decisions;

/// Raises the commit of a log that was opened to that of the newest sound snapshot whose entry it holds.
///
/// A commit alone is not synced, and snapshots are: after a loss of power the newest ones may be newer than the commit on the
/// disk, and those that were older be gone. Only what was committed is ever in a snapshot. One that brings a membership or
/// `decisions` that are not known here was never taken for good.
///
/// # Errors
/// [`LogError::Io`].
pub(crate) fn raise_commit(
    files: &dyn Files,
    directory: &Path,
    recovered: &mut Recovered,
    decisions: &Decisions,
) -> Result<(), LogError> {
    for index in list(files, directory)? {
        if index <= recovered.hard_state.commit {
            return Ok(());
        }
        if index > recovered.last_index {
            continue;
        }
        let kept = match look(files, &path(directory, index), true) {
            Ok(kept) => kept,
            Err(error) if error.is_damage() => continue,
            Err(error) => return Err(error),
        };
        let is_known = kept.about.membership.index == recovered.membership.index
            && kept.about.decisions.index() <= decisions.index();
        if is_known && term_at(recovered, index) == Some(kept.name.term) {
            recovered.hard_state.commit = index;
            recovered.tail.retain(|entry| entry.index > index);
            return Ok(());
        }
    }
    Ok(())
}

fn term_at(recovered: &Recovered, index: u64) -> Option<u64> {
    let begun = recovered.term_starts.partition_point(|(first, _)| *first <= index);
    begun.checked_sub(1).and_then(|place| recovered.term_starts.get(place)).map(|(_, term)| *term)
}
