//! A model's state as serde writes it, in a form that can be compared: maps in the order of their keys, so that a hash map
//! equals another with the same entries.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Deserialize, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::Xxh3;

/// A part of a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Integer(i128),
    /// By its bits: what is not a number equals itself.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// By rising keys.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The state that stands in a snapshot.
    pub(super) fn read(snapshot: &[u8]) -> Result<Value, String> {
        rmp_serde::from_slice(snapshot).map_err(|error| error.to_string())
    }

    /// A number that is equal for equal states.
    pub(super) fn print(&self) -> u64 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Where two states begin to differ, and how; `None` for equal ones.
    pub(super) fn difference(&self, other: &Value, path: &str) -> Option<String> {
        if self == other {
            return None;
        }
        let deeper = match (self, other) {
            (Value::List(own), Value::List(others)) if own.len() == others.len() => {
                let mut pairs = own.iter().zip(others).enumerate();
                pairs.find_map(|(place, (own, other))| own.difference(other, &format!("{path}[{place}]")))
            }
            (Value::Map(own), Value::Map(others)) if own.len() == others.len() => {
                let mut pairs = own.iter().zip(others).filter(|((own, _), (other, _))| own == other);
                pairs.find_map(|((key, own), (_, other))| own.difference(other, &format!("{path}.{key}")))
            }
            _ => None,
        };
        deeper.or_else(|| Some(format!("{path} is {self}, and {other} in the other run")))
    }
}

/// How much of a part is shown.
const SHOWN_CHARS_MAX: usize = 200;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nothing => f.write_str("nothing"),
            Value::Bool(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            Value::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Value::Text(text) => f.write_str(text),
            other => {
                let text = format!("{other:?}");
                let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                write!(f, "{shown}{}", if shown.len() < text.len() { "…" } else { "" })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what serde writes")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value.to_bits()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        map.sort();
        Ok(Value::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (name, _): (Value, _) = data.variant()?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::*;

    #[derive(Serialize, Default)]
    struct State {
        weights: Vec<f64>,
        #[expect(clippy::disallowed_types, reason = "what a user's model may hold")]
        seen: std::collections::HashMap<u32, String>,
        sorted: BTreeMap<(u8, u8), Option<i64>>,
    }

    fn value(state: &State) -> Value {
        Value::read(&rmp_serde::to_vec_named(state).unwrap()).unwrap()
    }

    #[test]
    fn hash_maps_with_the_same_entries_are_equal() {
        let state = |numbers: &[u32]| {
            let seen = numbers.iter().map(|number| (*number, number.to_string())).collect();
            value(&State { seen, ..State::default() })
        };
        let (rising, falling): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (0..100).rev().collect());
        assert_eq!(state(&rising).difference(&state(&falling), "state"), None);
        assert_eq!(state(&rising).print(), state(&falling).print());
        assert_ne!(state(&rising).print(), state(&rising[1..]).print());
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let state = |weight, entry| {
            let sorted = BTreeMap::from([((1, 2), entry)]);
            value(&State { weights: vec![0.5, weight], sorted, ..State::default() })
        };
        let found = |one: Value, other: Value| one.difference(&other, "state").unwrap_or_default();
        let found_weight = found(state(1.0, None), state(1.5, None));
        assert_eq!(found_weight, "state.weights[1] is 1.0, and 1.5 in the other run");
        let found_entry = found(state(1.0, None), state(1.0, Some(-7)));
        assert!(found_entry.ends_with("is nothing, and -7 in the other run"), "{found_entry}");
        assert_eq!(state(f64::NAN, None), state(f64::NAN, None));
    }
}
