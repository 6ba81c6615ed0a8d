//! The header fields of a prediction: what they are called, and what a request's say.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::problem::{Code, Problem};
use super::{IdempotencyKey, Identity, SessionPlace};
use crate::Read;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
pub(crate) const POSITION: HeaderName = HeaderName::from_static("boat-position");
pub(crate) const TERM: HeaderName = HeaderName::from_static("boat-term");
pub(crate) const NODE: HeaderName = HeaderName::from_static("boat-node");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("boat-replayed");
pub(crate) const SESSION: HeaderName = HeaderName::from_static("boat-session");
pub(crate) const SEQUENCE: HeaderName = HeaderName::from_static("boat-sequence");
pub(crate) const LOWEST_UNANSWERED: HeaderName = HeaderName::from_static("boat-lowest-unanswered");
pub(crate) const READ: HeaderName = HeaderName::from_static("boat-read");
pub(crate) const AT_LEAST: HeaderName = HeaderName::from_static("boat-at-least");
pub(crate) const STALE: HeaderName = HeaderName::from_static("boat-stale");

/// What a request's header says that the frontend cares about, found in one pass: looking up each field would hash its name.
#[derive(Debug, Default)]
pub(crate) struct Asked<'a> {
    content_type: Option<&'a HeaderValue>,
    content_encoding: Option<&'a HeaderValue>,
    authorization: Option<&'a HeaderValue>,
    key: Option<&'a HeaderValue>,
    has_several_keys: bool,
    session: Option<&'a HeaderValue>,
    sequence: Option<&'a HeaderValue>,
    lowest_unanswered: Option<&'a HeaderValue>,
    read: Option<&'a HeaderValue>,
    at_least: Option<&'a HeaderValue>,
    /// Whether the client prefers not to wait for the outcome (RFC 7240, 4.1).
    pub(crate) respond_async: bool,
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
                name if name == SESSION => asked.session = Some(value),
                name if name == SEQUENCE => asked.sequence = Some(value),
                name if name == LOWEST_UNANSWERED => asked.lowest_unanswered = Some(value),
                name if name == READ => asked.read = Some(value),
                name if name == AT_LEAST => asked.at_least = Some(value),
                name if name == PREFER => {
                    asked.wait_seconds = asked.wait_seconds.or_else(|| wait_seconds(value));
                    asked.respond_async |= prefers(value, "respond-async");
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
        Ok(Some(self.scoped(key)))
    }

    /// A key in the scope of the caller's token.
    pub(crate) fn scoped(&self, key: IdempotencyKey) -> IdempotencyKey {
        match self.authorization {
            Some(token) => key.scoped_by(token.as_bytes()),
            None => key,
        }
    }

    /// Whose request it is.
    pub(crate) fn identity(&self) -> Result<Identity, Problem> {
        let key = self.idempotency_key()?;
        let Some(session) = self.session else {
            return match self.sequence.or(self.lowest_unanswered) {
                Some(_) => Err(invalid("Boat-Session: it is missing, and Boat-Sequence is there")),
                None => Ok(key.map_or(Identity::Unnamed, Identity::Key)),
            };
        };
        if key.is_some() {
            return Err(invalid("Idempotency-Key: a request of a session has its number instead"));
        }
        let token = session.to_str().map_err(|_| invalid("Boat-Session: it is no session's name"))?;
        let sequence = number(self.sequence, "Boat-Sequence")?;
        let lowest_unanswered = number(self.lowest_unanswered, "Boat-Lowest-Unanswered")?;
        if lowest_unanswered > sequence {
            return Err(invalid("Boat-Lowest-Unanswered: it is above Boat-Sequence, which has no answer"));
        }
        Ok(Identity::Session(SessionPlace { token: token.to_owned(), sequence, lowest_unanswered }))
    }

    /// What a query must see: `linearizable`, unless it says something else.
    pub(crate) fn read_wanted(&self) -> Result<Read, Problem> {
        let wanted = self.read.map(HeaderValue::as_bytes).unwrap_or(b"linearizable");
        let at_least = self.at_least.map(|value| number(Some(value), "Boat-At-Least")).transpose()?;
        match (wanted, at_least) {
            (b"local", at_least) => Ok(Read::Local { at_least: at_least.unwrap_or(0) }),
            (b"linearizable", None) => Ok(Read::Linearizable),
            (b"linearizable", Some(_)) => Err(invalid("Boat-At-Least: it belongs to Boat-Read: local")),
            _ => Err(invalid("Boat-Read: it is neither linearizable nor local")),
        }
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

/// A read as `Boat-Read` names it.
pub(crate) fn read_name(read: Read) -> &'static str {
    match read {
        Read::Linearizable => "linearizable",
        Read::Local { .. } => "local",
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(Code::InvalidRequest, detail)
}

fn number(value: Option<&HeaderValue>, name: &str) -> Result<u64, Problem> {
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.and_then(|value| value.to_str().ok()).filter(digits);
    let number = number.and_then(|text| text.parse().ok());
    number.ok_or_else(|| invalid(&format!("{name}: it must be a whole number")))
}

/// Whether a `Prefer` field states this preference.
fn prefers(prefer: &HeaderValue, wanted: &str) -> bool {
    let preferences = prefer.to_str().unwrap_or_default().split(',');
    let mut names = preferences.filter_map(|preference| preference.split([';', '=']).next());
    names.any(|name| name.trim().eq_ignore_ascii_case(wanted))
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
    fn respond_async_is_found_among_other_preferences() {
        for (value, found) in [
            ("respond-async", true),
            ("wait=5, Respond-Async", true),
            ("respond-async;x=1", true),
            ("respond-asynchronously", false),
            ("wait=5", false),
        ] {
            assert_eq!(Asked::read(&map(PREFER, value)).respond_async, found, "{value}");
        }
    }

    fn fields(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_place_in_a_session_is_whole_or_refused() {
        let all = [(SESSION, "3-a"), (SEQUENCE, "7"), (LOWEST_UNANSWERED, "5")];
        let place = SessionPlace { token: "3-a".to_owned(), sequence: 7, lowest_unanswered: 5 };
        assert_eq!(Asked::read(&fields(&all)).identity(), Ok(Identity::Session(place)));
        for missing in 0..3 {
            let mut some = all.to_vec();
            some.remove(missing);
            assert!(Asked::read(&fields(&some)).identity().is_err(), "{some:?}");
        }
        for wrong in [(SEQUENCE, "4"), (SEQUENCE, "+8"), (SEQUENCE, ""), (IDEMPOTENCY_KEY, "k")] {
            let mut map = fields(&all);
            map.insert(wrong.0, HeaderValue::from_static(wrong.1));
            assert!(Asked::read(&map).identity().is_err(), "{map:?}");
        }
        assert_eq!(Asked::default().identity(), Ok(Identity::Unnamed));
    }

    #[test]
    fn a_read_is_linearizable_unless_it_says_something_else() {
        let read = |pairs: &[(HeaderName, &'static str)]| Asked::read(&fields(pairs)).read_wanted();
        assert_eq!(read(&[]), Ok(Read::Linearizable));
        assert_eq!(read(&[(READ, "linearizable")]), Ok(Read::Linearizable));
        assert_eq!(read(&[(READ, "local")]), Ok(Read::Local { at_least: 0 }));
        assert_eq!(read(&[(READ, "local"), (AT_LEAST, "9")]), Ok(Read::Local { at_least: 9 }));
        for wrong in [&[(READ, "any")][..], &[(AT_LEAST, "9")], &[(READ, "local"), (AT_LEAST, "x")]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
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
