//! The header fields of a prediction: what they are called, and what a request's say.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::IdempotencyKey;
use super::problem::{Code, Problem};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) const POSITION: HeaderName = HeaderName::from_static("boat-position");
pub(crate) const TERM: HeaderName = HeaderName::from_static("boat-term");
pub(crate) const NODE: HeaderName = HeaderName::from_static("boat-node");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("boat-replayed");

/// What a request's header says that the frontend cares about, found in one pass: looking up each field would hash its name.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    content_type: Option<&'a HeaderValue>,
    content_encoding: Option<&'a HeaderValue>,
    authorization: Option<&'a HeaderValue>,
    key: Option<&'a HeaderValue>,
    has_several_keys: bool,
    /// How many seconds the client prefers to wait: the first `wait` of its `Prefer` fields (RFC 7240, 4.3).
    pub(crate) wait_seconds: Option<u64>,
}

impl<'a> Asked<'a> {
    /// Reads a request's header.
    pub(crate) fn read(headers: &'a HeaderMap) -> Self {
        let mut asked = Asked::default();
        for (name, value) in headers {
            match name {
                name if name == CONTENT_TYPE => asked.content_type = Some(value),
                name if name == CONTENT_ENCODING => asked.content_encoding = Some(value),
                name if name == AUTHORIZATION => asked.authorization = Some(value),
                name if name == IDEMPOTENCY_KEY => {
                    asked.has_several_keys = asked.key.replace(value).is_some();
                }
                name if name == PREFER => {
                    asked.wait_seconds = asked.wait_seconds.or_else(|| wait_seconds(value))
                }
                _ => {}
            }
        }
        asked
    }

    /// The key as the client wrote it.
    pub(crate) fn sent_key(&self) -> Option<&'a HeaderValue> {
        self.key
    }

    /// The client's key, in the scope of its token.
    pub(crate) fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        if self.has_several_keys {
            return Err(Problem::new(Code::InvalidRequest, "Idempotency-Key: there is more than one"));
        }
        let Some(value) = self.key else { return Ok(None) };
        let key = IdempotencyKey::from_header(value.as_bytes())
            .map_err(|error| Problem::new(Code::InvalidRequest, format!("Idempotency-Key: {error}")))?;
        Ok(Some(match self.authorization {
            Some(token) => key.scoped_by(token.as_bytes()),
            None => key,
        }))
    }

    /// Checks that the body is said to be JSON, or nothing is said: JSON is UTF-8 (RFC 8259), so that is the only charset.
    pub(crate) fn check_content_type(&self) -> Result<(), Problem> {
        let coding = self.content_encoding.map(HeaderValue::as_bytes).unwrap_or_default();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
            let coding = String::from_utf8_lossy(coding);
            let detail = format!("the body is encoded as `{coding}`: send it plain");
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        match self.content_type {
            None => Ok(()),
            Some(value) if value.to_str().is_ok_and(is_json) => Ok(()),
            Some(value) => {
                let detail = format!("the content type is {value:?}: send application/json, in UTF-8");
                Err(Problem::new(Code::UnsupportedMediaType, detail))
            }
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence_fits = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence_fits
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                let charset = charset.trim().trim_matches('"');
                ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
            }
            _ => true,
        })
}

/// The first `wait` of a `Prefer` field. What is not understood is ignored, as RFC 7240 wants; so is a wait of nothing.
fn wait_seconds(prefer: &HeaderValue) -> Option<u64> {
    let mut preferences = prefer.to_str().ok()?.split(',');
    preferences.find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        (name.trim().eq_ignore_ascii_case("wait") && seconds > 0).then_some(seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn check(name: HeaderName, value: &'static str) -> Result<(), Problem> {
        Asked::read(&map(name, value)).check_content_type()
    }

    #[test]
    fn json_in_utf_8_is_taken_and_nothing_else() {
        let good = [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json;",
        ];
        for value in good {
            assert_eq!(check(CONTENT_TYPE, value), Ok(()), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
        ] {
            assert!(check(CONTENT_TYPE, value).is_err(), "{value}");
        }
        assert_eq!(Asked::default().check_content_type(), Ok(()));
        assert!(check(CONTENT_ENCODING, "gzip").is_err());
    }

    #[test]
    fn a_preferred_wait_is_found_among_others() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, wait=10", Some(10)),
            ("Wait = \"7\"; x=y", Some(7)),
            ("wait=0", None),
            ("wait=-1", None),
            ("wait", None),
            ("handling=strict", None),
            ("wait=99999999999999999999999", None),
        ] {
            assert_eq!(Asked::read(&map(PREFER, value)).wait_seconds, seconds, "{value}");
        }
    }
}
