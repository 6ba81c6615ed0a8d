//! The state of the connection to one peer: what to tell the node, and when to dial again. Pure: time and randomness are
//! inputs.

use std::time::Duration;

use boat_core::NodeId;
use boat_core::transport::{Hello, PeerEvent, Refusal};

use crate::TransportOptions;
use crate::backoff::Backoff;

/// A connection that lived this long was a good one: its loss starts the backoff anew.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// How an attempt to connect, or a connection, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// No connection was made.
    Unreachable {
        /// Whether the machine answered that nobody listens.
        refused: bool,
    },
    /// The handshake failed.
    Unwelcome {
        /// The peer's refusal of us, if that was it.
        refusal: Option<Refusal>,
    },
    /// An accepted connection ended.
    Lost {
        /// How long it had lived.
        lived: Duration,
    },
    /// The node's hello changed: connect anew.
    Renewed,
    /// The peer is not one any more, or the transport shuts down.
    Closed,
}

/// What to do next.
#[derive(Debug)]
pub(crate) struct Next {
    /// What to tell the node.
    pub(crate) event: Option<PeerEvent>,
    /// When to dial again; `None`: never.
    pub(crate) delay: Option<Duration>,
}

/// The state of the link to one peer.
#[derive(Debug)]
pub(crate) struct LinkState {
    node: NodeId,
    up: bool,
    /// A refused connection is reported once, until the next connection is up.
    refused_reported: bool,
    /// A first loss is answered by dialing at once; a peer that keeps closing must not be dialed in a tight loop.
    hurried: bool,
    backoff: Backoff,
}

impl LinkState {
    /// A link that has not been dialed yet.
    pub(crate) fn new(node: NodeId, options: &TransportOptions) -> Self {
        let backoff = Backoff::new(options.redial_delay_min, options.redial_delay_max);
        LinkState { node, up: false, refused_reported: false, hurried: false, backoff }
    }

    /// Both sides accepted each other.
    pub(crate) fn connected(&mut self, peer: Hello) -> PeerEvent {
        self.up = true;
        self.refused_reported = false;
        PeerEvent::Connected(peer)
    }

    /// The attempt or connection ended.
    pub(crate) fn ended(&mut self, how: Ended, random: u32) -> Next {
        let lost = std::mem::take(&mut self.up);
        let event = match how {
            Ended::Unreachable { refused } if refused && !self.refused_reported => {
                self.refused_reported = true;
                Some(PeerEvent::Disconnected { node: self.node, refused })
            }
            Ended::Unwelcome { refusal: Some(reason) } => {
                Some(PeerEvent::Refused { node: self.node, reason })
            }
            _ if lost => Some(PeerEvent::Disconnected { node: self.node, refused: false }),
            _ => None,
        };
        Next { event, delay: self.delay(how, random) }
    }

    fn delay(&mut self, how: Ended, random: u32) -> Option<Duration> {
        match how {
            Ended::Unreachable { .. } | Ended::Unwelcome { .. } => Some(self.backoff.next(random)),
            Ended::Lost { lived } if lived >= STEADY_AFTER || !self.hurried => {
                self.hurried = true;
                self.backoff.reset();
                Some(Duration::ZERO)
            }
            Ended::Lost { .. } => Some(self.backoff.next(random)),
            Ended::Renewed => {
                self.backoff.reset();
                Some(Duration::ZERO)
            }
            Ended::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use boat_core::Birth;

    use super::*;

    const NODE: NodeId = NodeId(2);
    const REFUSED: Ended = Ended::Unreachable { refused: true };
    const SHORT: Ended = Ended::Lost { lived: Duration::from_millis(1) };
    const LONG: Ended = Ended::Lost { lived: STEADY_AFTER };

    fn state() -> LinkState {
        LinkState::new(NODE, &TransportOptions::default())
    }

    fn connect(state: &mut LinkState) {
        let hello =
            Hello { node: NODE, cluster: None, raft_id: None, birth: Birth(1), boot: 1, nonce: 1, log: None };
        assert!(matches!(state.connected(hello), PeerEvent::Connected(hello) if hello.node == NODE));
    }

    fn step(state: &mut LinkState, how: Ended) -> (&'static str, Option<u128>) {
        let next = state.ended(how, u32::MAX);
        let event = match next.event {
            None => "",
            Some(PeerEvent::Disconnected { node: NODE, refused: true }) => "refused",
            Some(PeerEvent::Disconnected { node: NODE, refused: false }) => "lost",
            Some(PeerEvent::Refused { node: NODE, reason: Refusal::OtherCluster }) => "unwelcome",
            Some(other) => panic!("unexpected {other:?}"),
        };
        (event, next.delay.map(|delay| delay.as_millis()))
    }

    #[test]
    fn a_peer_that_died_is_reported_lost_then_refused_once() {
        let mut state = state();
        connect(&mut state);
        assert_eq!(step(&mut state, LONG), ("lost", Some(0)));
        assert_eq!(step(&mut state, REFUSED), ("refused", Some(10)));
        assert_eq!(step(&mut state, REFUSED), ("", Some(20)));
        connect(&mut state);
        assert_eq!(step(&mut state, LONG), ("lost", Some(0)));
        assert_eq!(step(&mut state, REFUSED), ("refused", Some(10)));
    }

    #[test]
    fn a_refusal_counts_even_if_the_first_redial_fell_into_a_closing_listener() {
        let mut state = state();
        connect(&mut state);
        assert_eq!(step(&mut state, LONG), ("lost", Some(0)));
        assert_eq!(step(&mut state, Ended::Unwelcome { refusal: None }), ("", Some(10)));
        assert_eq!(step(&mut state, REFUSED), ("refused", Some(20)));
    }

    #[test]
    fn a_silent_machine_is_not_a_refusal() {
        let mut state = state();
        connect(&mut state);
        assert_eq!(step(&mut state, LONG), ("lost", Some(0)));
        assert_eq!(step(&mut state, Ended::Unreachable { refused: false }), ("", Some(10)));
    }

    #[test]
    fn a_peer_that_keeps_closing_is_not_dialed_in_a_tight_loop() {
        let mut state = state();
        let mut delays = Vec::new();
        for _ in 0..4 {
            connect(&mut state);
            delays.push(step(&mut state, SHORT));
        }
        assert_eq!(delays, [("lost", Some(0)), ("lost", Some(10)), ("lost", Some(20)), ("lost", Some(40))]);
        connect(&mut state);
        assert_eq!(step(&mut state, LONG), ("lost", Some(0)));
    }

    #[test]
    fn being_refused_is_told_each_time_and_backs_off() {
        let mut state = state();
        let refusal = Ended::Unwelcome { refusal: Some(Refusal::OtherCluster) };
        assert_eq!(step(&mut state, refusal), ("unwelcome", Some(10)));
        assert_eq!(step(&mut state, refusal), ("unwelcome", Some(20)));
    }

    #[test]
    fn renewing_and_closing_report_only_a_connection_that_was_up() {
        let mut state = state();
        assert_eq!(step(&mut state, Ended::Renewed), ("", Some(0)));
        connect(&mut state);
        assert_eq!(step(&mut state, Ended::Renewed), ("lost", Some(0)));
        connect(&mut state);
        assert_eq!(step(&mut state, Ended::Closed), ("lost", None));
        assert_eq!(step(&mut state, Ended::Closed), ("", None));
    }
}
