//! One log line for each outcome, in the manner of the original.

use std::fmt::{self, Write as _};

use boat_core::{Call, CallOutcome, NodeId};

/// The target of the lines that tell each request and its answer, at level `info`. They come in a replay too.
pub const OUTCOME_LOG_TARGET: &str = "boat_clipper::outcome";

/// How many bytes of a request or an answer stand in a line.
const LOGGED_BYTES_MAX: usize = 1_024;

/// Who gave an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    Clipper,
    LocalModel,
}

/// Logs one outcome. Costs nothing while nobody listens.
pub(crate) fn log_outcome(node: NodeId, call: &Call, answered_by: AnsweredBy, outcome: &CallOutcome) {
    if log::log_enabled!(target: OUTCOME_LOG_TARGET, log::Level::Info) {
        log::info!(target: OUTCOME_LOG_TARGET, "{}", Line { node, call, answered_by, outcome });
    }
}

struct Line<'a> {
    node: NodeId,
    call: &'a Call,
    answered_by: AnsweredBy,
    outcome: &'a CallOutcome,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { node, call, answered_by, outcome } = self;
        write!(f, "Boat {node}: {} ", Printable(&call.body))?;
        match (outcome, answered_by) {
            (CallOutcome::Output(output), AnsweredBy::Clipper) => {
                write!(f, "sent to clipper with status 200 and response: {}", Printable(output))
            }
            (CallOutcome::Output(output), AnsweredBy::LocalModel) => {
                write!(f, "given to the model in process, with response: {}", Printable(output))
            }
            (CallOutcome::Quarantined, _) => f.write_str("quarantined"),
            (CallOutcome::Rejected(why), _) => write!(f, "rejected: {}", Printable(why.as_bytes())),
        }
    }
}

/// A client's bytes, such that they stay on one line and short.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..LOGGED_BYTES_MAX).unwrap_or(self.0);
        for character in String::from_utf8_lossy(shown).chars() {
            f.write_char(if character.is_control() { ' ' } else { character })?;
        }
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "... ({more} bytes more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use boat_core::RequestKind;

    use super::*;

    fn line(body: &str, answered_by: AnsweredBy, outcome: CallOutcome) -> String {
        let body = body.to_owned().into();
        let kind = RequestKind::Predict;
        let call = Call { position: 1, predictions_before: 0, kind, body, time_ms: 0, seed: 0 };
        Line { node: NodeId(2), call: &call, answered_by, outcome: &outcome }.to_string()
    }

    #[test]
    fn lines_look_as_they_always_did() {
        let answer = r#"{"query_id":0,"output":"Hello","default":false}"#;
        let line = line(r#"{"input": "Hello"}"#, AnsweredBy::Clipper, CallOutcome::Output(answer.into()));
        assert_eq!(
            line,
            format!(
                "Boat 2: {{\"input\": \"Hello\"}} sent to clipper with status 200 and response: {answer}"
            )
        );
    }

    #[test]
    fn a_client_cannot_forge_lines_nor_fill_the_disk() {
        let body = "{\n\"input\":\"".to_owned() + &"x".repeat(LOGGED_BYTES_MAX);
        let line = line(&body, AnsweredBy::LocalModel, CallOutcome::Rejected("a\r\nb".to_owned()));
        assert!(line.starts_with("Boat 2: { \"input\":\"xxx"));
        assert!(line.ends_with("x... (11 bytes more) rejected: a  b"), "{line}");
    }
}
