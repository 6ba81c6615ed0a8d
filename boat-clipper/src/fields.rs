//! The fields of a JSON object, left as their text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How many fields an object may have.
const FIELDS_MAX: usize = 64;

/// The fields of a JSON object in the order in which they stand, duplicates included.
#[derive(Debug)]
pub(crate) struct Fields<'a>(Vec<(Name<'a>, &'a RawValue)>);

#[derive(Debug, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Reads `body`, which must be one JSON object and nothing else. The error says what is wrong and where.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    /// The first field of this name: the one that Clipper sees.
    pub(crate) fn first(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(found, _)| found.0 == name).map(|(_, value)| *value)
    }

    /// All names, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.0.as_ref())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            if fields.len() == FIELDS_MAX {
                return Err(A::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
            }
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_fields_of_one_name_is_found() {
        let fields = Fields::parse(br#" {"a": 1, "b":[ ] , "a":2} "#).unwrap();
        assert_eq!(fields.first("a").unwrap().get(), "1");
        assert_eq!(fields.first("b").unwrap().get(), "[ ]");
        assert!(fields.first("c").is_none());
        assert_eq!(fields.names().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn what_is_not_one_object_is_refused_with_its_place() {
        for wrong in ["", "null", "[1]", "\"a\"", "1", "{", "{\"a\":}", "{} x", "{\"a\":1,}"] {
            let error = Fields::parse(wrong.as_bytes()).unwrap_err();
            assert!(error.contains("line 1 column"), "{wrong}: {error}");
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
        let many = (0..=FIELDS_MAX).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
        assert!(Fields::parse(format!("{{{many}}}").as_bytes()).unwrap_err().contains("more than 64"));
    }
}
