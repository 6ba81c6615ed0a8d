//! What to watch, and what to do.
//!
//! [`Node::status`](crate::Node::status) is a copy of all that a node knows of itself, [`Node::events`](crate::Node::events) tells
//! changes as they happen:
//!
//! ```no_run
//! # use boat_core::{Node, NodeEvent};
//! # async fn watch(node: &Node) {
//! let mut events = node.events();
//! while let Some(event) = events.next().await {
//!     match event {
//!         NodeEvent::AlarmRaised(alarm) => eprintln!("look at {}: {}", node.id(), alarm.name()),
//!         NodeEvent::Leader { leader, term } => println!("{leader:?} leads in term {term}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! | alarm | cause | what to do |
//! |---|---|---|
//! | [`DiskFull`](crate::Alarm::DiskFull) | less than `limits.free_bytes_min` is free | make room; the node goes on by itself |
//! | [`BackendUnhealthy`](crate::Alarm::BackendUnhealthy) | the model's backend does not answer, or has lost its state | look at the backend; the node rebuilds its state by itself |
//! | [`RequestHeld`](crate::Alarm::RequestHeld) | a request broke this node's model three times | nothing, if the others agree: they decide. Read the model's log |
//! | [`QuarantineBlocked`](crate::Alarm::QuarantineBlocked) | a member that cannot be asked keeps such a request from being decided | start that node, or remove it, or [force the decision](crate::Node::quarantine) |
//! | [`Diverged`](crate::Alarm::Diverged) | this node's model differs from those of a majority | [find out why](super::determinism); the node is rebuilt twice, then stays out |
//! | [`DigestsDisagree`](crate::Alarm::DigestsDisagree) | models differ, and no value has a majority | the same, and before anything else: nobody can say who is right |
//!
//! **Ending.** [`Node::shutdown`](crate::Node::shutdown) hands leadership over, lets what waits be answered, syncs and ends without a word
//! of error. A node that is killed loses nothing that was answered.
//!
//! **Exit statuses.** [`Error::exit_status`](crate::Error::exit_status): 64 says that another try would end alike; 74 a disk that
//! failed; 75 a directory that is in use; 76 one that went back in time or is damaged; 77 a node that was removed; 70 anything else.
//! A supervisor starts a node again after all of them but 64.
//!
//! **A disk that fails** ends its node: a failed write or sync is never tried again, because nobody knows what it left. Look at the disk,
//! then start the node again; with an empty directory if need be.
//!
//! **Backups** of data directories are not for putting back: a node whose directory went back in time may have forgotten a vote. It is found
//! and set aside where those whom it meets first remember more; nobody does once they were started anew.
