//! What the log has decided: a function of its committed entries.

use std::collections::BTreeMap;

use crate::Decision;
use crate::codec::{Malformed, Reader};

/// About how many requests there may be decisions. Further ones have no effect, on any node.
const POSITIONS_MAX: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Verdict {
    /// How often it was decided to try the request again.
    retries: u32,
    is_quarantined: bool,
}

/// What the log has decided about requests that crash models, up to some entry.
///
/// A decision counts if it was proposed in the *round* that its request is in: the number of retries that stand in the log
/// before it. So a quarantine that was proposed before a retry, and comes to stand behind it, is void. A request that is
/// quarantined stays so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decisions {
    verdicts: BTreeMap<u64, Verdict>,
    index: u64,
}

impl Decisions {
    /// Takes the decision of the committed entry at `index`. False: it is void. Entries come in order; one that was taken
    /// already changes nothing.
    pub fn take(&mut self, index: u64, decision: Decision) -> bool {
        let known = self.verdicts.contains_key(&decision.position());
        if index <= self.index || (!known && self.verdicts.len() >= POSITIONS_MAX) {
            return false;
        }
        let verdict = self.verdicts.entry(decision.position()).or_default();
        let counts = match decision {
            _ if verdict.is_quarantined => false,
            Decision::Quarantine { round, forced, .. } => forced || round == verdict.retries,
            Decision::Retry { round, .. } => round == verdict.retries,
        };
        if counts {
            match decision {
                Decision::Quarantine { .. } => verdict.is_quarantined = true,
                Decision::Retry { .. } => verdict.retries = verdict.retries.saturating_add(1),
            }
            self.index = index;
        } else if *verdict == Verdict::default() {
            self.verdicts.remove(&decision.position());
        }
        counts
    }

    /// The entry of the last decision that counted; 0 when there was none.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether the request at this position is quarantined.
    pub fn is_quarantined(&self, position: u64) -> bool {
        self.verdicts.get(&position).is_some_and(|verdict| verdict.is_quarantined)
    }

    /// The round that a request is in: how often it was decided to try it again.
    pub fn round(&self, position: u64) -> u32 {
        self.verdicts.get(&position).map_or(0, |verdict| verdict.retries)
    }

    /// The quarantined positions from `first` to `last`, rising.
    pub fn quarantined(&self, first: u64, last: u64) -> impl Iterator<Item = u64> {
        let range = if first <= last { Some(self.verdicts.range(first..=last)) } else { None };
        let verdicts = range.into_iter().flatten();
        verdicts.filter(|(_, verdict)| verdict.is_quarantined).map(|(position, _)| *position)
    }

    /// Appends the decisions: `| index u64 | count u32 | count x (position u64 | retries u32 | is quarantined u8) |`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&(self.verdicts.len() as u32).to_le_bytes());
        for (position, Verdict { retries, is_quarantined }) in &self.verdicts {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&retries.to_le_bytes());
            out.push(u8::from(*is_quarantined));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Decisions, Malformed> {
        let index = reader.u64()?;
        let mut verdicts = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let position = reader.u64()?;
            let retries = reader.u32()?;
            let is_quarantined = match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed("decisions")),
            };
            verdicts.insert(position, Verdict { retries, is_quarantined });
        }
        if verdicts.len() > POSITIONS_MAX {
            return Err(Malformed("decisions"));
        }
        Ok(Decisions { verdicts, index })
    }

    /// Reads what [`Decisions::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`Malformed`] when `bytes` are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Decisions, Malformed> {
        let mut reader = Reader::new(bytes, "decisions");
        let decisions = Decisions::read(&mut reader)?;
        reader.finish()?;
        Ok(decisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarantine(round: u32, forced: bool) -> Decision {
        Decision::Quarantine { position: 5, round, forced }
    }

    fn retry(round: u32) -> Decision {
        Decision::Retry { position: 5, round }
    }

    #[test]
    fn a_retry_voids_quarantines_of_its_round_that_come_behind_it() {
        let mut decisions = Decisions::default();
        assert!(decisions.take(10, retry(0)));
        assert!(!decisions.take(11, quarantine(0, false)), "proposed before the retry");
        assert!(!decisions.take(12, retry(0)), "the same decision once more");
        assert_eq!((decisions.round(5), decisions.is_quarantined(5), decisions.index()), (1, false, 10));
        assert!(decisions.take(13, quarantine(1, false)));
        assert!(!decisions.take(14, retry(1)), "a quarantine stays");
        assert!(decisions.is_quarantined(5));
    }

    #[test]
    fn an_operator_s_quarantine_counts_in_every_round_and_once() {
        let mut decisions = Decisions::default();
        decisions.take(1, retry(0));
        assert!(decisions.take(2, quarantine(0, true)));
        assert!(!decisions.take(3, quarantine(0, true)));
        assert_eq!(decisions.quarantined(0, 4).count(), 0);
        assert_eq!(decisions.quarantined(5, 4).count(), 0);
        assert_eq!(decisions.quarantined(5, 9).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn an_entry_that_is_handed_over_again_changes_nothing() {
        let mut decisions = Decisions::default();
        assert!(decisions.take(7, retry(0)));
        let before = decisions.clone();
        assert!(!decisions.take(7, retry(1)));
        assert!(!decisions.take(8, quarantine(0, false)));
        assert_eq!(decisions, before);
    }

    #[test]
    fn decisions_read_back_and_no_prefix_does() {
        let mut decisions = Decisions::default();
        decisions.take(3, retry(0));
        decisions.take(4, Decision::Quarantine { position: 9, round: 0, forced: false });
        let mut bytes = Vec::new();
        decisions.encode(&mut bytes);
        assert_eq!(Decisions::decode(&bytes), Ok(decisions));
        for cut in 0..bytes.len() {
            assert!(Decisions::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
