//! What waits until enough is applied: reads, and whoever wants to see a position.

use std::collections::BTreeSet;

/// How much must be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// Everything up to this entry.
    Index(u64),
    /// Everything up to this position.
    Position(u64),
}

/// Tickets by what they wait for. Ticket and goal are the caller's; each pair stands here once.
#[derive(Debug, Default)]
pub(crate) struct Due {
    by_index: BTreeSet<(u64, u64)>,
    by_position: BTreeSet<(u64, u64)>,
}

impl Due {
    fn side(&mut self, until: Until) -> (&mut BTreeSet<(u64, u64)>, u64) {
        match until {
            Until::Index(index) => (&mut self.by_index, index),
            Until::Position(position) => (&mut self.by_position, position),
        }
    }

    pub(crate) fn insert(&mut self, until: Until, ticket: u64) {
        let (side, goal) = self.side(until);
        side.insert((goal, ticket));
    }

    pub(crate) fn remove(&mut self, until: Until, ticket: u64) {
        let (side, goal) = self.side(until);
        side.remove(&(goal, ticket));
    }

    /// Takes a ticket whose goal is reached.
    pub(crate) fn pop(&mut self, applied_index: u64, position: u64) -> Option<u64> {
        for (side, reached) in [(&mut self.by_index, applied_index), (&mut self.by_position, position)] {
            if side.first().is_some_and(|(goal, _)| *goal <= reached) {
                return side.pop_first().map(|(_, ticket)| ticket);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_due_once_its_goal_is_reached() {
        let mut due = Due::default();
        due.insert(Until::Index(5), 1);
        due.insert(Until::Position(3), 2);
        due.insert(Until::Position(4), 3);
        due.remove(Until::Position(4), 3);
        assert_eq!(due.pop(4, 2), None);
        assert_eq!(due.pop(4, 9), Some(2));
        assert_eq!(due.pop(4, 9), None);
        assert_eq!(due.pop(5, 0), Some(1));
        assert_eq!(due.pop(u64::MAX, u64::MAX), None);
    }
}
