//! Nodes that come, go, move and lose their disks.
//!
//! **Founding.** Nodes with empty directories and the same member list found a cluster once all of them are there. After that the
//! membership is part of the replicated state, and lists only say where to look.
//!
//! **A disk that is lost.** Start the node again with an empty directory, under its number: it is a new incarnation, and one change puts it in
//! the place of the former. Nothing has to be asked for.
//!
//! **A machine that moves.** Start the node with its new address in its own list. The others learn it.
//!
//! **Growing.** Start the new node with a list that names it and some of the members, and with `join`; then add it:
//!
//! ```no_run
//! use boat_core::{MemberList, Node, transport::local::LocalTransport};
//! # async fn grow(node: &Node, transport: LocalTransport, echo: impl boat_core::Predictor)
//! # -> Result<(), Box<dyn std::error::Error>> {
//!
//! let members: MemberList = "0=10.0.0.1:8000,1=10.0.0.2:8000,3=10.0.0.4:8000".parse()?;
//! let new = Node::builder(3).data_dir("boat-3").members(members).join(true);
//! let new = new.transport(transport).start_predictor(echo).await?;
//! node.add(3, "10.0.0.4:8000").await?;
//! new.ready().await?;
//! # Ok(())
//! # }
//! ```
//!
//! It takes part as a learner until it has caught up, and has a vote from then on. So a change never leaves fewer votes than it found.
//!
//! **Shrinking.** [`Node::remove`](crate::Node::remove), through any node. A leader hands over before it goes. A change that would lose
//! the quorum is refused for certain ([`MembershipRefusal`](crate::MembershipRefusal)), and so is one while another is under way. A node that
//! was removed ends; its next start sets its directory aside.
//!
//! **Replacing.** [`Node::replace`](crate::Node::replace) puts an empty node in the place of one that will not come back, in one change.
//!
//! **A majority of the disks is lost.** The rest waits, and says so. Only [`recover`](crate::recover) lets one node go on with what it has,
//! under another name, and what only the others had is lost.
