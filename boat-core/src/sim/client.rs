//! Clients: they ask through any node, give up, and ask again under the same identity until they are answered.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::check::{Checker, Operation};
use super::context::{Checked, Context};
use super::faults::Fault;
use super::queue::Event;
use super::waiters::{Attempt, Reply};
use crate::apply::{Outcome, Refused, opening_body};
use crate::replica::{Failure, RequestId};
use crate::{Origin, Request, RequestKind, SessionRequest};

/// How many operations a client has open at once, at most.
const OPEN_MAX: usize = 3;
/// How many outcomes a session asks to have kept.
const OUTCOMES_MAX: u32 = 16;
/// How long an attempt may take before its client gives it up, at most, in milliseconds.
const PATIENCE_MS_MAX: u64 = 3_000;
/// How long a client waits before it tries again, at most, in milliseconds.
const AGAIN_MS_MAX: u64 = 200;
/// How many answered operations a client remembers, to ask for them once more.
const ANSWERED_MAX: usize = 8;

/// How a client makes itself known.
#[derive(Debug)]
enum Identity {
    /// A new key for each operation.
    Keys,
    /// A session, once it is open; the next number in it; its unanswered numbers.
    Session { session: Option<u64>, next: u64, unanswered: BTreeSet<u64> },
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    identity: Identity,
    open: usize,
    answered: Vec<(usize, Request)>,
    /// The requests of open operations.
    requests: Vec<(usize, Request)>,
}

/// What a client sends: through some node, now.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) attempt: Attempt,
    pub(super) id: RequestId,
    pub(super) encoded: Bytes,
}

impl Client {
    pub(super) fn new(number: usize) -> Self {
        let identity = if number.is_multiple_of(2) {
            Identity::Keys
        } else {
            Identity::Session { session: None, next: 0, unanswered: BTreeSet::new() }
        };
        Client { number, identity, open: 0, answered: Vec::new(), requests: Vec::new() }
    }

    /// Does something new, if it can.
    pub(super) fn act(&mut self, context: &mut Context, checker: &mut Checker) -> Option<Sending> {
        if context.chance(100) && !self.answered.is_empty() {
            let place = context.up_to(self.answered.len() as u64 - 1) as usize;
            let (operation, request) = self.answered.get(place)?.clone();
            return Some(send(context, checker, operation, &request));
        }
        let request = self.next_request(context)?;
        let is_key = matches!(request.origin, Origin::Key(_));
        let forgotten_after_ms = is_key.then_some(context.options.limits.key_age_ms);
        let operation = checker.book.begin(self.number, &request, forgotten_after_ms);
        self.open += 1;
        self.requests.push((operation, request.clone()));
        Some(send(context, checker, operation, &request))
    }

    fn next_request(&mut self, context: &mut Context) -> Option<Request> {
        if self.open >= OPEN_MAX {
            return None;
        }
        let kind = if context.chance(200) { RequestKind::Feedback } else { RequestKind::Predict };
        let number = context.word() % 1_000_000;
        let body = match context.poison() {
            Some(poison) => poison.body(number),
            None => context.models.body(number),
        };
        match &mut self.identity {
            Identity::Keys => {
                let key = Bytes::from(format!("client {} {:x}", self.number, context.word()));
                Some(Request { kind, origin: Origin::Key(key), body })
            }
            Identity::Session { session: None, .. } if self.open > 0 => None,
            Identity::Session { session: None, .. } => {
                let origin = Origin::Opening(context.word());
                Some(Request { kind: RequestKind::OpenSession, origin, body: opening_body(OUTCOMES_MAX) })
            }
            Identity::Session { session: Some(session), next, unanswered } => {
                let request = SessionRequest { session: *session, sequence: *next };
                let lowest_unanswered = unanswered.first().copied().unwrap_or(*next);
                if *next - lowest_unanswered >= u64::from(OUTCOMES_MAX) {
                    return None;
                }
                unanswered.insert(*next);
                *next += 1;
                Some(Request { kind, origin: Origin::Session { request, lowest_unanswered }, body })
            }
        }
    }

