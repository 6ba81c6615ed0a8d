//! Errors as clients see them: `application/problem+json` (RFC 9457), with a stable code and whether to try again.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::{Reply, headers};
use crate::{OutcomeError, PredictError, QuarantineError, QueryError, SessionError, WipeError};

/// Where the codes are described; a code is an anchor on that page.
const TYPE_BASE: &str = "https://github.com/boat-rs/boat/blob/main/docs/http-api.md#";

/// Whether to send the request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Retry {
    /// It will fail again.
    Never,
    /// Nothing happened: any time.
    Safe,
    /// It may have happened: only with the key that the answer names.
    SameKey,
    /// It may have happened, and happens once however often it is sent.
    SameRequest,
}

/// Declares the codes, each with name, status, retry and title.
macro_rules! codes {
    ($($code:ident = $name:literal, $status:ident, $retry:ident, $title:literal;)*) => {
        /// What went wrong, in a word that stays the same.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($code,)* }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$code,)*];

            /// The code as clients read it.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Code::$code => $name,)* }
            }

            /// Its HTTP status.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Code::$code => StatusCode::$status,)* }
            }

            /// Whether to send the request again.
            pub(crate) fn retry(self) -> Retry {
                match self { $(Code::$code => Retry::$retry,)* }
            }

            fn title(self) -> &'static str {
                match self { $(Code::$code => $title,)* }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", BAD_REQUEST, Never, "The request is not one that this node understands";
    Forbidden = "forbidden", FORBIDDEN, Never, "Not for this caller";
    NotFound = "not_found", NOT_FOUND, Never, "There is nothing under this path";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Never, "This path does not know this method";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, Safe, "The request came too slowly";
    WouldLoseQuorum = "would_lose_quorum", CONFLICT, Safe, "The cluster needs this node's data now";
    ChangeUnderWay = "change_under_way", CONFLICT, Safe, "Another change of the membership is not finished";
    NotAMember = "not_a_member", NOT_FOUND, Never, "There is no such member";
    AlreadyMember = "already_member", CONFLICT, Never, "The node is a member, at another address";
    NotThere = "not_there", CONFLICT, Safe, "No such node has asked to be taken in";
    OtherAddress = "other_address", CONFLICT, Never, "The node that asked to be taken in is reached elsewhere";
    NotAVoter = "not_a_voter", CONFLICT, Safe, "The node has no vote yet";
    TooManyMembers = "too_many_members", CONFLICT, Never, "There are as many members as there may be";
    SessionExpired = "session_expired", GONE, Never, "The session has expired";
    OutcomeForgotten = "outcome_forgotten", GONE, Never, "The outcome is no longer remembered";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Never, "The request is too long";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, Never, "The body must be JSON";
    KeyReused = "key_reused", UNPROCESSABLE_ENTITY, Never, "The key was used for another request";
    Rejected = "rejected", UNPROCESSABLE_ENTITY, Never, "The model rejected the request";
    Quarantined = "quarantined", INTERNAL_SERVER_ERROR, Never, "The request crashes the model and was put aside";
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, Safe, "Too much waits already";
    Unreachable = "unreachable", SERVICE_UNAVAILABLE, Safe, "The leader does not hear from that node";
    NoLeader = "no_leader", SERVICE_UNAVAILABLE, Safe, "The cluster has no leader now";
    KeyTableFull = "key_table_full", SERVICE_UNAVAILABLE, Safe, "Too many keys are remembered";
    Behind = "behind", SERVICE_UNAVAILABLE, Safe, "This node has not applied enough";
    BackendUnavailable = "backend_unavailable", SERVICE_UNAVAILABLE, Safe, "The backend cannot be asked now";
    QueryUnsupported = "query_unsupported", NOT_IMPLEMENTED, Never, "This model answers no queries";
    NotReady = "not_ready", SERVICE_UNAVAILABLE, Safe, "This node does not serve yet";
    NotLive = "not_live", SERVICE_UNAVAILABLE, Safe, "This node has stopped working";
    ShuttingDown = "shutting_down", SERVICE_UNAVAILABLE, Safe, "This node is shutting down";
    Unknown = "unknown", GATEWAY_TIMEOUT, SameKey, "No answer in time; the request may yet be applied";
    Undecided = "undecided", GATEWAY_TIMEOUT, SameRequest, "Not decided in time; it may yet be";
    DiskFull = "disk_full", INSUFFICIENT_STORAGE, Safe, "The disk is full";
}

impl Code {
    /// After how many seconds to try again, where the server can say.
    fn retry_after_seconds(self) -> Option<u16> {
        match self {
            Code::Overloaded
            | Code::NoLeader
            | Code::Behind
            | Code::BackendUnavailable
            | Code::NotReady
            | Code::NotLive
            | Code::ShuttingDown => Some(1),
            Code::Unreachable | Code::ChangeUnderWay => Some(1),
            Code::WouldLoseQuorum => Some(5),
            Code::KeyTableFull | Code::DiskFull => Some(30),
            _ => None,
        }
    }
}

