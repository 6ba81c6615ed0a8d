//! What HTTP clients send, under attack: see [`crate::fuzzing`].

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::headers::Asked;
use super::{IdempotencyKey, Identity, body};
use crate::fuzzing::{Broken, Read, Target, Verdict, round_trip};

pub(crate) fn targets() -> Vec<Target> {
    vec![
        Target { name: "http_body", run: http_body, samples: bodies },
        Target { name: "http_key", run: key, samples: keys },
        Target { name: "http_headers", run: headers, samples: heads },
    ]
}

/// The check says of a body what building all of it says, but for what only the latter cannot take: great depth, and
/// numbers beyond any float's.
fn http_body(input: &[u8]) -> Verdict {
    let built = serde_json::from_slice::<serde_json::Value>(input).is_ok();
    match body::check_json(input) {
        Ok(()) => Ok(Read::Whole),
        Err(problem) if built => Err(Broken(format!("JSON was refused: {problem:?}"))),
        Err(_) => Ok(Read::Refused),
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let texts = [r#"{"input":"Hello, \u00e4"}"#, r#" {"input_batch": [1.5e3, [], {"a":null}, true]} "#, "3"];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// A key as a quoted string (RFC 8941, 3.3.3).
fn quoted(key: &IdempotencyKey) -> String {
    let escaped = key.key().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

fn key(input: &[u8]) -> Verdict {
    round_trip(IdempotencyKey::from_header(input), |key| IdempotencyKey::from_header(quoted(key).as_bytes()))
}

fn keys() -> Vec<Vec<u8>> {
    let texts = ["user-7/42", r#""user-7/42""#, r#""a \"b\" \\ c""#];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// One field a line; what HTTP itself would not let through is left out.
fn fields(input: &[u8]) -> HeaderMap {
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at_checked(colon)?;
        let value = value.strip_prefix(b":")?.trim_ascii();
        Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    // No more than a connection takes.
    let lines = input.split(|byte| *byte == b'\n').take(100);
    let mut map = HeaderMap::new();
    for (name, value) in lines.filter_map(field) {
        map.append(name, value);
    }
    map
}

fn headers(input: &[u8]) -> Verdict {
    let map = fields(input);
    let asked = Asked::read(&map);
    let reads = (asked.check_content_type(), asked.read_wanted());
    match asked.identity() {
        Ok(Identity::Session(place)) if place.lowest_unanswered > place.sequence => {
            Err(Broken(format!("a session's numbers contradict each other: {place:?}")))
        }
        Ok(_) if reads.0.is_ok() && reads.1.is_ok() => Ok(Read::Whole),
        _ => Ok(Read::Refused),
    }
}

fn heads() -> Vec<Vec<u8>> {
    let with_key = "content-type: application/json; charset=utf-8\nidempotency-key: \"a b\"\n\
        authorization: Bearer x\nprefer: respond-async, wait=3";
    let in_session = "boat-session: 1-abc\nboat-sequence: 7\nboat-lowest-unanswered: 3\n\
        boat-read: local\nboat-at-least: 12";
    [with_key, in_session, ""].map(|text| text.as_bytes().to_vec()).to_vec()
}
