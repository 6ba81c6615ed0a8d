//! Real time: what is asked after an answer was heard stands behind what that answer told of (promises S4 and S6).

use super::check::Books;
use super::record::Record;

/// Something that happened at a moment. Of two at one moment what begins counts as the earlier: nobody can tell.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment<'a> {
    /// An operation was first sent.
    Sent { operation: &'a str, position: u64 },
    /// A linearizable read was asked for.
    Asked { position: u64 },
    /// Somebody heard of a position.
    Heard { position: u64 },
}

/// Goes through all moments in order, and keeps the highest position that anybody had heard of.
pub(super) fn check_order(books: &mut Books<'_>, records: &[Record]) {
    let mut moments = Vec::new();
    for (operation, known) in &books.operations {
        let Some(position) = known.position else { continue };
        if let Some(at_us) = known.first_sent_us {
            moments.push((at_us, Moment::Sent { operation, position }));
            let answered_us = known.first_answered_us.unwrap_or(at_us);
            books.violations.require(answered_us >= at_us, "S8", || {
                format!("operation {operation} was answered before anybody asked for it")
            });
        }
        moments.extend(known.first_answered_us.map(|at_us| (at_us, Moment::Heard { position })));
    }
    for record in records {
        if let Record::Read { from_us, to_us, position, linearizable } = *record {
            if linearizable {
                moments.push((from_us, Moment::Asked { position }));
            }
            moments.push((to_us, Moment::Heard { position }));
        }
    }
    moments.sort_unstable();
    let mut heard = 0;
    for (at_us, moment) in moments {
        match moment {
            Moment::Sent { operation, position } => {
                books.violations.require(position > heard, "S4", || {
                    format!(
                        "operation {operation} stands at position {position}, \
                         and was first sent at {at_us} us, after position {heard} had been answered"
                    )
                });
            }
            Moment::Asked { position } => {
                books.violations.require(position >= heard, "S6", || {
                    format!(
                        "a read covers position {position}, \
                         and was asked for at {at_us} us, after position {heard} had been answered"
                    )
                });
            }
            Moment::Heard { position } => heard = heard.max(position),
        }
    }
}
