//! What happens to a node, told as it happens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::{Alarm, NodeId, Phase, ReplayProgress};

/// How many events are kept for those who have not taken them yet. Older ones are dropped, and their number is told.
const EVENTS_MAX: usize = 1_024;

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The node knows of another leader, or of none any more.
    Leader {
        /// Who leads.
        leader: Option<NodeId>,
        /// The latest term that the node has seen.
        term: u64,
    },
    /// The node does something else now; it answers predictions in [`Phase::Ready`].
    Phase(Phase),
    /// A replay has got this far. Told a few times a second while it runs.
    Replay(ReplayProgress),
    /// At this position the node's outcomes differ from those of a majority: its model goes another way.
    Diverged {
        /// Up to where the outcomes were compared.
        position: u64,
        /// Whether the model is rebuilt; if not, it was rebuilt twice in vain, and answers nothing any more.
        rebuilds: bool,
    },
    /// The log has decided that the request at this position is run nowhere any more: it breaks models.
    Quarantined {
        /// Which request.
        position: u64,
    },
    /// There is another snapshot on the node's disk.
    Snapshot {
        /// The last position that it covers.
        position: u64,
        /// How long its file is, in bytes.
        bytes: u64,
        /// Whether it came from the leader, in place of a log that the others do not hold any more; if not, it was taken here.
        received: bool,
    },
    /// A person should look at something.
    AlarmRaised(Alarm),
    /// The cause of an alarm is gone.
    AlarmCleared(Alarm),
    /// So many events came and went untold, because they were not taken in time. What is so now stands in
    /// [`Node::status`](crate::Node::status).
    Missed(u64),
    /// The node has stopped, and this is the last event. Why is told by [`Node::stopped`](crate::Node::stopped).
    Stopped,
}

/// A node's events from a moment on: see [`Node::events`](crate::Node::events). It holds the latest 1,024; who takes them
/// slower than they come is told how many were [missed](NodeEvent::Missed).
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<NodeEvent>,
}

impl Events {
    /// Waits for the next event; `None` once the node has stopped and all was told.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(NodeEvent::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// What was told last of things that last.
#[derive(Debug, Default)]
struct Told {
    phase: Option<Phase>,
    alarms: Vec<Alarm>,
}

/// The side that tells.
#[derive(Debug)]
pub(crate) struct EventSender {
    sender: Mutex<Option<broadcast::Sender<NodeEvent>>>,
    told: Mutex<Told>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they hold is replaced whole, so it is sound whatever its holder panicked of.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for EventSender {
    fn default() -> Self {
        EventSender { sender: Mutex::new(Some(broadcast::Sender::new(EVENTS_MAX))), told: Mutex::default() }
    }
}

impl EventSender {
    /// Listens from now on.
    pub(crate) fn subscribe(&self) -> Events {
        let receiver = lock(&self.sender).as_ref().map(broadcast::Sender::subscribe);
        // After the end there is nothing to tell: a receiver whose sender is gone.
        Events { receiver: receiver.unwrap_or_else(|| broadcast::channel(1).1) }
    }

    /// Tells `event` to whoever listens.
    pub(crate) fn tell(&self, event: NodeEvent) {
        if let Some(sender) = lock(&self.sender).as_ref() {
            // That nobody listens is no fault.
            let _ = sender.send(event);
        }
    }

    /// Tells what has changed of the phase and the alarms since the last time. They are looked at under the lock, so that
    /// what is told last is what is so.
    pub(crate) fn compare(&self, now: impl FnOnce() -> (Phase, Vec<Alarm>)) {
        let mut told = lock(&self.told);
        let (phase, alarms) = now();
        if told.phase.as_ref() != Some(&phase) {
            told.phase = Some(phase.clone());
            self.tell(NodeEvent::Phase(phase));
        }
        if told.alarms != alarms {
            let before = std::mem::replace(&mut told.alarms, alarms);
            let raised = told.alarms.iter().filter(|alarm| !before.contains(alarm));
            raised.for_each(|alarm| self.tell(NodeEvent::AlarmRaised(*alarm)));
            let cleared = before.iter().filter(|alarm| !told.alarms.contains(alarm));
            cleared.for_each(|alarm| self.tell(NodeEvent::AlarmCleared(*alarm)));
        }
    }

    /// The node has stopped: tells so, and nothing after it.
    pub(crate) fn end(&self) {
        if let Some(sender) = lock(&self.sender).take() {
            let _ = sender.send(NodeEvent::Stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_told_once_and_the_end_is_the_last() {
        let sender = EventSender::default();
        let mut events = sender.subscribe();
        sender.compare(|| (Phase::Joining, Vec::new()));
        sender.compare(|| (Phase::Joining, vec![Alarm::DiskFull]));
        sender.compare(|| (Phase::Ready, Vec::new()));
        sender.end();
        sender.end();
        sender.tell(NodeEvent::Missed(1));
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            told.push(event);
        }
        let expected = [
            NodeEvent::Phase(Phase::Joining),
            NodeEvent::AlarmRaised(Alarm::DiskFull),
            NodeEvent::Phase(Phase::Ready),
            NodeEvent::AlarmCleared(Alarm::DiskFull),
            NodeEvent::Stopped,
        ];
        assert_eq!(told, expected);
        assert_eq!(sender.subscribe().next().await, None);
    }

    #[tokio::test]
    async fn who_lags_behind_is_told_how_far() {
        let sender = EventSender::default();
        let mut events = sender.subscribe();
        let leader = |term| NodeEvent::Leader { leader: None, term };
        (0..EVENTS_MAX as u64 + 5).for_each(|term| sender.tell(leader(term)));
        assert_eq!(events.next().await, Some(NodeEvent::Missed(5)));
        assert_eq!(events.next().await, Some(leader(5)));
    }
}