    /// Sends an operation once more.
    pub(super) fn again(
        &self,
        context: &mut Context,
        checker: &mut Checker,
        operation: usize,
    ) -> Option<Sending> {
        let (_, request) = self.requests.iter().find(|(known, _)| *known == operation)?;
        let mut request = request.clone();
        if let Origin::Session { request, lowest_unanswered } = &mut request.origin {
            *lowest_unanswered = self.lowest_unanswered(request);
        }
        context.count(Fault::Retry);
        Some(send(context, checker, operation, &request))
    }

    /// The lowest number that has no answer; of a session that was lost, the request's own.
    fn lowest_unanswered(&self, request: &SessionRequest) -> u64 {
        match &self.identity {
            Identity::Session { session, unanswered, .. } if *session == Some(request.session) => {
                unanswered.first().copied().unwrap_or(request.sequence).min(request.sequence)
            }
            _ => 0,
        }
    }

    /// Takes an answer.
    pub(super) fn answered(
        &mut self,
        context: &mut Context,
        checker: &mut Checker,
        attempt: Attempt,
        reply: &Reply,
    ) -> Checked {
        checker.answered(attempt, reply)?;
        let Some(operation) = checker.book.get(attempt.operation) else { return Ok(()) };
        if !operation.waits {
            return Ok(());
        }
        match reply {
            Reply::Applied(applied) => {
                match &applied.result {
                    Ok(outcome) => self.settle(operation, outcome),
                    Err(Refused::SessionExpired { .. }) => self.lose_session(context, operation),
                    Err(_) => {}
                }
                self.close(checker, attempt.operation);
            }
            Reply::Failed(failure) => {
                let definite = matches!(failure, Failure::NoLeader | Failure::Overloaded | Failure::DiskFull);
                if definite && operation.is_definitely_not() && context.fault(300) {
                    self.close(checker, attempt.operation);
                } else if attempt.number + 1 == checker.book.attempts(attempt.operation) {
                    let wait_ms = 1 + context.up_to(AGAIN_MS_MAX);
                    context.after(wait_ms, Event::Retry(attempt.operation));
                }
            }
        }
        Ok(())
    }

    fn settle(&mut self, operation: &Operation, outcome: &Outcome) {
        if let Identity::Session { session, next, unanswered } = &mut self.identity
            && matches!(operation.id, RequestId::Opening(_))
        {
            (*session, *next) = (Some(outcome.position), 0);
            unanswered.clear();
        }
    }

    fn lose_session(&mut self, context: &mut Context, operation: &Operation) {
        context.count(Fault::SessionExpired);
        if let Identity::Session { session, unanswered, .. } = &mut self.identity
            && let RequestId::Session(request, _) = &operation.id
            && *session == Some(request.session)
        {
            *session = None;
            unanswered.clear();
        }
    }

    fn close(&mut self, checker: &mut Checker, operation: usize) {
        checker.book.close(operation);
        self.open -= 1;
        let Some(place) = self.requests.iter().position(|(known, _)| *known == operation) else { return };
        let (_, request) = self.requests.swap_remove(place);
        match (&mut self.identity, &request.origin) {
            (Identity::Session { session, unanswered, .. }, Origin::Session { request, .. })
                if *session == Some(request.session) =>
            {
                unanswered.remove(&request.sequence);
            }
            (Identity::Keys, _) => {
                if self.answered.len() >= ANSWERED_MAX {
                    self.answered.remove(0);
                }
                self.answered.push((operation, request));
            }
            _ => {}
        }
    }
}

fn send(context: &mut Context, checker: &mut Checker, operation: usize, request: &Request) -> Sending {
    let mut encoded = Vec::with_capacity(request.encoded_bytes());
    request.encode(&mut encoded);
    let encoded = Bytes::from(encoded);
    let attempt = checker.book.attempt(operation, encoded.clone());
    let patience_ms = PATIENCE_MS_MAX / 10 + context.up_to(PATIENCE_MS_MAX);
    context.after(patience_ms, Event::GiveUp(attempt));
    Sending { attempt, id: RequestId::of(&request.origin, request.hash()), encoded }
}
