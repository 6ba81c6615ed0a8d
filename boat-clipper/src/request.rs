//! What a client may send: checked before it costs anything, and taken apart the same way on every node.
//! The rules stand at [`ClipperPredictor`](crate::ClipperPredictor).

use std::borrow::Cow;
use std::sync::Arc;

use boat_core::{Check, RequestKind};
use serde_json::value::RawValue;

use crate::fields::Fields;
use crate::input::kind_of;
use crate::{Input, InputType};

/// How many inputs one `input_batch` may have.
pub const CLIENT_BATCH_INPUTS_MAX: usize = 1_000;

/// One input for the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Element<'a> {
    /// The input, as the model sees it.
    pub(crate) input: Input,
    /// The input's JSON, as its client wrote it.
    pub(crate) json: Cow<'a, str>,
}

/// The check that [`Predictor::check`](boat_core::Predictor::check) gives out.
pub(crate) fn check(input_type: InputType) -> Check {
    Arc::new(move |kind, body| match kind {
        RequestKind::OpenSession => Ok(()),
        _ => parse(input_type, kind, body).map(drop),
    })
}

/// The inputs of a request. The error says what is wrong and where.
pub(crate) fn parse(
    input_type: InputType,
    kind: RequestKind,
    body: &[u8],
) -> Result<Vec<Element<'_>>, String> {
    match kind {
        RequestKind::Predict => prediction(input_type, body),
        RequestKind::Feedback => feedback(input_type, body).map(|element| vec![element]),
        RequestKind::Configure => Err("this backend's deployment is not the log's".to_owned()),
        RequestKind::OpenSession => Err("the opening of a session is nothing for a model".to_owned()),
    }
}

fn prediction(input_type: InputType, body: &[u8]) -> Result<Vec<Element<'_>>, String> {
    let fields = Fields::parse(body)?;
    for name in fields.names() {
        match name {
            "input" | "input_batch" => {}
            "version" => {
                return Err("version: a model's version cannot be chosen yet; leave it out".to_owned());
            }
            _ => return Err(format!("unknown field {name:?}: expected input or input_batch")),
        }
    }
    if fields.names().count() > 1 {
        return Err("expected either one input or one input_batch, found several".to_owned());
    }
    if let Some(json) = fields.first("input") {
        return element(input_type, json).map(|one| vec![one]).map_err(|why| format!("input: {why}"));
    }
    let batch = fields.first("input_batch").ok_or("missing field: expected input or input_batch")?;
    let inputs = split_batch(batch)?;
    if inputs.len() > CLIENT_BATCH_INPUTS_MAX {
        return Err(format!("input_batch: {} inputs, at most {CLIENT_BATCH_INPUTS_MAX}", inputs.len()));
    }
    let elements = inputs.into_iter().enumerate();
    elements
        .map(|(index, json)| element(input_type, json).map_err(|why| format!("input_batch[{index}]: {why}")))
        .collect()
}

/// The texts of the elements of an `input_batch`.
pub(crate) fn split_batch(batch: &RawValue) -> Result<Vec<&RawValue>, String> {
    if !batch.get().starts_with('[') {
        return Err(format!("input_batch: expected an array, found {}", kind_of(batch.get())));
    }
    serde_json::from_str(batch.get()).map_err(|error| format!("input_batch: {error}"))
}

fn element(input_type: InputType, json: &RawValue) -> Result<Element<'_>, String> {
    let input = Input::parse(input_type, json)?;
    if input.is_empty() {
        return Err("is empty".to_owned());
    }
    match &input {
        Input::String(text) if text.contains('\0') => Err("contains a NUL character".to_owned()),
        _ => Ok(Element { input, json: Cow::Borrowed(json.get()) }),
    }
}

fn feedback(input_type: InputType, body: &[u8]) -> Result<Element<'_>, String> {
    if input_type != InputType::Strings {
        return Err(format!("feedback needs a model of strings, this one takes {input_type}"));
    }
    let json: &RawValue = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let input = format!("{{\"feedback\":{json}}}");
    let json = Cow::Owned(serde_json::Value::from(input.as_str()).to_string());
    Ok(Element { input: Input::String(input), json })
}

