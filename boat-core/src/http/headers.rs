//! The header fields of a prediction: what they are called, and what a request's say.

use hyper::HeaderMap;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::problem::{Code, Problem};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) const POSITION: HeaderName = HeaderName::from_static("boat-position");
pub(crate) const TERM: HeaderName = HeaderName::from_static("boat-term");
pub(crate) const NODE: HeaderName = HeaderName::from_static("boat-node");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("boat-replayed");

/// Checks that the body is said to be JSON, or nothing is said: JSON is UTF-8 (RFC 8259), so that is the only charset.
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let coding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    if !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity") {
        let coding = String::from_utf8_lossy(coding);
        let detail = format!("the body is encoded as `{coding}`: send it plain");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    match headers.get(CONTENT_TYPE) {
        None => Ok(()),
        Some(value) if value.to_str().is_ok_and(is_json) => Ok(()),
        Some(value) => {
            let detail = format!("the content type is {value:?}: send application/json, in UTF-8");
            Err(Problem::new(Code::UnsupportedMediaType, detail))
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

/// How many seconds the client prefers to wait: the first `wait` of its `Prefer` fields (RFC 7240, 4.3). What is not
/// understood is ignored, as that standard wants; so is a wait of nothing.
pub(crate) fn wait_seconds(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
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

    #[test]
    fn json_in_utf_8_is_taken_and_nothing_else() {
        let good = [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json;",
        ];
        for value in good {
            assert_eq!(check_content_type(&map(CONTENT_TYPE, value)), Ok(()), "{value}");
        }
        for value in [
            "",
            "text/plain",
            "application/jsonx",
            "application/json; charset=utf-16",
            "application/x-www-form-urlencoded",
        ] {
            assert!(check_content_type(&map(CONTENT_TYPE, value)).is_err(), "{value}");
        }
        assert_eq!(check_content_type(&HeaderMap::new()), Ok(()));
        assert!(check_content_type(&map(CONTENT_ENCODING, "gzip")).is_err());
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
            assert_eq!(wait_seconds(&map(PREFER, value)), seconds, "{value}");
        }
    }
}
