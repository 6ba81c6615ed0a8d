//! A request as a line of JSON.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{Origin, RequestKind};

/// A committed request with its place.
///
/// Serialized by `serde_json`, which alone can, it gives one line: the fields below, `kind` as `predict`, `feedback`,
/// `configure` or `open_session`, and
/// - as `origin` either `session`, `sequence` and `lowest_unanswered`; or the key: as `http_key` (and `scope`, what stands
///   for its caller's token, where it had one), as `key` where it came from within the node's process, as `key_base64`
///   where it is no text; or nothing for the opening of a session: the random number in it proves whose the session is;
/// - the body as `body` if it is JSON (token for token; line breaks between tokens become spaces), as `body_text` if it is
///   other text, else as `body_base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its position.
    pub position: u64,
    /// The entry that carried it first.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// What was asked.
    pub kind: RequestKind,
    /// Whose it is.
    pub origin: Origin,
    /// Log time, in milliseconds since the Unix epoch: what the model saw as time.
    pub time_ms: u64,
    /// The request as its client sent it.
    pub body: Bytes,
}

#[derive(Serialize)]
struct Line<'a> {
    position: u64,
    index: u64,
    term: u64,
    kind: &'static str,
    origin: OriginView<'a>,
    time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OriginView<'a> {
    Opening {},
    Session {
        session: u64,
        sequence: u64,
        lowest_unanswered: u64,
    },
    HttpKey {
        http_key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<String>,
    },
    Key {
        key: &'a str,
    },
    KeyBase64 {
        key_base64: String,
    },
}

impl Serialize for RequestRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RequestRecord { position, index, term, kind, origin, time_ms, body } = self;
        let json = json(body);
        let text = if json.is_none() { text(body) } else { None };
        let base64 = (json.is_none() && text.is_none()).then(|| STANDARD.encode(body));
        let line = Line {
            position: *position,
            index: *index,
            term: *term,
            kind: kind_name(*kind),
            origin: origin_view(origin),
            time_ms: *time_ms,
            body: json,
            body_text: text,
            body_base64: base64,
        };
        line.serialize(serializer)
    }
}

fn kind_name(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Predict => "predict",
        RequestKind::Feedback => "feedback",
        RequestKind::Configure => "configure",
        RequestKind::OpenSession => "open_session",
    }
}

/// JSON as it is, but on one line.
fn json(body: &[u8]) -> Option<Cow<'_, RawValue>> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    if !raw.get().contains(['\n', '\r']) {
        return Some(Cow::Borrowed(raw));
    }
    // In strings line breaks are escaped: what is left stands between tokens.
    let line = raw.get().replace(['\n', '\r'], " ");
    RawValue::from_string(line).ok().map(Cow::Owned)
}

/// Text that a person can read.
fn text(bytes: &[u8]) -> Option<&str> {
    let is_readable = |text: &&str| !text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace());
    std::str::from_utf8(bytes).ok().filter(is_readable)
}

fn origin_view(origin: &Origin) -> OriginView<'_> {
    match origin {
        Origin::Opening(_) => OriginView::Opening {},
        Origin::Session { request, lowest_unanswered } => OriginView::Session {
            session: request.session,
            sequence: request.sequence,
            lowest_unanswered: *lowest_unanswered,
        },
        Origin::Key(key) => http_key(key)
            .or_else(|| Some(OriginView::Key { key: text(key)? }))
            .unwrap_or_else(|| OriginView::KeyBase64 { key_base64: STANDARD.encode(key) }),
    }
}

/// A key as the HTTP frontend writes it: `| 0 | key |`, or `| 1 | scope, 16 bytes | key |`.
fn http_key(bytes: &[u8]) -> Option<OriginView<'_>> {
    let (scope, key) = match bytes.split_first()? {
        (0, key) => (None, key),
        (1, scoped) => {
            let (scope, key) = scoped.split_first_chunk::<16>()?;
            (Some(format!("{:032x}", u128::from_be_bytes(*scope))), key)
        }
        _ => return None,
    };
    Some(OriginView::HttpKey { http_key: text(key)?, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(origin: Origin, body: &'static [u8]) -> String {
        let (kind, body) = (RequestKind::Predict, Bytes::from_static(body));
        let record = RequestRecord { position: 3, index: 5, term: 2, kind, origin, time_ms: 7, body };
        serde_json::to_string(&record).unwrap()
    }

    fn body(bytes: &'static [u8]) -> String {
        let line = line(Origin::Opening(1), bytes);
        let expected = r#"{"position":3,"index":5,"term":2,"kind":"predict","origin":{},"time_ms":7,"#;
        line.strip_prefix(expected).unwrap().to_owned()
    }

    #[test]
    fn json_keeps_its_tokens_on_one_line() {
        // Neither the order of fields, nor doubles, nor numbers that no f64 holds are lost.
        let pretty = b"{\n \"b\": 1e400,\r\n \"a\":12345678901234567890123, \"a\": \"\\n\"}\n";
        let expected = r#""body":{  "b": 1e400,   "a":12345678901234567890123, "a": "\n"}}"#;
        assert_eq!(body(pretty), expected);
    }

    #[test]
    fn what_is_no_json_is_text_or_base64() {
        assert_eq!(body(b"not \"json\"\n"), r#""body_text":"not \"json\"\n"}"#);
        assert_eq!(body(b""), r#""body_text":""}"#);
        assert_eq!(body(b"{\"cut"), r#""body_text":"{\"cut"}"#);
        assert_eq!(body(b"\xff\x00"), r#""body_base64":"/wA="}"#);
        assert_eq!(body(b"\x00\x10\x00\x00"), r#""body_base64":"ABAAAA=="}"#);
    }

    #[test]
    fn origins_name_keys_and_keep_secrets() {
        let origin = |origin| {
            let line: serde_json::Value = serde_json::from_str(&line(origin, b"1")).unwrap();
            line["origin"].to_string()
        };
        let key = |bytes: &'static [u8]| origin(Origin::Key(Bytes::from_static(bytes)));
        assert_eq!(key(b"plain"), r#"{"key":"plain"}"#);
        assert_eq!(key(b"\x00user-7"), r#"{"http_key":"user-7"}"#);
        let scoped = key(b"\x010123456789abcdefuser-7");
        assert_eq!(scoped, r#"{"http_key":"user-7","scope":"30313233343536373839616263646566"}"#);
        assert_eq!(key(b"\xfe"), r#"{"key_base64":"/g=="}"#);
        assert_eq!(origin(Origin::Opening(123_456_789)), "{}");
        let request = crate::SessionRequest { session: 1, sequence: 4 };
        let session = origin(Origin::Session { request, lowest_unanswered: 2 });
        assert_eq!(session, r#"{"lowest_unanswered":2,"sequence":4,"session":1}"#);
    }
}
