//! Clipper's answers to predictions, written and read.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A model's output as it stands in an answer: inlined where it is JSON itself, else as a JSON string.
///
/// Numbers that no 64-bit float can hold, and nesting deeper than common parsers go, stay strings.
pub(crate) fn output_json(output: &str) -> Cow<'_, str> {
    let inlined = serde_json::from_str::<serde_json::Value>(output).is_ok();
    match serde_json::from_str::<&RawValue>(output) {
        Ok(json) if inlined => Cow::Borrowed(json.get()),
        _ => Cow::Owned(serde_json::Value::from(output).to_string()),
    }
}

/// One element of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// The number of the query.
    pub(crate) query_id: u64,
    /// The output, as JSON.
    pub(crate) output: &'a str,
    /// Why the output is the application's default, if it is.
    pub(crate) default: Option<&'a str>,
}

/// Writes a whole answer. A batch of one is written like a single input, as Clipper does.
pub(crate) fn write_answer<'a>(elements: impl ExactSizeIterator<Item = Element<'a>>) -> Vec<u8> {
    let single = elements.len() == 1;
    let mut answer = Vec::new();
    if !single {
        answer.extend_from_slice(b"{\"batch_predictions\":[");
    }
    for (index, element) in elements.enumerate() {
        if index > 0 {
            answer.push(b',');
        }
        write_element(&mut answer, element);
    }
    if !single {
        answer.extend_from_slice(b"]}");
    }
    answer
}

fn write_element(answer: &mut Vec<u8>, element: Element<'_>) {
    let Element { query_id, output, default } = element;
    // Writing into a vector cannot fail.
    let _ = write!(answer, "{{\"query_id\":{query_id},\"output\":{output},\"default\":{}", default.is_some());
    if let Some(why) = default {
        let _ = write!(answer, ",\"default_explanation\":{}", serde_json::Value::from(why));
    }
    answer.push(b'}');
}

/// One prediction of an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Prediction<'a> {
    /// The output's text, as the backend wrote it.
    #[serde(borrow)]
    pub(crate) output: &'a RawValue,
    /// Whether the output is the application's default instead of the model's.
    pub(crate) default: bool,
    /// Why it is.
    #[serde(borrow, default)]
    pub(crate) default_explanation: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
struct BatchPredictions<'a> {
    #[serde(borrow)]
    batch_predictions: Vec<Prediction<'a>>,
}

/// Reads the answer to `count` inputs. The error says what is wrong with it.
pub(crate) fn read_answer(answer: &str, count: usize) -> Result<Vec<Prediction<'_>>, String> {
    let read = if count == 1 {
        serde_json::from_str(answer).map(|prediction| vec![prediction])
    } else {
        serde_json::from_str(answer).map(|batch: BatchPredictions<'_>| batch.batch_predictions)
    };
    let predictions: Vec<_> = read.map_err(|error| format!("an answer that is none: {error}"))?;
    if predictions.len() != count {
        return Err(format!("{} predictions for {count} inputs", predictions.len()));
    }
    Ok(predictions)
}

/// Clipper's error body.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
    #[serde(borrow)]
    cause: Cow<'a, str>,
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_are_json_are_inlined_as_they_stand() {
        for json in ["42", "1.0", "true", "[3.25]", "{ \"a\" : 1 }", "\"quoted\"", "1e3"] {
            assert_eq!(output_json(json), json);
        }
        assert_eq!(output_json(" 42\n"), "42");
        let deep = "[".repeat(500) + &"]".repeat(500);
        for text in ["Hello", "", "nan", "b'x'", "1e999", "0x12", "{\"a\"", "a \"b\" \n\u{1}", deep.as_str()]
        {
            let json = output_json(text);
            assert!(json.starts_with('"'), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn answers_are_written_byte_for_byte_like_clipper_does() {
        let element = |query_id, output| Element { query_id, output, default: None };
        assert_eq!(
            write_answer([element(0, "\"Hello\"")].into_iter()),
            br#"{"query_id":0,"output":"Hello","default":false}"#
        );
        assert_eq!(write_answer([].into_iter()), br#"{"batch_predictions":[]}"#);
        let late = Element { default: Some("late"), ..element(2, "\"\"") };
        let expected = concat!(
            r#"{"batch_predictions":[{"query_id":1,"output":7,"default":false},"#,
            r#"{"query_id":2,"output":"","default":true,"default_explanation":"late"}]}"#
        );
        assert_eq!(write_answer([element(1, "7"), late].into_iter()), expected.as_bytes());
    }

    #[test]
    fn answers_are_read_back_and_others_refused() {
        let one = r#"{"query_id":3,"output":1.50,"default":false}"#;
        let read = read_answer(one, 1).unwrap();
        assert_eq!((read[0].output.get(), read[0].default), ("1.50", false));
        let two = format!(r#"{{"batch_predictions":[{one},{one}]}}"#);
        assert_eq!(read_answer(&two, 2).unwrap().len(), 2);
        for (answer, count) in
            [(one, 2), (two.as_str(), 1), (two.as_str(), 3), ("", 1), ("{\"output\":1}", 1)]
        {
            assert!(read_answer(answer, count).is_err(), "{answer}");
        }
    }
}