#[cfg(test)]
mod tests {
    use boat_core::RequestKind::{Configure, Feedback, Predict};

    use super::*;

    fn inputs(body: &str) -> Vec<String> {
        let elements = parse(InputType::Strings, Predict, body.as_bytes()).unwrap();
        elements.iter().map(|element| element.input.to_string()).collect()
    }

    #[test]
    fn an_input_and_a_batch_are_taken_apart() {
        assert_eq!(inputs(r#"{"input": "Hello"}"#), ["Hello"]);
        assert_eq!(inputs(r#"{"input_batch": ["a", "\u0062", "a"]}"#), ["a", "b", "a"]);
        assert!(inputs(r#"{"input_batch":[]}"#).is_empty());
        let elements = parse(InputType::Strings, Predict, br#"{"input": "\u0062" }"#).unwrap();
        assert_eq!(elements[0].json, "\"\\u0062\"");
    }

    #[test]
    fn what_clipper_refuses_or_chokes_on_is_refused_with_its_place() {
        let check = check(InputType::Strings);
        let many = format!("{{\"input_batch\":[{}]}}", ["\"x\""; CLIENT_BATCH_INPUTS_MAX + 1].join(","));
        for (body, why) in [
            ("", "EOF"),
            ("null", "expected a JSON object"),
            ("\"Hello\"", "expected a JSON object"),
            ("[1]", "expected a JSON object"),
            ("{}", "missing field"),
            (r#"{"input": 1}"#, "input: expected a string, found a number"),
            (r#"{"input": ["a"]}"#, "input: expected a string, found an array"),
            (r#"{"input": ""}"#, "input: is empty"),
            (r#"{"input": "a\u0000b"}"#, "input: contains a NUL"),
            (r#"{"input": "\ud800"}"#, "input: "),
            (r#"{"input_batch": "a"}"#, "input_batch: expected an array, found a string"),
            (r#"{"input_batch": ["a", 2]}"#, "input_batch[1]: expected a string, found a number"),
            (r#"{"input_batch": ["a", ""]}"#, "input_batch[1]: is empty"),
            (r#"{"input": "a", "version": "1"}"#, "version: "),
            (r#"{"input": "a", "inputs": "b"}"#, "unknown field \"inputs\""),
            (r#"{"input": "a", "input": "b"}"#, "found several"),
            (r#"{"input": "a", "input_batch": []}"#, "found several"),
            (r#"{"input": "a"} b"#, "trailing characters at line 1"),
            (many.as_str(), "at most 1000"),
        ] {
            let error = check(Predict, body.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{body}: {error}");
        }
        assert!(check(Predict, b"{\"input\":\"\xff\"}").is_err());
        assert!(check(Configure, b"{}").unwrap_err().contains("not the log's"));
    }

    #[test]
    fn feedback_becomes_a_string_that_says_so() {
        let elements = parse(InputType::Strings, Feedback, br#" {"label": "a\"b"} "#).unwrap();
        assert_eq!(elements[0].input.to_string(), r#"{"feedback":{"label": "a\"b"}}"#);
        let sent: String = serde_json::from_str(&elements[0].json).unwrap();
        assert_eq!(sent, elements[0].input.to_string());
        assert!(parse(InputType::Strings, Feedback, b"{").is_err());
        assert!(parse(InputType::Doubles, Feedback, b"1").unwrap_err().contains("needs a model of strings"));
    }

    #[test]
    fn the_other_types_have_their_own_rules() {
        assert!(check(InputType::Doubles)(Predict, br#"{"input": [1.0]}"#).is_ok());
        assert!(check(InputType::Doubles)(Predict, br#"{"input": [1]}"#).is_err());
        assert!(check(InputType::Integers)(Predict, br#"{"input": []}"#).unwrap_err().contains("is empty"));
        assert!(check(InputType::Bytes)(Predict, br#"{"input_batch": ["aGk=", "!"]}"#).is_err());
    }
}
