//! The fields of a management request, and what Clipper says of wrong ones.

use serde_json::Value;

use crate::InputType;

/// Which fields a request has, and of what type: for messages.
#[derive(Clone, Copy)]
pub(super) struct Schema(pub(super) &'static [(&'static str, &'static str)]);

/// The fields of one request.
pub(super) struct Object {
    fields: serde_json::Map<String, Value>,
    schema: Schema,
}

/// Reads `body`, which must be one JSON object.
pub(super) fn object(body: &[u8], schema: Schema) -> Result<Object, String> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(Object { fields, schema }),
        Ok(_) => Err(schema.wrong("Can only get key-value pair from an object")),
        Err(error) => Err(schema.wrong(&error.to_string())),
    }
}

impl Schema {
    fn wrong(&self, why: &str) -> String {
        let fields: Vec<String> = self.0.iter().map(|(name, kind)| format!("\"{name}\": {kind}")).collect();
        format!("Error parsing JSON: {why}. Expected JSON schema: {{{}}}", fields.join(", "))
    }
}

impl Object {
    fn field(&self, name: &str) -> Result<&Value, String> {
        let missing = || self.schema.wrong(&format!("JSON object does not have required key: {name}"));
        self.fields.get(name).ok_or_else(missing)
    }

    fn mismatch(&self, name: &str, expected: &str, found: &Value) -> String {
        // The missing space is Clipper's: what looks for its words finds them.
        let space = if expected == "bool" { " " } else { "" };
        let found = kind(found);
        let why =
            format!("Type mismatch! JSON key {name} expected type {expected}{space}but found type {found}");
        self.schema.wrong(&why)
    }

    pub(super) fn text(&self, name: &str) -> Result<String, String> {
        match self.field(name)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(self.mismatch(name, "String", other)),
        }
    }

    pub(super) fn input_type(&self, name: &str) -> Result<InputType, String> {
        let text = self.text(name)?;
        text.parse().map_err(|error: crate::UnknownInputType| self.schema.wrong(&error.to_string()))
    }

    /// A whole number that fits.
    pub(super) fn integer<T: TryFrom<i64>>(&self, name: &str) -> Result<T, String> {
        match self.field(name)? {
            Value::Number(number) => {
                let fits = number.as_i64().and_then(|number| T::try_from(number).ok());
                let bits = 8 * size_of::<T>();
                fits.ok_or_else(|| {
                    let expected = format!("int of {bits} bits, ");
                    self.mismatch(name, &expected, &Value::Number(number.clone()))
                })
            }
            other => Err(self.mismatch(name, "Number", other)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> Result<bool, String> {
        match self.field(name)? {
            Value::Bool(value) => Ok(*value),
            other => Err(self.mismatch(name, "bool", other)),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let Value::Array(elements) = self.field(name)? else {
            return Err(self.mismatch(name, "Array", self.field(name)?));
        };
        let text = |element: &Value| match element {
            Value::String(text) => Ok(text.clone()),
            other => {
                Err(self.schema.wrong(&format!("Array input of type {} is not of type string", kind(other))))
            }
        };
        elements.iter().map(text).collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(true) => "True",
        Value::Bool(false) => "False",
        Value::Number(_) => "Number",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}
