//! Election safety (Raft, figure 3): at most one leader in a term.

use std::collections::BTreeMap;

use super::super::context::Checked;
use super::require;
use crate::RaftId;

/// Who led when.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeMap<u64, RaftId>);

impl Leaders {
    /// True: nobody was known to lead in this term before.
    pub(super) fn observe(&mut self, leader: RaftId, term: u64) -> Checked<bool> {
        let known = self.0.insert(term, leader);
        require(known.is_none_or(|known| known == leader), "election safety", || {
            format!("{known:?} and {leader} both lead in term {term}")
        })?;
        Ok(known.is_none())
    }
}
