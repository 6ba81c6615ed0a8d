//! Request bodies: collected within a length and a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde::de::IgnoredAny;

use super::problem::{Code, Problem};

/// Collects a body of at most `bytes_max` within `timeout`. A body that arrives in one piece is not copied; one that says
/// it is too long is refused before a byte of it is read.
pub(crate) async fn collect<B>(body: B, bytes_max: usize, timeout: Duration) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    match tokio::time::timeout(timeout, collect_at_most(body, bytes_max)).await {
        Ok(collected) => collected,
        Err(_) => {
            let detail = format!("the body was not there after {timeout:?}");
            Err(Problem::new(Code::RequestTimeout, detail))
        }
    }
}

async fn collect_at_most<B>(mut body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let Some(first) = next_data(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    let Some(second) = next_data(&mut body).await? else { return Ok(first) };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(bytes_max);
    let mut whole = BytesMut::with_capacity(
        first.len().saturating_add(second.len()).saturating_add(announced).min(bytes_max),
    );
    whole.extend_from_slice(&first);
    let mut next = Some(second);
    while let Some(data) = next {
        if data.len() > bytes_max - whole.len() {
            return Err(too_large(bytes_max));
        }
        whole.extend_from_slice(&data);
        next = next_data(&mut body).await?;
    }
    Ok(whole.freeze())
}

/// The next piece of the body; trailers are passed over.
async fn next_data<B>(body: &mut B) -> Result<Option<Bytes>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while !body.is_end_stream() {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => continue,
            },
            Some(Err(error)) => {
                return Err(Problem::new(Code::InvalidRequest, format!("the body cannot be read: {error}")));
            }
        }
    }
    Ok(None)
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body is longer than {bytes_max} bytes"))
}

/// Checks that a body is JSON, without building anything of it. What is wrong is said with line and column, from 1.
pub(crate) fn check_json(body: &[u8]) -> Result<(), Problem> {
    if body.is_empty() {
        return Err(Problem::new(Code::InvalidRequest, "the body is empty: send JSON"));
    }
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| {
        let detail = format!("the body is not JSON: {error}");
        Problem::new(Code::InvalidRequest, detail).at(error.line(), error.column())
    })
}

fn not_utf8(body: &[u8], valid_bytes: usize) -> Problem {
    let before = body.get(..valid_bytes).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let detail = format!("the body is not JSON: it is not UTF-8 at line {line} column {column}");
    Problem::new(Code::InvalidRequest, detail).at(line, column)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body_util::Full;
    use hyper::body::Frame;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    /// A body in given pieces that does not say how long it is.
    struct Pieces(Vec<Frame<Bytes>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let next = if self.0.is_empty() { None } else { Some(Ok(self.0.remove(0))) };
            Poll::Ready(next)
        }
    }

    fn pieces(parts: &[&'static str]) -> Pieces {
        Pieces(parts.iter().map(|part| Frame::data(Bytes::from_static(part.as_bytes()))).collect())
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"{\"input\":1}");
        let got = collect(Full::new(sent.clone()), 100, SOON).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[tokio::test]
    async fn pieces_are_joined_up_to_the_limit() {
        assert_eq!(collect(pieces(&["ab", "", "cd", "e"]), 5, SOON).await.unwrap(), "abcde");
        for parts in [&["abcdef"][..], &["abc", "def"], &["a", "b", "cde", "f"]] {
            assert_eq!(collect(pieces(parts), 5, SOON).await, Err(too_large(5)), "{parts:?}");
        }
        let mut with_trailers = pieces(&["ab"]);
        with_trailers.0.push(Frame::trailers(hyper::HeaderMap::new()));
        assert_eq!(collect(with_trailers, 5, SOON).await.unwrap(), "ab");
    }

    #[test]
    fn bad_json_says_where() {
        let place = |line, column, body: &[u8]| {
            let problem = check_json(body).unwrap_err();
            assert_eq!(problem.clone().at(line, column), problem, "{}", String::from_utf8_lossy(body));
        };
        place(1, 10, b"{\"input\":}");
        place(2, 2, b"{\n}}");
        place(2, 4, b"[\n\"ab\xff\"]");
        place(1, 1, b"\x80");
        place(1, 10, b"{\"input\":1");
        assert!(check_json(b"").is_err());
    }

    #[test]
    fn any_depth_is_checked_without_a_stack() {
        let deep = "[".repeat(1 << 20) + &"]".repeat(1 << 20);
        assert_eq!(check_json(deep.as_bytes()), Ok(()));
        assert!(check_json("[".repeat(1 << 20).as_bytes()).is_err());
    }
}
