//! What a model takes: Clipper's five input types, and the rules by which JSON becomes one of them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The type of an application's inputs. Written and read in Clipper's canonical plural; Clipper's short forms are read too.
///
/// ```
/// use boat_clipper::InputType;
///
/// assert_eq!("str".parse(), Ok(InputType::Strings));
/// assert_eq!(InputType::Strings.to_string(), "strings");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum InputType {
    /// A base64 string in JSON; bytes for the model.
    Bytes,
    /// An array of 32-bit integers, written without fraction and exponent.
    Integers,
    /// An array of 32-bit floating-point numbers, each written with a fraction or an exponent.
    Floats,
    /// An array of 64-bit floating-point numbers, each written with a fraction or an exponent.
    Doubles,
    /// A string. The default.
    #[default]
    Strings,
}

/// The text names no input type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no input type is called {0:?}: use bytes, integers, floats, doubles or strings")]
pub struct UnknownInputType(String);

impl FromStr for InputType {
    type Err = UnknownInputType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bytes" | "byte" | "b" => Ok(InputType::Bytes),
            "integers" | "ints" | "integer" | "int" | "i" => Ok(InputType::Integers),
            "floats" | "float" | "f" => Ok(InputType::Floats),
            "doubles" | "double" | "d" => Ok(InputType::Doubles),
            "strings" | "string" | "str" | "strs" | "s" => Ok(InputType::Strings),
            _ => Err(UnknownInputType(text.to_owned())),
        }
    }
}

impl TryFrom<String> for InputType {
    type Error = UnknownInputType;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InputType> for String {
    fn from(input_type: InputType) -> Self {
        input_type.to_string()
    }
}

impl InputType {
    /// The number that stands for it between a query frontend and its model containers.
    pub(crate) fn code(self) -> u8 {
        match self {
            InputType::Bytes => 0,
            InputType::Integers => 1,
            InputType::Floats => 2,
            InputType::Doubles => 3,
            InputType::Strings => 4,
        }
    }

    /// The type of that number.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(InputType::Bytes),
            1 => Some(InputType::Integers),
            2 => Some(InputType::Floats),
            3 => Some(InputType::Doubles),
            4 => Some(InputType::Strings),
            _ => None,
        }
    }
}

impl fmt::Display for InputType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            InputType::Bytes => "bytes",
            InputType::Integers => "integers",
            InputType::Floats => "floats",
            InputType::Doubles => "doubles",
            InputType::Strings => "strings",
        })
    }
}

/// One input of a model.
///
/// `Display` gives a string as it is, bytes as base64, and numbers as a JSON array.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Of type [`InputType::Bytes`].
    Bytes(Vec<u8>),
    /// Of type [`InputType::Integers`].
    Integers(Vec<i32>),
    /// Of type [`InputType::Floats`].
    Floats(Vec<f32>),
    /// Of type [`InputType::Doubles`].
    Doubles(Vec<f64>),
    /// Of type [`InputType::Strings`].
    String(String),
}

impl Input {
    /// Reads one JSON value as an input. The error says what was expected and found.
    ///
    /// One rule is stricter than Clipper's: broken base64 is refused, where Clipper hands garbage to the model.
    pub(crate) fn parse(input_type: InputType, json: &RawValue) -> Result<Input, String> {
        let text = json.get();
        match input_type {
            InputType::Strings => Ok(Input::String(string(text)?)),
            InputType::Bytes => {
                let decoded = STANDARD.decode(string(text)?);
                decoded.map(Input::Bytes).map_err(|error| format!("expected base64: {error}"))
            }
            InputType::Integers => numbers(text, integer).map(Input::Integers),
            InputType::Floats => numbers(text, float).map(Input::Floats),
            InputType::Doubles => numbers(text, double).map(Input::Doubles),
        }
    }

    /// Reads what [`Input::to_bytes`] wrote. The error says what is wrong.
    pub(crate) fn from_bytes(input_type: InputType, bytes: &[u8]) -> Result<Input, String> {
        fn numbers<const N: usize, T>(bytes: &[u8], one: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
            match bytes.as_chunks() {
                (numbers, []) => Ok(numbers.iter().map(|number| one(*number)).collect()),
                _ => Err(format!("{} bytes are no list of numbers of {N}", bytes.len())),
            }
        }
        match input_type {
            InputType::Bytes => Ok(Input::Bytes(bytes.to_vec())),
            InputType::Integers => numbers(bytes, i32::from_le_bytes).map(Input::Integers),
            InputType::Floats => numbers(bytes, f32::from_le_bytes).map(Input::Floats),
            InputType::Doubles => numbers(bytes, f64::from_le_bytes).map(Input::Doubles),
            InputType::Strings => {
                let text = String::from_utf8(bytes.to_vec());
                text.map(Input::String).map_err(|error| error.to_string())
            }
        }
    }

    /// What type it is of.
    pub fn input_type(&self) -> InputType {
        match self {
            Input::Bytes(_) => InputType::Bytes,
            Input::Integers(_) => InputType::Integers,
            Input::Floats(_) => InputType::Floats,
            Input::Doubles(_) => InputType::Doubles,
            Input::String(_) => InputType::Strings,
        }
    }

    /// Whether it holds nothing: such an input blocks a replica of a real Clipper for good.
    pub fn is_empty(&self) -> bool {
        match self {
            Input::Bytes(bytes) => bytes.is_empty(),
            Input::Integers(numbers) => numbers.is_empty(),
            Input::Floats(numbers) => numbers.is_empty(),
            Input::Doubles(numbers) => numbers.is_empty(),
            Input::String(text) => text.is_empty(),
        }
    }

