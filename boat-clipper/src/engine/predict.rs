//! The bodies of `/predict` and `/update`: read by Clipper's rules, answered in its shapes.

use serde_json::value::RawValue;

use super::serving::{Answered, Serving, Target};
use crate::answer::{Element, output_json, write_answer};
use crate::fields::Fields;
use crate::input::kind_of;
use crate::request::split_batch;
use crate::{Input, InputType};

/// A request that is answered with 400.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What kind of error: the value of `error`.
    error: &'static str,
    /// What exactly is wrong.
    cause: String,
}

impl Refused {
    fn json(cause: String) -> Self {
        Refused { error: "Json error", cause }
    }

    fn query(cause: String) -> Self {
        Refused { error: "Query processing error", cause }
    }

    /// `{"error":...,"cause":...}`, in this order.
    pub(super) fn to_body(&self) -> Vec<u8> {
        let (error, cause) =
            (serde_json::Value::from(self.error), serde_json::Value::from(self.cause.as_str()));
        format!("{{\"error\":{error},\"cause\":{cause}}}").into_bytes()
    }
}

/// Answers the body of a `/predict`.
pub(super) async fn predict(serving: &Serving, target: Target, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let (inputs, version) = read_inputs(target.input_type, body)?;
    let answered = serving.predict(target, version.as_deref(), inputs).await.map_err(Refused::query)?;
    let Answered { query_id: first, outputs, default_output } = answered;
    let default_output = output_json(&default_output);
    let outputs: Vec<_> = outputs.iter().map(|output| output.as_deref().map(output_json)).collect();
    let elements = outputs.iter().enumerate().map(|(index, output)| {
        let query_id = first + index as u64;
        match output {
            Ok(output) => Element { query_id, output, default: None },
            Err(why) => Element { query_id, output: &default_output, default: Some(why) },
        }
    });
    Ok(write_answer(elements))
}

/// The inputs of a `/predict`, and the version that it asks for. Fields that it does not know are ignored, and `input` wins
/// over `input_batch`.
fn read_inputs(input_type: InputType, body: &[u8]) -> Result<(Vec<Input>, Option<String>), Refused> {
    let fields = Fields::parse(body).map_err(Refused::json)?;
    let inputs = match (fields.first("input"), fields.first("input_batch")) {
        (Some(input), _) => vec![("input".to_owned(), input)],
        (None, Some(batch)) => {
            let elements = split_batch(batch).map_err(Refused::json)?.into_iter().enumerate();
            elements.map(|(index, input)| (format!("input_batch[{index}]"), input)).collect()
        }
        (None, None) => return Err(Refused::json("neither input nor input_batch is there".to_owned())),
    };
    let parse = |(place, json): (String, &RawValue)| {
        Input::parse(input_type, json).map_err(|why| Refused::json(format!("{place}: {why}")))
    };
    let inputs = inputs.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let version = fields.first("version").map(|version| {
        serde_json::from_str(version.get()).map_err(|_| {
            Refused::json(format!("version: expected a string, found {}", kind_of(version.get())))
        })
    });
    Ok((inputs, version.transpose()?))
}

/// Checks the body of an `/update`. The policy that Clipper gives every application ignores feedback, so nothing more
/// happens; it knows the user 0 alone. Gives Clipper's text, or what is wrong as text.
pub(super) fn update(input_type: InputType, body: &[u8]) -> Result<&'static str, String> {
    let fields = Fields::parse(body)?;
    let field = |name: &str| fields.first(name).ok_or(format!("{name} is missing"));
    let uid = field("uid")?.get();
    let uid: i32 = uid.parse().map_err(|_| format!("uid: expected an integer, found {}", kind_of(uid)))?;
    Input::parse(input_type, field("input")?).map_err(|why| format!("input: {why}"))?;
    let label = format!("[{}]", field("label")?);
    let label = RawValue::from_string(label).map_err(|error| error.to_string())?;
    Input::parse(InputType::Doubles, &label).map_err(|why| format!("label: {why}"))?;
    Ok(if uid == 0 { "Feedback received? 1" } else { "Feedback received? 0" })
}
