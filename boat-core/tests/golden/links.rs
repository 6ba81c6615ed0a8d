//! What happens to messages between nodes.

use std::collections::BTreeSet;

use boat_core::transport::PeerMessage;
use boat_core::{NodeId, RaftId};

/// One message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) from: RaftId,
    pub(crate) to: NodeId,
    pub(crate) message: PeerMessage,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    ArrivesTwice,
    Lost,
    Late,
}

/// Which links do not simply deliver; a link is one direction between two nodes.
#[derive(Debug, Default)]
pub(crate) struct Links {
    cut: BTreeSet<(NodeId, NodeId)>,
    late: BTreeSet<(NodeId, NodeId)>,
    twice: BTreeSet<(NodeId, NodeId)>,
    cut_off: BTreeSet<NodeId>,
    waiting: Vec<Letter>,
}

impl Links {
    /// Loses everything from and to a node.
    pub(crate) fn cut_off(&mut self, node: NodeId) {
        self.cut_off.insert(node);
    }

    /// Loses everything on one link.
    pub(crate) fn cut(&mut self, link: (NodeId, NodeId)) {
        self.cut.insert(link);
    }

    /// Keeps back what is sent on one link from now on.
    pub(crate) fn delay(&mut self, link: (NodeId, NodeId)) {
        self.late.insert(link);
    }

    /// Delivers everything on one link twice.
    pub(crate) fn repeat(&mut self, link: (NodeId, NodeId)) {
        self.twice.insert(link);
    }

    /// All links are well; what was kept back stays so.
    pub(crate) fn heal(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        *self = Links { waiting, ..Links::default() };
    }

    /// What was kept back, on one link or on all; what is sent from now on still is.
    pub(crate) fn take_late(&mut self, only: Option<(NodeId, NodeId)>) -> Vec<Letter> {
        let comes = |letter: &Letter| only.is_none_or(|only| only == (letter.from.node(), letter.to));
        let (late, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(comes);
        self.waiting = waiting;
        late
    }

    /// What becomes of a letter. One that is late stays here.
    pub(crate) fn send(&mut self, letter: &Letter) -> Fate {
        let link = (letter.from.node(), letter.to);
        if self.cut.contains(&link) || self.cut_off.contains(&link.0) || self.cut_off.contains(&link.1) {
            Fate::Lost
        } else if self.late.contains(&link) {
            self.waiting.push(letter.clone());
            Fate::Late
        } else if self.twice.contains(&link) {
            Fate::ArrivesTwice
        } else {
            Fate::Arrives
        }
    }
}