    /// The input as Clipper sends it to a model container: UTF-8, or numbers in little-endian order.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Input::Bytes(bytes) => Cow::Borrowed(bytes),
            Input::Integers(numbers) => Cow::Owned(numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Input::Floats(numbers) => Cow::Owned(numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Input::Doubles(numbers) => Cow::Owned(numbers.iter().flat_map(|n| n.to_le_bytes()).collect()),
            Input::String(text) => Cow::Borrowed(text.as_bytes()),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Bytes(bytes) => STANDARD.encode(bytes).fmt(f),
            // The debug form of a list of finite numbers is JSON, and keeps the fraction of 1.0.
            Input::Integers(numbers) => write!(f, "{numbers:?}"),
            Input::Floats(numbers) => write!(f, "{numbers:?}"),
            Input::Doubles(numbers) => write!(f, "{numbers:?}"),
            Input::String(text) => text.fmt(f),
        }
    }
}

/// What kind of JSON value `text` is, with its article. `text` is known to be one valid value.
pub(crate) fn kind_of(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn string(text: &str) -> Result<String, String> {
    if !text.starts_with('"') {
        return Err(format!("expected a string, found {}", kind_of(text)));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn numbers<T>(text: &str, one: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if !text.starts_with('[') {
        return Err(format!("expected an array of numbers, found {}", kind_of(text)));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let parsed = elements.iter().enumerate();
    parsed.map(|(index, element)| one(element.get()).map_err(|why| format!("[{index}]: {why}"))).collect()
}

fn integer(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| match kind_of(text) {
        "a number" => format!("expected a 32-bit integer, found {text}"),
        kind => format!("expected a 32-bit integer, found {kind}"),
    })
}

fn double(text: &str) -> Result<f64, String> {
    if kind_of(text) != "a number" {
        return Err(format!("expected a number, found {}", kind_of(text)));
    }
    if !text.contains(['.', 'e', 'E']) {
        return Err(format!("expected a fraction or an exponent (as in {text}.0), found the integer {text}"));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("{text} does not fit into 64 bits")),
    }
}

fn float(text: &str) -> Result<f32, String> {
    let number = double(text)?;
    if number.abs() > f64::from(f32::MAX) {
        return Err(format!("{text} does not fit into 32 bits"));
    }
    Ok(number as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input_type: InputType, json: &str) -> Result<Input, String> {
        Input::parse(input_type, &RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn every_name_of_a_type_is_read_and_the_canonical_one_written() {
        for name in ["bytes", "integers", "floats", "doubles", "strings"] {
            assert_eq!(name.parse::<InputType>().unwrap().to_string(), name);
            let written = serde_json::to_string(&name.parse::<InputType>().unwrap()).unwrap();
            assert_eq!(written, format!("{name:?}"));
        }
        assert!("text".parse::<InputType>().is_err());
        assert!(serde_json::from_str::<InputType>("\"text\"").is_err());
    }

    #[test]
    fn integers_are_32_bits_without_fraction() {
        assert_eq!(parse(InputType::Integers, "[1, -2]"), Ok(Input::Integers(vec![1, -2])));
        for wrong in ["[1.0]", "[1e3]", "[2147483648]", "[\"1\"]", "[null]", "1", "\"1\""] {
            assert!(parse(InputType::Integers, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn floating_point_numbers_show_that_they_are() {
        assert_eq!(parse(InputType::Doubles, "[1.5, 1e3]"), Ok(Input::Doubles(vec![1.5, 1000.0])));
        assert_eq!(parse(InputType::Floats, "[3.4e38]"), Ok(Input::Floats(vec![3.4e38])));
        for wrong in ["[1]", "[1e999]", "[true]", "{}", "1.5"] {
            assert!(parse(InputType::Doubles, wrong).is_err(), "{wrong}");
            assert!(parse(InputType::Floats, wrong).is_err(), "{wrong}");
        }
        assert!(parse(InputType::Floats, "[3.5e38]").is_err());
        assert_eq!(parse(InputType::Doubles, "[1.0, 2]").unwrap_err().get(..4), Some("[1]:"));
    }

    #[test]
    fn bytes_are_base64() {
        assert_eq!(parse(InputType::Bytes, "\"aGk=\""), Ok(Input::Bytes(b"hi".to_vec())));
        assert!(parse(InputType::Bytes, "\"!!!\"").is_err());
        assert!(parse(InputType::Bytes, "[1]").is_err());
    }

    #[test]
    fn inputs_show_themselves_as_json_would() {
        assert_eq!(Input::Doubles(vec![1.0, -2.5]).to_string(), "[1.0, -2.5]");
        assert_eq!(Input::Bytes(b"hi".to_vec()).to_string(), "aGk=");
        assert_eq!(Input::Integers(vec![1, 2]).to_bytes().as_ref(), [1, 0, 0, 0, 2, 0, 0, 0]);
        assert!(Input::Floats(Vec::new()).is_empty());
    }

    #[test]
    fn what_a_container_gets_is_read_back() {
        for input in [
            Input::Bytes(vec![0, 255]),
            Input::Integers(vec![1, -2]),
            Input::Floats(vec![1.5]),
            Input::Doubles(vec![-0.25, 1e300]),
            Input::String("h\u{e9}".to_owned()),
        ] {
            let input_type = input.input_type();
            assert_eq!(InputType::from_code(input_type.code()), Some(input_type));
            assert_eq!(Input::from_bytes(input_type, &input.to_bytes()), Ok(input));
        }
        assert!(Input::from_bytes(InputType::Doubles, &[0; 7]).is_err());
        assert!(Input::from_bytes(InputType::Strings, &[0xff]).is_err());
        assert_eq!(InputType::from_code(5), None);
    }
}
