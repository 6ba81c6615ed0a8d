//! The client's own key for a request: what makes a retry recognizable.

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// How many bytes a key may have.
pub const KEY_BYTES_MAX: usize = 255;
const SCOPE_BYTES: usize = 16;

/// A client's key for one request (`Idempotency-Key`), within the scope of whoever sent it: two callers with different
/// tokens may use the same key without meeting.
///
/// ```
/// use boat_core::http::IdempotencyKey;
/// let anybody = IdempotencyKey::new("user-7/42")?;
/// let somebody = IdempotencyKey::new("user-7/42")?.scoped_by(b"Bearer abc");
/// assert_eq!(anybody.key(), somebody.key());
/// assert_ne!(anybody.to_bytes(), somebody.to_bytes());
/// # Ok::<(), boat_core::http::KeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    key: String,
    scope: Option<[u8; SCOPE_BYTES]>,
}

/// Why a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is nothing in it, or too much.
    #[error("the key has {bytes} bytes: it must have 1 to {KEY_BYTES_MAX}")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// It holds something else than visible ASCII and spaces.
    #[error("the key holds a byte that is no visible ASCII character")]
    Character,
    /// It starts with a quote but does not end as a quoted string (RFC 8941, 3.3.3).
    #[error("the key starts with a quote, but is no quoted string")]
    Quote,
}

impl IdempotencyKey {
    /// A key without a scope: 1 to [`KEY_BYTES_MAX`] bytes of visible ASCII and spaces.
    ///
    /// # Errors
    /// [`KeyError`] when `key` is anything else.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(KeyError::Length { bytes: key.len() });
        }
        if !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(KeyError::Character);
        }
        Ok(IdempotencyKey { key, scope: None })
    }

    /// Reads the header's value: the key as it is, or as a quoted string with `\"` and `\\` (RFC 8941).
    pub(super) fn from_header(value: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(value).map_err(|_| KeyError::Character)?;
        match text.strip_prefix('"') {
            None => IdempotencyKey::new(text),
            Some(quoted) => IdempotencyKey::new(unquote(quoted).ok_or(KeyError::Quote)?),
        }
    }

    /// The same key, within the scope of a caller's token. Only the first 16 bytes of the token's SHA-256 are kept: the key
    /// goes into the replicated log, and nobody who reads that shall learn the token.
    #[must_use]
    pub fn scoped_by(mut self, token: &[u8]) -> Self {
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.scope = hash.first_chunk().copied();
        self
    }

    /// The key itself.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Key and scope as they stand in [`Origin::Key`](crate::Origin::Key): `| 0 | key |` without a scope,
    /// `| 1 | scope, 16 bytes | key |` with one.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(1 + SCOPE_BYTES + self.key.len());
        bytes.put_u8(u8::from(self.scope.is_some()));
        bytes.put_slice(self.scope.as_ref().map_or(&[], |scope| scope.as_slice()));
        bytes.put_slice(self.key.as_bytes());
        bytes.freeze()
    }
}

/// What stands before the closing quote, which must be the end.
fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(key),
            '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            other => key.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<String, KeyError> {
        IdempotencyKey::from_header(header.as_bytes()).map(|key| key.key)
    }

    #[test]
    fn a_key_is_read_bare_or_quoted() {
        assert_eq!(read("user-7/42"), Ok("user-7/42".into()));
        assert_eq!(read(r#""user-7/42""#), Ok("user-7/42".into()));
        assert_eq!(read(r#""a \"b\" \\ c""#), Ok(r#"a "b" \ c"#.into()));
        assert_eq!(read(&"k".repeat(255)), Ok("k".repeat(255)));
    }

    #[test]
    fn a_bad_key_says_why() {
        assert_eq!(read(""), Err(KeyError::Length { bytes: 0 }));
        assert_eq!(read("\"\""), Err(KeyError::Length { bytes: 0 }));
        assert_eq!(read(&"k".repeat(256)), Err(KeyError::Length { bytes: 256 }));
        for unclosed in ["\"", "\"a", r#""a" b"#, r#""a\"#, r#""a\n""#] {
            assert_eq!(read(unclosed), Err(KeyError::Quote), "{unclosed}");
        }
        assert_eq!(read("caf\u{e9}"), Err(KeyError::Character));
        assert_eq!(IdempotencyKey::from_header(b"\xff"), Err(KeyError::Character));
    }

    #[test]
    fn a_scope_separates_and_no_key_imitates_one() {
        let plain = IdempotencyKey::new("k").unwrap();
        let (one, other) = (plain.clone().scoped_by(b"token 1"), plain.clone().scoped_by(b"token 2"));
        assert_ne!(one.to_bytes(), other.to_bytes());
        assert_ne!(one.to_bytes(), plain.to_bytes());
        assert_eq!(one.to_bytes().len(), 18);
        assert_eq!(plain.to_bytes(), Bytes::from_static(b"\0k"));
        assert!(!one.to_bytes().windows(5).any(|part| part == b"token"));
    }
}