/// One error, on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    place: Option<(usize, usize)>,
    position: Option<u64>,
    allow: Option<&'static str>,
    pub(super) key: Option<String>,
}

/// The body, in the order of RFC 9457.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    retry: Retry,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl Problem {
    /// A problem of this kind; `detail` says what it was this time.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem { code, detail: detail.into(), place: None, position: None, allow: None, key: None }
    }

    /// Where in the body, counted from 1.
    pub(crate) fn at(mut self, line: usize, column: usize) -> Self {
        self.place = Some((line, column));
        self
    }

    /// The methods that would have been allowed.
    pub(crate) fn allowing(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.code.status()
    }

    fn json(&self) -> Vec<u8> {
        let body = Body {
            r#type: format!("{TYPE_BASE}{}", self.code.name()),
            title: self.code.title(),
            status: self.status().as_u16(),
            detail: &self.detail,
            code: self.code.name(),
            retry: self.code.retry(),
            line: self.place.map(|(line, _)| line),
            column: self.place.map(|(_, column)| column),
            position: self.position,
            key: self.key.as_deref(),
        };
        // Serializing strings and numbers to memory cannot fail; an empty body would still carry the right status.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The problem as an answer.
    pub(crate) fn into_reply(self) -> Reply {
        let mut reply = Response::new(Full::new(Bytes::from(self.json())));
        *reply.status_mut() = self.status();
        let fields = reply.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.code.retry_after_seconds() {
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            fields.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(position) = self.position {
            fields.insert(headers::POSITION, HeaderValue::from(position));
        }
        if let Some(key) = self.key.and_then(|key| HeaderValue::try_from(key).ok()) {
            fields.insert(headers::IDEMPOTENCY_KEY, key);
        }
        reply
    }

    /// The problem as the bytes of an HTTP/1.1 answer that ends its connection: for where no HTTP engine runs.
    pub(crate) fn to_http1(&self) -> Vec<u8> {
        let body = self.json();
        let retry_after =
            self.code.retry_after_seconds().map(|seconds| format!("retry-after: {seconds}\r\n"));
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/problem+json\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
            self.status(),
            retry_after.unwrap_or_default(),
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

impl From<PredictError> for Problem {
    fn from(error: PredictError) -> Self {
        let mut problem = Problem::new(code_of(&error), error.to_string());
        match error {
            PredictError::Rejected { position, .. }
            | PredictError::KeyReused { position }
            | PredictError::Quarantined { position } => {
                problem.position = Some(position);
            }
            PredictError::Unknown { key, .. } => problem.key = Some(key),
            _ => {}
        }
        problem
    }
}

/// For routes that are added to the frontend's: the error as the frontend's own routes tell it.
impl axum::response::IntoResponse for PredictError {
    fn into_response(self) -> axum::response::Response {
        Problem::from(self).into_reply().map(axum::body::Body::new)
    }
}

fn code_of(error: &PredictError) -> Code {
    match error {
        PredictError::Invalid(_) => Code::InvalidRequest,
        PredictError::TooLarge { .. } => Code::BodyTooLarge,
        PredictError::Overloaded { .. } => Code::Overloaded,
        PredictError::NoLeader(_) => Code::NoLeader,
        PredictError::KeyTableFull => Code::KeyTableFull,
        PredictError::DiskFull => Code::DiskFull,
        PredictError::KeyReused { .. } => Code::KeyReused,
        PredictError::SessionExpired { .. } => Code::SessionExpired,
        PredictError::Behind { .. } => Code::Behind,
        PredictError::OutcomeForgotten => Code::OutcomeForgotten,
        PredictError::Rejected { .. } => Code::Rejected,
        PredictError::Quarantined { .. } => Code::Quarantined,
        PredictError::Stopped => Code::ShuttingDown,
        PredictError::Unknown { .. } => Code::Unknown,
    }
}

impl From<QuarantineError> for Problem {
    fn from(error: QuarantineError) -> Self {
        let code = match error {
            QuarantineError::NotHeld { .. } => Code::NotFound,
            QuarantineError::Unknown { .. } => Code::Undecided,
            QuarantineError::Stopped => Code::ShuttingDown,
        };
        Problem::new(code, error.to_string())
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let code = match error {
            QueryError::Invalid(_) => Code::InvalidRequest,
            QueryError::TooLarge { .. } => Code::BodyTooLarge,
            QueryError::Unsupported => Code::QueryUnsupported,
            QueryError::Overloaded { .. } => Code::Overloaded,
            QueryError::NoLeader(_) => Code::NoLeader,
            QueryError::Behind { .. } => Code::Behind,
            QueryError::Unavailable(_) => Code::BackendUnavailable,
            QueryError::Rejected { .. } => Code::Rejected,
            QueryError::Stopped => Code::ShuttingDown,
        };
        let mut problem = Problem::new(code, error.to_string());
        if let QueryError::Rejected { position, .. } | QueryError::Behind { position, .. } = error {
            problem.position = Some(position);
        }
        problem
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        let code = match error {
            SessionError::TooMany { .. } | SessionError::Overloaded { .. } => Code::Overloaded,
            SessionError::NoLeader(_) => Code::NoLeader,
            SessionError::DiskFull => Code::DiskFull,
            SessionError::Stopped => Code::ShuttingDown,
        };
        Problem::new(code, error.to_string())
    }
}

impl From<OutcomeError> for Problem {
    fn from(error: OutcomeError) -> Self {
        let code = match error {
            OutcomeError::Pending | OutcomeError::NotFound => Code::NotFound,
            OutcomeError::Forgotten => Code::OutcomeForgotten,
            OutcomeError::Rejected { .. } | OutcomeError::Invalid(_) => Code::Rejected,
            OutcomeError::Quarantined { .. } => Code::Quarantined,
            OutcomeError::NoLeader(_) => Code::NoLeader,
            OutcomeError::Behind { .. } => Code::Behind,
            OutcomeError::Overloaded { .. } => Code::Overloaded,
            OutcomeError::Stopped => Code::ShuttingDown,
        };
        let mut problem = Problem::new(code, error.to_string());
        if let OutcomeError::Rejected { position, .. }
        | OutcomeError::Quarantined { position }
        | OutcomeError::Behind { position } = error
        {
            problem.position = Some(position);
        }
        problem
    }
}

impl From<WipeError> for Problem {
    fn from(error: WipeError) -> Self {
        let code = match error {
            WipeError::WouldLoseQuorum => Code::WouldLoseQuorum,
            WipeError::NoLeader(_) => Code::NoLeader,
        };
        Problem::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_unknown_asks_for_the_same_key_and_what_is_open_is_a_504() {
        for code in Code::ALL {
            assert_eq!(code.retry() == Retry::SameKey, *code == Code::Unknown, "{}", code.name());
            let is_open = matches!(code.retry(), Retry::SameKey | Retry::SameRequest);
            assert_eq!(is_open, code.status() == StatusCode::GATEWAY_TIMEOUT, "{}", code.name());
        }
    }

    #[test]
    fn a_server_error_that_passes_says_when_to_come_back() {
        for code in Code::ALL.iter().filter(|code| code.status() == StatusCode::SERVICE_UNAVAILABLE) {
            assert!(code.retry_after_seconds().is_some(), "{}", code.name());
        }
    }

    #[test]
    fn every_code_is_described_in_the_docs() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http-api.md")).unwrap();
        for code in Code::ALL {
            let retry = serde_json::to_value(code.retry()).unwrap();
            let row = format!(
                "| <a id=\"{0}\"></a>`{0}` | {1} | `{2}` |",
                code.name(),
                code.status().as_u16(),
                retry.as_str().unwrap()
            );
            assert!(page.contains(&row), "docs/http-api.md lacks {row}");
        }
    }

    #[test]
    fn every_code_has_a_section_in_the_guide_to_errors() {
        let page = include_str!("../guide/errors.rs");
        for code in Code::ALL {
            let retry = serde_json::to_value(code.retry()).unwrap();
            let section = format!(
                "//! # `{}`\n//!\n//! Status {}, retry `{}`.\n//!\n//! - *Cause.* ",
                code.name(),
                code.status().as_u16(),
                retry.as_str().unwrap()
            );
            let (_, rest) = page.split_once(&section).unwrap_or_else(|| panic!("no section: {section}"));
            let rest = rest.split("//! # ").next().unwrap();
            assert!(rest.contains("\n//! - *Caller.* ") && rest.contains("\n//! - *Operator.* "), "{rest}");
        }
        assert_eq!(page.matches("//! # `").count(), Code::ALL.len());
    }

    #[test]
    fn an_unknown_outcome_names_its_key_in_body_and_header() {
        let error = PredictError::Unknown { waited: Duration::from_secs(2), key: "k-1".into() };
        let problem = Problem::from(error);
        let body: serde_json::Value = serde_json::from_slice(&problem.json()).unwrap();
        assert_eq!(
            (&body["code"], &body["retry"], &body["key"]),
            (&"unknown".into(), &"same_key".into(), &"k-1".into())
        );
        let reply = problem.into_reply();
        assert_eq!(reply.status(), 504);
        assert_eq!(reply.headers()["idempotency-key"], "k-1");
    }
}
